"""CURVE on the sockets of a context: who we are, whom we let in, and who was turned away.

A context that was secured gives all its sockets keys (`transport.sockets.bind`, `connect`); one that was not leaves
them plain, which is for loopback alone.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError
from rt_engine.transport.key_store import ClientKey, KeyStore
from rt_engine.transport.refusals import Refusals

ANY_KEY = frozenset(Role)
SOURCES = frozenset((Role.SOURCE, Role.SERVICE))
SERVICES = frozenset((Role.SERVICE,))
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_COMINGS_AND_GOINGS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_KEYLESS = "it came without a key"
_HUNG_UP = "it came without a key, or hung up before it could show one"
_BROKEN = "its handshake is broken, or meant for another rig's key"
_GONE = "somebody (gone before the address could be read)"
_POLL_MS = 200
_MOST_NAMED = 5
_TOO_LONG = 64


@dataclass
class _Identity:
    """Keys of a context; `guard` is there where others connect to it."""

    public: bytes
    secret: bytes
    server: bytes
    guard: Guard | None = None


_IDENTITIES: weakref.WeakKeyDictionary[zmq.Context[zmq.Socket[bytes]], _Identity] = weakref.WeakKeyDictionary()


def secure_rig(context: zmq.Context[zmq.Socket[bytes]], folder: str | None) -> Guard | None:
    """Give a program of the rig the rig's keys, before it makes sockets; None without a folder.

    Raises
    ------
    ConfigError
        There are no keys in `folder`.
    """
    if folder is None:
        return None
    store = KeyStore(Path(folder))
    key = store.rig_key()
    guard = Guard(context, store)
    public = key.public.encode()
    _IDENTITIES[context] = _Identity(public, key.secret.encode(), public, guard)
    return guard


def secure_client(context: zmq.Context[zmq.Socket[bytes]], key: ClientKey) -> None:
    """Give a program that only connects its key, before it makes sockets."""
    _IDENTITIES[context] = _Identity(key.public.encode(), key.secret.encode(), key.rig.encode())


def prepare_connect(context: zmq.Context[zmq.Socket[bytes]], made: zmq.Socket[bytes]) -> None:
    """Keys for a socket that will connect; nothing without them."""
    identity = _IDENTITIES.get(context)
    if identity is not None:
        made.curve_publickey, made.curve_secretkey = identity.public, identity.secret
        made.curve_serverkey = identity.server


def prepare_bind(
    context: zmq.Context[zmq.Socket[bytes]],
    made: zmq.Socket[bytes],
    endpoint: str,
    admits: frozenset[Role] = ANY_KEY,
) -> None:
    """Keys for a socket that will be bound; without them it may be bound to loopback alone.

    Keys of other roles than `admits` are turned away.

    Raises
    ------
    ConfigError
        There are no keys, and others could reach it.
    """
    identity = _IDENTITIES.get(context)
    if identity is None or identity.guard is None:
        if not is_loopback(endpoint):
            raise ConfigError(
                f"{endpoint} is beyond loopback, which needs keys", "make keys, and name their folder (key keys)"
            )
        return
    made.curve_publickey, made.curve_secretkey = identity.public, identity.secret
    made.curve_server = True
    made.setsockopt(zmq.ZAP_DOMAIN, ",".join(sorted(admits)).encode())
    identity.guard.watch(made)


def is_loopback(endpoint: str) -> bool:
    """True for addresses that only this computer reaches."""
    scheme, _, address = endpoint.partition("://")
    host = address.rpartition(":")[0].strip("[]")
    return scheme == "inproc" or host in ("localhost", "::1") or host.startswith("127.")


class Guard:
    """Answers ZeroMQ's question who may come in, and keeps who was refused, until the service's log takes it.

    Parameters
    ----------
    context : zmq.Context
    store : KeyStore
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], store: KeyStore) -> None:
        self._context, self._store = context, store
        self.refusals = Refusals()
        self._monitors: dict[zmq.Socket[bytes], dict[int, str]] = {}
        self._new: deque[zmq.Socket[bytes]] = deque()
        self._stopping = threading.Event()
        self._zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(_ZAP_ENDPOINT)
        self._thread = threading.Thread(target=self._work, name="spikeloop-guard", daemon=True)
        self._thread.start()

    def watch(self, made: zmq.Socket[bytes]) -> None:
        """Also notice who fails on this socket before he could show a key."""
        self._new.append(made.get_monitor_socket(_FAILED | _COMINGS_AND_GOINGS))

    def role_of(self, name: str) -> Role | None:
        """Role of a peer now; None if its key has been revoked since it connected."""
        try:
            return self._store.role_of(name)
        except ConfigError:
            return None

    def note(self, text: str) -> None:
        """Keep a refusal for the log."""
        self.refusals.note(text)

    def take(self) -> list[str]:
        """Refusals since the last call, as sentences."""
        return self.refusals.take()

    def close(self) -> None:
        """End the thread; before the context is destroyed."""
        self._stopping.set()
        self._thread.join(5)

    def _work(self) -> None:
        poller = zmq.Poller()
        poller.register(self._zap, zmq.POLLIN)
        while not self._stopping.is_set():
            while self._new:
                monitor = self._new.popleft()
                self._monitors[monitor] = {}
                poller.register(monitor, zmq.POLLIN)
            for ready, _ in poller.poll(_POLL_MS):
                if ready is self._zap:
                    self._answer(self._zap.recv_multipart())
                elif not self._take_event(ready):
                    poller.unregister(ready)
                    self._monitors.pop(ready)
                    ready.close(linger=0)
        for monitor in [*self._monitors, *self._new]:
            monitor.close(linger=0)
        self._zap.close(linger=0)

    def _answer(self, parts: list[bytes]) -> None:
        version, number, domain, address, _, mechanism, *credentials = parts
        name, why = self._judge(domain.decode().split(","), mechanism, credentials)
        if why:
            self.note(f"refused {address.decode(errors='replace')}: {why}")
        code = b"400" if why else b"200"
        self._zap.send_multipart([version, number, code, why.encode(), name.encode(), b""])

    def _judge(self, admits: list[str], mechanism: bytes, credentials: list[bytes]) -> tuple[str, str]:
        """Name of the peer, and why it may not come in (empty if it may)."""
        if mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != 32:
            return "", _KEYLESS
        public = z85.encode(credentials[0]).decode()
        try:
            client = self._store.client_with(public)
        except ConfigError as error:
            return "", f"the keys cannot be read: {error.message}"
        if client is None:
            return "", f"its key {public[:8]}… is not known"
        if client.revoked_utc is not None:
            return "", f"the key {client.name!r} was revoked at {client.revoked_utc}"
        if client.role not in admits:
            return "", f"the key {client.name!r} is of role {client.role}, which may not send here"
        return client.name, ""

    def _take_event(self, monitor: zmq.Socket[bytes]) -> bool:
        """One event of a monitored socket; False at its end."""
        event = parse_monitor_message(monitor.recv_multipart())
        kind = int(event["event"])
        if kind == zmq.EVENT_MONITOR_STOPPED:
            return False
        here, value = self._monitors[monitor], int(event["value"])
        if kind == zmq.EVENT_ACCEPTED:
            here[value] = _peer_address(value)
        elif kind in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED):
            here.pop(value, None)
        elif (why := _early_failure(kind, value)) is not None:
            self.note(f"refused {_one_of(here.values())}: {why}")
        return True


def _one_of(addresses: Iterable[str]) -> str:
    """Who it was, as far as that is known: ZeroMQ tells that a handshake failed, and not whose."""
    known = sorted({address for address in addresses if address})
    if len(known) <= 1:
        return known[0] if known else _GONE
    more = ", …" if len(known) > _MOST_NAMED else ""
    return f"one of {', '.join(known[:_MOST_NAMED])}{more}"


def _early_failure(kind: int, value: int) -> str | None:
    """What a handshake failed of; None if it is said elsewhere.

    Who speaks without encryption is seen in two ways: he hangs up, or we do, whoever is the first to read a greeting.
    """
    if kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return _HUNG_UP
    if kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return _KEYLESS if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH else _BROKEN
    return None


def _peer_address(descriptor: int) -> str:
    """Who is at the other end of a connection that ZeroMQ has just accepted; empty if it has gone again."""
    try:
        with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as peer:
            return str(peer.getpeername()[0])
    except OSError:
        return ""


def peer_address(part: zmq.Frame) -> str:
    """Where a message came from."""
    try:
        return str(part.get("Peer-Address"))
    except zmq.ZMQError:
        return "nowhere"


def peer_name(part: zmq.Frame) -> str | None:
    """Whose key a message came with; None on a plain socket."""
    try:
        return str(part.get("User-Id"))[:_TOO_LONG]
    except zmq.ZMQError:
        return None

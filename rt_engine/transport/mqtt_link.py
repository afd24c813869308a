"""The link to an MQTT broker: a thread with an event loop of its own, which a slow or absent broker cannot disturb."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Callable
from enum import Enum

import aiomqtt
import zmq

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.transport.mqtt_outbox import MqttOutbox, Outgoing

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TIMEOUT_S = 10.0
_LAST_WORDS_S = 2.0
_MAX_WAITING_COMMANDS = 1000
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Without it every message of quality 1 waits 40 ms for a delayed acknowledgement (Nagle)."""


class LinkState(Enum):
    """How the link is."""

    CONNECTED = "connected"
    LOST = "lost"


Said = Callable[[LinkState, str], None]


class MqttLink:
    """Connects, and connects again for as long as it takes: after 0.5 s, then twice as long each time, up to 30 s.

    Parameters
    ----------
    context : zmq.Context
        Commands leave it on `commands_endpoint`: ``[topic, payload, retained]``, the last of them ``b"1"`` or ``b"0"``.
    config : MqttConfig
    root : str
        What every topic begins with.
    client_id : str
        Known to the broker by; it must be unique there.
    outbox : MqttOutbox
    online, offline, lost : Outgoing
        Said on connecting, on ending in order, and by the broker when we are gone.
    said : callable
        Is told, in the link's thread, every change between connected and lost, with a sentence why.
    first_wait_s : float
        Wait before the second attempt.
    """

    commands_endpoint = "inproc://mqtt-commands"

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: MqttConfig,
        root: str,
        client_id: str,
        outbox: MqttOutbox,
        *,
        online: Outgoing,
        offline: Outgoing,
        lost: Outgoing,
        said: Said,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._context, self._config, self._root, self._client_id = context, config, root, client_id
        self._outbox, self._said, self._first_wait_s = outbox, said, first_wait_s
        self._online, self._offline, self._lost = online, offline, lost
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more: asyncio.Event | None = None
        self._last_said: tuple[LinkState, str] | None = None
        self.refused_commands = 0
        self._thread = threading.Thread(target=self._run, name="spikeloop-mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def wake(self) -> None:
        """There is something in the outbox."""
        loop, more = self._loop, self._more
        if loop is not None and more is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended in this moment
                loop.call_soon_threadsafe(more.set)

    def close(self) -> None:
        """Say what still waits, and that we end in order; at most two seconds."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(_LAST_WORDS_S + 3)

    def _run(self) -> None:
        # The selector loop: the default loop of Windows cannot wait for a socket that paho owns.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        self._loop, self._more = asyncio.get_running_loop(), asyncio.Event()
        commands: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        commands.setsockopt(zmq.LINGER, 0)
        commands.setsockopt(zmq.SNDHWM, _MAX_WAITING_COMMANDS)
        commands.connect(self.commands_endpoint)
        wait_s = self._first_wait_s
        try:
            while not self._stopping.is_set():
                try:
                    async with self._client() as client:
                        await self._greet(client)
                        wait_s = self._first_wait_s
                        await self._talk(client, commands)
                except (aiomqtt.MqttError, OSError, ValueError, ConfigError) as error:
                    remedy = remedy_for(error)
                    where = f"the MQTT broker at {self._config.host}:{self._config.port}"
                    why = " ".join(str(error).split())
                    self._say(LinkState.LOST, remedy, f"{where} cannot be used ({why}); {remedy}")
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        finally:
            commands.close()

    def _client(self) -> aiomqtt.Client:
        config = self._config
        return aiomqtt.Client(
            config.host,
            config.port,
            username=config.username,
            password=config.password(),
            identifier=self._client_id,
            tls_context=_tls_context(config),
            will=aiomqtt.Will(self._topic(self._lost), self._lost.payload, qos=1, retain=True),
            keepalive=config.keepalive_s,
            timeout=_TIMEOUT_S,
            max_queued_incoming_messages=_MAX_WAITING_COMMANDS,
            socket_options=[_NO_DELAY],
        )

    def _topic(self, message: Outgoing) -> str:
        return f"{self._root}/{message.topic}"

    async def _greet(self, client: aiomqtt.Client) -> None:
        granted = await client.subscribe(f"{self._root}/cmd/+/+", qos=1)
        await self._publish(client, self._online)
        self._outbox.refill_retained()
        heard = all(_number(code) < 128 for code in granted)
        where = f"{self._config.host}:{self._config.port}"
        note = "" if heard else "; it does not let us hear commands: see its access list"
        self._say(LinkState.CONNECTED, note, f"connected to the MQTT broker at {where}{note}")

    async def _talk(self, client: aiomqtt.Client, commands: zmq.Socket[bytes]) -> None:
        """Until we are to stop, or the broker is gone."""
        tasks = {asyncio.create_task(self._send(client)), asyncio.create_task(self._receive(client, commands))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        if self._stopping.is_set():
            await self._publish(client, self._offline)
        elif done:
            raise aiomqtt.MqttError("the broker has closed the connection")

    async def _send(self, client: aiomqtt.Client) -> None:
        more = self._more
        while more is not None:
            more.clear()
            while (message := self._outbox.first()) is not None:
                await self._publish(client, message)
                self._outbox.sent(message)
            if self._stopping.is_set():
                return
            await more.wait()

    async def _publish(self, client: aiomqtt.Client, message: Outgoing) -> None:
        await client.publish(self._topic(message), message.payload, qos=message.qos, retain=message.retain)

    async def _receive(self, client: aiomqtt.Client, commands: zmq.Socket[bytes]) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            parts = [str(message.topic).encode(), payload, b"1" if message.retain else b"0"]
            try:
                commands.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:
                self.refused_commands += 1

    async def _pause(self, wait_s: float) -> None:
        """Wait before the next attempt, a little more or less, so that many rigs do not come at once."""
        until_s = asyncio.get_running_loop().time() + wait_s * random.uniform(0.8, 1.2)
        while self._more is not None and not self._stopping.is_set():
            left_s = until_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), min(left_s, 1.0))

    def _say(self, state: LinkState, about: str, text: str) -> None:
        """Each change once: a broker that stays away is not news, however its absence is worded."""
        if self._last_said != (state, about) and not self._stopping.is_set():
            self._last_said = state, about
            self._said(state, text)


def _number(code: object) -> int:
    """Reason codes are numbers in one version of the protocol, objects in the other; 0 for neither."""
    value = getattr(code, "value", code)
    return value if isinstance(value, int) else 0


def _tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=config.tls.ca_file)
        if config.tls.cert_file is not None:
            context.load_cert_chain(config.tls.cert_file, config.tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"a certificate cannot be used: {error}", key="mqtt.tls") from error
    return context


def remedy_for(error: Exception) -> str:
    """What to do about a broker that cannot be used."""
    if _number(getattr(error, "rc", None)) in (4, 5, 134, 135):
        return "it refuses our name or password: look at mqtt.username and mqtt.password_file"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted: look at mqtt.tls.ca_file"
    if isinstance(error, ConfigError):
        return "the rig file is to be corrected"
    return "nothing is published, and the run goes on; it is tried again and again"

"""Keys of a rig and of those who may talk to it: small files that only their owner can read."""

from __future__ import annotations

import datetime
import os
import re
import stat
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError

RIG_FILE = "rig.key"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_BYTES = 10_000
T = TypeVar("T", bound=msgspec.Struct)
_REMEDY = "spikeloop keys new NAME --role operator"


class RigKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rig.key``: the pair by which a rig is known, and its services know each other."""

    public: str
    secret: str


class ClientRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``NAME.json``: what the rig knows of a client; no secret."""

    name: str
    role: Role
    public: str
    created_utc: str
    revoked_utc: str | None = None


class ClientKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``NAME.key``: what a client needs; it is taken to the client's computer. `rig` is the public key of the rig."""

    name: str
    role: Role
    public: str
    secret: str
    rig: str


class KeyStore:
    """A folder of keys. Every look-up reads the files, so that a revoked key is refused at once.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rig_key(self) -> RigKey:
        """The pair of the rig.

        Raises
        ------
        ConfigError
            There is none, others can read it, or others can put keys into the folder.
        """
        self._require_own()
        return _read(self.folder / RIG_FILE, RigKey, secret=True)

    def new_client(self, name: str, role: Role) -> Path:
        """Make a key; the first one makes that of the rig too. Returns the file to be taken to the client.

        Raises
        ------
        ConfigError
            The name is taken, or cannot be a file name, or the role is not one of a client.
        """
        if not _NAME.fullmatch(name) or name == Path(RIG_FILE).stem:
            raise ConfigError(f"{name!r} cannot be the name of a key", "letters, digits, '_', '.' and '-'", key="NAME")
        if role is Role.SERVICE:
            raise ConfigError("role 'service' is the rig's own", "viewer, operator or source", key="--role")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            told = f"cannot be the folder of keys: {error.strerror}"
            raise ConfigError(told, "name another", file=str(self.folder), key="--folder") from error
        self._require_own()
        if (self.folder / f"{name}.json").exists():
            raise ConfigError(f"there is a key {name!r} already", "choose another name; a revoked one is not reused")
        if not (self.folder / RIG_FILE).exists():
            _write(self.folder / RIG_FILE, RigKey(*_pair()))
        rig, (public, secret) = self.rig_key(), _pair()
        _write(self.folder / f"{name}.json", ClientRecord(name, role, public, _now_utc()))
        target = self.folder / f"{name}.key"
        _write(target, ClientKey(name, role, public, secret, rig.public))
        return target

    def _require_own(self) -> None:
        """Refuse a folder into which others could put keys of their own."""
        if os.name != "posix" or not self.folder.is_dir():
            return
        if self.folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError("others can put keys into it", f"chmod 700 {self.folder}", file=str(self.folder))

    def readable(self) -> tuple[list[ClientRecord], list[str]]:
        """Every client whose record can be read, by name; and what is wrong with each of the others."""
        found, wrong = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(_read(path, ClientRecord))
            except ConfigError as error:
                wrong.append(str(error))
        return found, wrong

    def clients(self) -> list[ClientRecord]:
        """Every client that ever had a key, by name.

        Raises
        ------
        ConfigError
            A file is damaged.
        """
        return [_read(path, ClientRecord) for path in sorted(self.folder.glob("*.json"))]

    def revoke(self, name: str) -> ClientRecord:
        """Refuse this key from now on.

        Raises
        ------
        ConfigError
            There is no such key.
        """
        path = self.folder / f"{name}.json"
        if not _NAME.fullmatch(name) or not path.is_file():
            known = ", ".join(client.name for client in self.readable()[0]) or "none"
            raise ConfigError(f"there is no key {name!r}", f"known: {known}", key="NAME")
        return self._revoke(_read(path, ClientRecord))

    def revoked(self) -> list[str]:
        """Public keys of all that have been revoked.

        Raises
        ------
        ConfigError
            A file is damaged.
        """
        return [client.public for client in self.clients() if client.revoked_utc is not None]

    def revoke_all(self, publics: Collection[str]) -> list[str]:
        """Refuse keys that have been revoked elsewhere; names of those that were not refused here yet.

        Raises
        ------
        ConfigError
            A file is damaged, or cannot be written.
        """
        known = [client for client in self.clients() if client.revoked_utc is None and client.public in publics]
        return [self._revoke(client).name for client in known]

    def _revoke(self, record: ClientRecord) -> ClientRecord:
        """The record is replaced in one step: nobody finds it half written, or gone, or valid again."""
        if record.revoked_utc is not None:
            return record
        record = msgspec.structs.replace(record, revoked_utc=_now_utc())
        path = self.folder / f"{record.name}.json"
        unfinished = self.folder / f".{record.name}.{uuid.uuid4().hex}"
        _write(unfinished, record)
        try:
            os.replace(unfinished, path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ConfigError(f"cannot be written: {error.strerror}", "try again", file=str(path)) from error
        return record

    def client_with(self, public: str) -> ClientRecord | None:
        """Whose key this is; the rig's own is of role `service`. None for a stranger, and for a damaged record."""
        if public == self.rig_key().public:
            return ClientRecord("rig", Role.SERVICE, public, "")
        return next((client for client in self.readable()[0] if client.public == public), None)

    def role_of(self, name: str) -> Role | None:
        """Role of a client; None if it has been revoked, or is unknown."""
        if name == "rig":
            return Role.SERVICE
        path = self.folder / f"{name}.json"
        if not _NAME.fullmatch(name) or not path.is_file():
            return None
        record = _read(path, ClientRecord)
        return None if record.revoked_utc is not None else record.role


def read_client_key(path: Path) -> ClientKey:
    """The key of a client.

    Raises
    ------
    ConfigError
        The file cannot be read, is no key, or can be read by others.
    """
    return _read(path, ClientKey, secret=True)


def _pair() -> tuple[str, str]:
    if not zmq.has("curve"):
        raise ConfigError("this ZeroMQ has no encryption", "install the wheel of pyzmq: pip install --force pyzmq")
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _now_utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _write(path: Path, content: msgspec.Struct) -> None:
    """A new file that nobody else could read at any moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _read(path: Path, kind: type[T], *, secret: bool = False) -> T:
    try:
        with path.open("rb") as stream:
            if secret and os.name == "posix" and os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError("can be read by others", f"chmod 600 {path}", file=str(path))
            return msgspec.json.decode(stream.read(_MAX_BYTES), type=kind)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", _REMEDY, file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is no key file: {error}", _REMEDY, file=str(path)) from error

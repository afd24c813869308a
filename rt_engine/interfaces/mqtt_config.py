"""Section `mqtt` of a rig file: which broker, how it knows us, and what behaviour tasks may send."""

from __future__ import annotations

import importlib.util
import os
import stat
from enum import StrEnum
from pathlib import Path

from pydantic import Field, model_validator

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.strict import Strict

MAX_PASSWORD_BYTES = 4096


class CommandKind(StrEnum):
    """What a behaviour task may send. A trip is accepted always, and stands in no list."""

    MARK = "mark"
    TRIAL = "trial"
    REQUEST = "request"
    TRIP = "trip"


class MqttTls(Strict):
    """Encryption. Without `ca_file` the certificates of the operating system are trusted."""

    ca_file: str | None = None
    cert_file: str | None = Field(None, description="certificate of this rig, for brokers that ask for one")
    key_file: str | None = None

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> MqttTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class MqttConfig(Strict):
    """The broker, and who we are to it. File names are relative to the rig file.

    `accept`: what behaviour tasks may send besides a trip; requests pass protocol and interlock, and give light only
    where a rule of the protocol waits for them. `max_request_age_ms`: a request older than this is refused, never
    carried out late.
    """

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    prefix: str = Field("spikeloop", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")
    username: str | None = None
    password_file: str | None = Field(None, description="a file that holds the password and nothing else")
    tls: MqttTls | None = None
    keepalive_s: int = Field(5, ge=1, le=300)
    accept: tuple[CommandKind, ...] = ()
    max_request_age_ms: float = Field(500.0, gt=0, le=10_000)

    @model_validator(mode="after")
    def _a_password_has_a_user(self) -> MqttConfig:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        return self

    def beside(self, folder: Path) -> MqttConfig:
        """The same with its file names made absolute, from `folder`."""
        tls = self.tls
        if tls is not None:
            names = {key: _absolute(value, folder) for key, value in tls.model_dump().items()}
            tls = tls.model_copy(update=names)
        return self.model_copy(update={"tls": tls, "password_file": _absolute(self.password_file, folder)})

    def require_usable(self) -> None:
        """Check what can be checked without a broker.

        Raises
        ------
        ConfigError
            A file is missing, the password can be read by others, or the library is not installed.
        """
        if importlib.util.find_spec("aiomqtt") is None:
            raise ConfigError("needs a library that is not installed", 'pip install "spikeloop[mqtt]"', key="mqtt")
        files = {"mqtt.password_file": self.password_file}
        if self.tls is not None:
            files |= {f"mqtt.tls.{key}": value for key, value in self.tls.model_dump().items()}
        for key, name in files.items():
            if name is None:
                continue
            if not Path(name).is_file():
                raise ConfigError(f"there is no file {name}", "names are relative to the rig file", key=key)
            if key != "mqtt.tls.ca_file" and key != "mqtt.tls.cert_file":
                _require_private(Path(name), key)

    def password(self) -> str | None:
        """The password, without the line end that editors add; None where there is none.

        Raises
        ------
        ConfigError
            The file cannot be read.
        """
        if self.password_file is None:
            return None
        try:
            with open(self.password_file, encoding="utf-8") as stream:
                return stream.read(MAX_PASSWORD_BYTES).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", file=self.password_file, key="mqtt.password_file") from error


def _absolute(name: str | None, folder: Path) -> str | None:
    return None if name is None else str((folder / name).absolute())


def _require_private(path: Path, key: str) -> None:
    """On systems with permission bits, a secret is nobody else's to read."""
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("can be read by others", f"chmod 600 {path}", file=str(path), key=key)

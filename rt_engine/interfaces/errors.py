"""The one error tree: every error names what went wrong, where, and what to do about it."""

from __future__ import annotations


class SpikeloopError(Exception):
    """Base of all errors that spikeloop raises on purpose.

    Parameters
    ----------
    message : str
        What happened, naming the file, key or device.
    remedy : str
        What the user can do about it; empty where nothing can be advised.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class ConfigError(SpikeloopError):
    """A file or option that a person wrote is wrong; the command exits with 2."""

    exit_code = 2

    def __init__(self, message: str, remedy: str = "", *, file: str = "", key: str = "") -> None:
        where = ": ".join(part for part in (file, key) if part)
        super().__init__(f"{where}: {message}" if where else message, remedy)
        self.file = file
        self.key = key


class CalibrationError(ConfigError):
    """A calibration cannot be made from this recording, or does not fit this rig."""


class MovieError(ConfigError):
    """A movie file cannot be read as frames of one channel."""


class MessageError(SpikeloopError):
    """A message violates the wire contract."""


class DeviceError(SpikeloopError):
    """A device or its driver failed.

    Parameters
    ----------
    device : str
        Name of the device in the rig.
    message, remedy : str
        As in `SpikeloopError`.
    """

    def __init__(self, device: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{device}: {message}", remedy)
        self.device = device


class SourceEnded(SpikeloopError):
    """The microscope has no more frames (end of a replay)."""


class LimitError(SpikeloopError):
    """A commanded value is beyond a limit.

    Parameters
    ----------
    device : str
        Output whose limit is violated.
    quantity : str
        What is limited, with its unit, e.g. ``power_mw``.
    value, limit : float
        The value asked for and the limit, in the unit of `quantity`.
    """

    def __init__(self, device: str, quantity: str, value: float, limit: float) -> None:
        super().__init__(f"{device}: {quantity} {value:g} is beyond its limit {limit:g}")
        self.device = device
        self.quantity = quantity
        self.value = value
        self.limit = limit


class SafetyError(SpikeloopError):
    """The interlock, its ledger or its log refuses to go on; nothing is lit."""


class WithdrawnError(SafetyError):
    """The interlock takes a command back in the last moment, see `PulseCommand.last_word`; nothing is lit."""


class ServiceError(SpikeloopError):
    """A service did not start, stopped answering, or died."""


class RecordingError(SpikeloopError):
    """The session cannot be written or read."""

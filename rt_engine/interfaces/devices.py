"""What a microscope and an output are: the protocols that drivers fulfil, and the one command an output accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """What a microscope delivers; known once it is open.

    `dtype` is ``"u2"`` or ``"i2"``; `adc_max`, `offset` (counts) and `um_per_px` are None where unknown.
    `frame_rate_hz` is that of the frame counter: a plane is scanned once in `frames_per_volume` counts of it.
    """

    n_lines: int
    pixels_per_line: int
    dtype: str
    frame_rate_hz: float
    adc_max: int | None = None
    offset: float | None = None
    um_per_px: float | None = None
    frames_per_volume: int = 1
    channels: tuple[int, ...] = (0,)
    line_period_ns: int | None = None


@dataclass(slots=True)
class FrameInfo:
    """What a driver says about the lines it has just put into the buffer. `t_scan_ns`: last line scanned."""

    frame: int
    t_scan_ns: int
    plane: int = 0
    channel: int = 0
    volume: int | None = None
    line0: int = 0
    n_lines: int = 0
    t_scan_uncertainty_ns: int | None = None
    t_device_s: float | None = None
    flags: int = 0
    blanked: tuple[tuple[int, int], ...] = ()


@runtime_checkable
class Microscope(Protocol):
    """A source of frames. The constructor touches no hardware; `stop` and `close` never raise and may be repeated."""

    def open(self) -> FrameGeometry | None:
        """Connect, and say what will be delivered; None while that is not known yet: call again.

        Returns within 0.2 s. Raises DeviceError or MovieError.
        """
        ...

    def start(self) -> None:
        """Begin to deliver frames; frames scanned before are not delivered."""
        ...

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Fill `buffer` (shape (n_lines, pixels_per_line), overwritten) with the next lines.

        Called on the acquisition thread only. Returns None when nothing came within `timeout_s`.
        Raises SourceEnded at the end of a recording, DeviceError when the device fails.
        """
        ...

    def stop(self) -> None:
        """Stop delivering."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@runtime_checkable
class AnswersLight(Protocol):
    """A sample that reacts to stimulation light and knows its own truth: the virtual rig."""

    def receive_light(
        self,
        t_on_ns: int,
        width_us: int,
        power_uw: list[int],
        targets_yx_px: list[list[float]],
        target_planes: Sequence[int] = (),
    ) -> None:
        """Light that reached the sample; called on the acquisition thread between two reads. No planes: plane 0."""
        ...

    def describe_sample(self, plane: int = 0) -> dict[str, Any]:
        """Planted cells of a plane, see `messages.TruthHeader`."""
        ...

    def take_truth(self) -> dict[str, Any]:
        """What happened in the frame just read: the frame fields of `messages.TruthHeader` as a dict."""
        ...


class PulseToken:
    """Proof that the interlock made a command. Only `safety/interlock.py` holds one."""

    __slots__ = ()


_ISSUED: list[PulseToken] = []


def issue_pulse_token() -> PulseToken:
    """Hand out the one token of this process; `safety/interlock.py` takes it at import, nobody else can.

    Raises
    ------
    PermissionError
        The token has been taken.
    """
    if _ISSUED:
        raise PermissionError("the pulse token is held by rt_engine.safety.interlock")
    _ISSUED.append(PulseToken())
    return _ISSUED[0]


class PulseCommand:
    """One bounded train of pulses, the only thing an output accepts; made by the interlock alone.

    Parameters
    ----------
    token : PulseToken
        The interlock's token.
    decision_id, output : str
    pulses : int
    width_us : int
        Width of each pulse, microseconds.
    period_us : int
        From rise to rise, microseconds; 0 for one pulse.
    power_uw : tuple of int
        Power at the sample for each target, microwatt.
    targets_yx_px : tuple of (float, float)
        Target positions in template coordinates, pixels.
    target_planes : tuple of int
        Plane of every target; empty where all are in plane 0.

    Raises
    ------
    PermissionError
        `token` is not the interlock's.
    """

    __slots__ = (
        "decision_id",
        "output",
        "period_us",
        "power_uw",
        "pulses",
        "target_planes",
        "targets_yx_px",
        "width_us",
    )

    def __init__(
        self,
        token: PulseToken,
        *,
        decision_id: str,
        output: str,
        pulses: int,
        width_us: int,
        period_us: int,
        power_uw: tuple[int, ...],
        targets_yx_px: tuple[tuple[float, float], ...],
        target_planes: tuple[int, ...] = (),
    ) -> None:
        if not _ISSUED or token is not _ISSUED[0]:
            raise PermissionError("a PulseCommand can be made only by rt_engine.safety.interlock")
        self.decision_id = decision_id
        self.output = output
        self.pulses = pulses
        self.width_us = width_us
        self.period_us = period_us
        self.power_uw = power_uw
        self.targets_yx_px = targets_yx_px
        self.target_planes = target_planes


@runtime_checkable
class Output(Protocol):
    """A source of stimulation light. All methods but `fire` are idempotent; `safe_state` and `close` never raise."""

    name: str
    is_virtual: bool

    def open(self) -> None:
        """Connect, dark. Raises DeviceError."""
        ...

    def self_test(self) -> bool:
        """True if the device answers and is dark."""
        ...

    def arm(self) -> None:
        """Prepare to fire."""
        ...

    def fire(self, command: PulseCommand) -> int:
        """Emit the train now; returns `t_command_ns`, taken at the driver call. Raises DeviceError."""
        ...

    def safe_state(self) -> None:
        """Dark at once, and unable to fire until armed again."""
        ...

    def close(self) -> None:
        """Dark, and release the device."""
        ...


Image = NDArray[np.float32]

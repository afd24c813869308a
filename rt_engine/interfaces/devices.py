"""What a microscope and an output are: the protocols that drivers fulfil, and the one command an output accepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import DeviceError


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """What a microscope delivers; known once it is open.

    `dtype` is ``"u2"`` or ``"i2"``; `adc_max`, `offset` (counts) and `um_per_px` are None where unknown.
    `frame_rate_hz` is that of the frame counter: a plane is scanned once in `frames_per_volume` counts of it.
    `frames_per_edge` of them are scanned between two edges of the microscope's frame clock. `plane_names` are what
    the vendor calls the planes, where they are regions of one picture; else there are none. `zoom` is the vendor's
    factor: twice as much shows half of the field; None where it does not tell. Frames come in messages of
    `strip_lines`; None, or all lines, where they come whole.
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
    frames_per_edge: int = 1
    plane_names: tuple[str, ...] = ()
    zoom: float | None = None
    strip_lines: int | None = None

    def in_words(self) -> str:
        """Size, rate, zoom and pixel size as far as they are known, and the names of planes that have some."""
        told = [f"{self.n_lines} x {self.pixels_per_line} at {self.frame_rate_hz:g} Hz"]
        told += [] if self.zoom is None else [f"zoom {self.zoom:g}"]
        told += [] if self.um_per_px is None else [f"{self.um_per_px:.3g} um per pixel"]
        names = ", ".join(f"plane {i} is {name}" for i, name in enumerate(self.plane_names))
        return "; ".join([", ".join(told), names] if names else [", ".join(told)])


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
class TellsVersions(Protocol):
    """A device that knows of the vendor's part what no package tells: driver, model, firmware."""

    @property
    def versions(self) -> dict[str, str]:
        """What and its version, as the vendor tells it; empty before it is open."""
        ...


@runtime_checkable
class CountsRejected(Protocol):
    """A microscope that knows of frames that came and could not be delivered; the acquisition says so."""

    @property
    def rejected(self) -> int:
        """How many so far."""
        ...

    @property
    def why(self) -> str:
        """The last reason, or why the vendor is not reached; empty while there is none."""
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
        after_frame_start_ms: float | None = None,
    ) -> None:
        """Light that reached the sample; called on the acquisition thread between two reads. No planes: plane 0.

        `after_frame_start_ms`: it is held to the lines that are scanned so long after the beginning of a frame.
        """
        ...

    def describe_sample(self, plane: int = 0) -> dict[str, Any]:
        """Planted cells of a plane, see `messages.TruthHeader`."""
        ...

    def take_truth(self) -> dict[str, Any]:
        """What happened in the frame just read: the frame fields of `messages.TruthHeader` as a dict."""
        ...


class CutTrain(NamedTuple):
    """A train that ended after `emitted` of its pulses; `emitted` is the most that can have been light."""

    decision_id: str
    emitted: int


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

    It cannot be changed, copied or pickled: what an output gets is what the interlock has judged, once.

    Parameters
    ----------
    token : PulseToken
        The interlock's token.
    ask : callable
        The interlock's last word, see `last_word`.
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
        "_ask",
        "_proof",
        "decision_id",
        "output",
        "period_us",
        "power_uw",
        "pulses",
        "target_planes",
        "targets_yx_px",
        "width_us",
    )

    decision_id: str
    output: str
    pulses: int
    width_us: int
    period_us: int
    power_uw: tuple[int, ...]
    targets_yx_px: tuple[tuple[float, float], ...]
    target_planes: tuple[int, ...]
    _ask: Callable[[], int]

    def __init__(
        self,
        token: PulseToken,
        *,
        ask: Callable[[], int],
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
        put = object.__setattr__
        put(self, "_proof", token)
        put(self, "_ask", ask)
        put(self, "decision_id", decision_id)
        put(self, "output", output)
        put(self, "pulses", pulses)
        put(self, "width_us", width_us)
        put(self, "period_us", period_us)
        put(self, "power_uw", power_uw)
        put(self, "targets_yx_px", targets_yx_px)
        put(self, "target_planes", target_planes)

    def last_word(self) -> int:
        """Ask the interlock once more: every `fire` does so right before the one call that makes light.

        Whatever has to be prepared is prepared before: a preparation that took too long is no reason to be late.

        Returns
        -------
        int
            The time at which it was judged: `t_command_ns`.

        Raises
        ------
        WithdrawnError
            The decision has become too old, the engine silent, the interlock has tripped, or the request is over. The
            output lights nothing, and lets the error pass.
        """
        asked: int = self._ask()
        return asked

    def __init_subclass__(cls) -> None:
        """No other kind of command exists."""
        raise PermissionError("PulseCommand has no subclasses")

    def __setattr__(self, name: str, value: object) -> None:
        """A command stays as the interlock judged it."""
        raise PermissionError(f"{name} of a PulseCommand cannot be changed")

    def __delattr__(self, name: str) -> None:
        """A command stays as the interlock judged it."""
        raise PermissionError(f"{name} of a PulseCommand cannot be taken away")

    def __reduce_ex__(self, protocol: object) -> str:
        """One judgement, one command: no copies."""
        raise PermissionError("a PulseCommand cannot be copied or pickled")


def require_command(output: str, command: object, *, armed: bool, last: PulseCommand | None) -> PulseCommand:
    """The command, if this output may fire it: made by the interlock, for it, and new; every `fire` begins with this.

    Parameters
    ----------
    output : str
        Name of the output.
    command : object
        As it came.
    armed : bool
        Whether the output is armed.
    last : PulseCommand or None
        What it fired last.

    Raises
    ------
    DeviceError
        It is something else, a forgery, meant for another output, or fired before; or the output is not armed.
    """
    if type(command) is not PulseCommand:
        raise DeviceError(output, f"accepts a PulseCommand, not {type(command).__name__}")
    if not _ISSUED or getattr(command, "_proof", None) is not _ISSUED[0]:
        raise DeviceError(output, "got a command that the interlock has not made")
    if command.output != output:
        raise DeviceError(output, f"got a command for output {command.output}")
    if not armed:
        raise DeviceError(output, "is not armed")
    if command is last:
        raise DeviceError(output, f"decision {command.decision_id} has been fired before")
    return command


@runtime_checkable
class Output(Protocol):
    """A source of stimulation light. All methods but `fire` are idempotent; `safe_state` and `close` never raise.

    `watchdog_ms`: the device goes dark by itself when `feed` has not been called for so long. `next_due_ns`: when the
    driver has to emit the next pulse of a train in `feed`; None where the device times the train, or none is running.
    `longest_wait_ns`: by how much light may begin after the command at the latest (a shutter, a pattern, the scanner),
    whatever becomes of this program; 0 where it begins with it.
    """

    name: str
    is_virtual: bool
    watchdog_ms: float
    longest_wait_ns: int

    @property
    def next_due_ns(self) -> int | None:
        """When `feed` is due for the next pulse."""
        ...

    def open(self) -> None:
        """Connect, dark. Raises DeviceError."""
        ...

    def self_test(self) -> bool:
        """True if the device answers and is dark."""
        ...

    def arm(self) -> None:
        """Prepare to fire, and start the watchdog. Raises DeviceError."""
        ...

    def feed(self, now_ns: int) -> None:
        """Hold the watchdog off, and go on with a train.

        Called by the interlock alone, in every turn of the decision loop while it is armed and has a fresh heartbeat of
        the engine; takes well below a millisecond. Raises DeviceError if the watchdog has expired or the device fails.
        """
        ...

    def fire(self, command: PulseCommand) -> int:
        """Emit the train now; returns `t_command_ns`: what `command.last_word()` said right before the driver call.

        Raises DeviceError, and WithdrawnError where the last word is no.
        """
        ...

    def cut_trains(self) -> tuple[CutTrain, ...]:
        """Trains that ended before their last pulse, each told once."""
        ...

    def safe_state(self) -> None:
        """Dark at once, the rest of a train recalled, and unable to fire until armed again."""
        ...

    def close(self) -> None:
        """Dark, and release the device."""
        ...


Image = NDArray[np.float32]

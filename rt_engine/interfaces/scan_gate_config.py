"""Light that falls in some lines of a frame only: how long it waits for them, of a card and of its virtual twin."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rt_engine.interfaces.strict import Strict

Terminal = Annotated[str, Field(pattern=r"^PFI\d+$")]


class ScanGate(Strict):
    """Light falls in the same lines of a frame only: in the flyback, or where nothing is read.

    A train starts at the next edge of the microscope's frame clock, `after_ms` after it; one that takes longer than
    `window_ms` is refused. What has not ended `give_up_ms` after the command is recalled: make it a little more than
    the time of a frame, `after_ms` and `window_ms`.
    """

    after_ms: float = Field(ge=0, le=1000)
    window_ms: float = Field(gt=0, le=1000)
    give_up_ms: float = Field(gt=0, le=2000)

    @model_validator(mode="after")
    def _has_room(self) -> ScanGate:
        if self.give_up_ms <= self.after_ms + self.window_ms:
            raise ValueError(f"give_up_ms {self.give_up_ms:g} is over before the window is")
        return self


class NiScanGate(ScanGate):
    """The card itself waits for the frame clock on `terminal`."""

    terminal: Terminal


class VirtualScanGate(ScanGate):
    """The scan of the virtual microscope is the frame clock; `terminal` may stay where the section was copied from."""

    terminal: Terminal | None = Field(None, description="of the card whose twin this is; nothing looks at it")


def require_scanner(name: str, gate: ScanGate, frame_ms: float | None, *, one_computer: bool) -> None:
    """Refuse virtual light that would wait for lines which no scanner scans.

    Parameters
    ----------
    name : str
        Of the output.
    gate : ScanGate
    frame_ms : float or None
        Time of a frame of the virtual microscope; None where the frames come from something else.
    one_computer : bool
        Whether the light and the scan have one clock.

    Raises
    ------
    ValueError
        Saying what is there instead.
    """
    key = f"outputs.{name}.scan_gate"
    if frame_ms is None:
        raise ValueError(f"{key}: virtual light can wait for the scan of `microscope: {{driver: virtual}}` only")
    if not one_computer:
        raise ValueError(f"{key}: virtual light and virtual scan have one clock: carry acquisition and stimulation on "
                         "one computer (ports.hosts)")  # fmt: skip
    end_ms = gate.after_ms + gate.window_ms
    if end_ms > frame_ms:
        raise ValueError(
            f"{key}: after_ms {gate.after_ms:g} and window_ms {gate.window_ms:g} end at {end_ms:g} ms, when the next "
            f"frame has begun: a frame takes {frame_ms:.2f} ms"
        )

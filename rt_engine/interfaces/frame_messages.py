"""Headers of frames, and of what became of them."""

from __future__ import annotations

import msgspec

from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.message_header import Header

_DISCARD, _ARTEFACT = int(FrameFlag.DISCARD), int(FrameFlag.ARTEFACT)
"""Asked several times for every frame; as members of their enumeration they take ten times as long."""


class FrameHeader(Header, kw_only=True):
    """Topic ``frame.<plane>.<channel>``; payload ``n_lines x pixels_per_line`` of `dtype`, C order."""

    plane: int
    channel: int
    frame: int
    volume: int | None
    line0: int
    n_lines: int
    lines_per_frame: int
    pixels_per_line: int
    dtype: str
    adc_max: int | None
    offset: float | None
    frame_period_ns: int | None
    line_period_ns: int | None
    t_scan_ns: int
    t_scan_uncertainty_ns: int | None
    t_device_s: float | None
    flags: int
    blanked: list[list[int]] = msgspec.field(default_factory=list)

    @property
    def is_discarded(self) -> bool:
        """True for lines that are no sample, as those of the flyback."""
        return bool(self.flags & _DISCARD)

    @property
    def is_lit(self) -> bool:
        """True where light of our own fell on lines, whether `blanked` names them or not."""
        return bool(self.flags & _ARTEFACT)


class CropsHeader(Header, kw_only=True):
    """Topic ``crops.<plane>.<channel>``, in the journal only: what is kept of a frame around the cells.

    Payload: the pixels of every box ``[y, x, height, width]`` of `boxes`, one after the other, C order.
    """

    plane: int
    channel: int
    frame: int
    volume: int | None
    line0: int
    n_lines: int
    dtype: str
    t_scan_ns: int
    flags: int
    boxes: list[list[int]]


class FateHeader(Header, kw_only=True):
    """Topic ``fate.<plane>``: `n` frames from number `first` on were not simply decided, see `fates.Fate`.

    Numbers are those of the frame counter, of the volumes where the source gives them.
    """

    plane: int
    fate: Fate
    first: int
    n: int
    reason: str


class AckHeader(Header, kw_only=True):
    """Topic ``ack`` from the recorder where the source may not run ahead: the frame now in the journal."""

    plane: int
    frame: int

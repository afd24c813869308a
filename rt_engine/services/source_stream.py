"""What a source has sent of one plane and channel, and what was lost on the way to it."""

from __future__ import annotations

from rt_engine.interfaces.devices import FrameInfo
from rt_engine.interfaces.events import FrameFlag
from rt_engine.transport.loss import FrameOrder
from rt_engine.transport.plane_counter import PlaneCounter


class SourceStream:
    """What has been sent of one plane and channel.

    Attributes
    ----------
    counter : PlaneCounter
    lost_before : bool
        Frames, or lines of the frame before, are missing before the message seen last.
    is_whole : bool
        The frame ends with it.
    is_flyback : bool
        It is of no plane.
    """

    def __init__(self) -> None:
        self.counter = PlaneCounter()
        self.lost_before = False
        self.is_whole = True
        self.is_flyback = False

    def see(self, info: FrameInfo, *, is_whole: bool) -> None:
        """Note one message; `is_whole` where the frame ends with it."""
        self.is_flyback = info.volume is not None and bool(info.flags & FrameFlag.DISCARD)
        if not self.is_flyback:
            order, missing = self.counter.see(info.frame, info.volume)
            if order is FrameOrder.NEW:
                self.lost_before = missing > 0 or not self.is_whole
            elif order is FrameOrder.STALE:
                self.lost_before = False
        self.is_whole = is_whole

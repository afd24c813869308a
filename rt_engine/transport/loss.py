"""Loss accounting: sequence numbers per sender and topic, and the order of frames."""

from __future__ import annotations

from enum import Enum


class SequenceTracker:
    """Counts messages missing from each sender and topic; the first number seen is the origin."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str, str], int] = {}
        self.gaps = 0
        self.missing = 0

    def see(self, source: str, boot_id: str, topic: str, seq: int) -> int:
        """Note one message; returns how many are missing just before it."""
        key = (source, boot_id, topic)
        expected = self._next.get(key)
        self._next[key] = seq + 1
        if expected is None or seq <= expected:
            return 0
        self.gaps += 1
        self.missing += seq - expected
        return seq - expected


class FrameOrder(Enum):
    """What a frame number says after the ones before it."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "out of order"


class FrameSequence:
    """Order of the frame numbers of one plane and channel: what is new, and what was lost before it."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.lost = 0
        self.duplicated = 0
        self.out_of_order = 0

    def see(self, frame: int) -> tuple[FrameOrder, int]:
        """Order of `frame`, and how many frames are missing just before it."""
        if self.last is None:
            self.last = frame
            return FrameOrder.NEW, 0
        if frame == self.last:
            self.duplicated += 1
            return FrameOrder.DUPLICATE, 0
        if frame < self.last:
            self.out_of_order += 1
            return FrameOrder.STALE, 0
        missing = frame - self.last - 1
        self.lost += missing
        self.last = frame
        return FrameOrder.NEW, missing

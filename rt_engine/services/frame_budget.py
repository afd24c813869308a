"""What time a frame may take: decisions beyond the deadline are late, and an engine too far behind skips frames."""

from __future__ import annotations

from collections.abc import Callable

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.services.frame_book import FrameBook


class FrameBudget:
    """Deadline and backlog of one plane. Where the source waits for the engine, nothing is late and nothing skipped.

    Parameters
    ----------
    deadline_ns : int
        From the scan of the last line to the decision, nanoseconds.
    max_backlog_frames : int
        So many frames may wait behind the one in hand.
    lossless : bool
        The source waits.
    book : FrameBook
        Told of late frames.
    log : callable
        Takes level, text and fields.

    Attributes
    ----------
    n_behind : int
        Frames that the engine is behind the scanner.
    """

    def __init__(
        self, deadline_ns: int, max_backlog_frames: int, *, lossless: bool, book: FrameBook, log: Callable[..., None]
    ) -> None:
        self._deadline_ns, self._max_backlog_frames = deadline_ns, max_backlog_frames
        self._lossless = lossless
        self._book, self._log = book, log
        self._late_index: int | None = None
        self._skipped_since: int | None = None
        self.n_behind = 0

    def is_late(self, header: FrameHeader, t_decided_ns: int) -> bool:
        """True for a decision beyond the deadline."""
        return not self._lossless and t_decided_ns - header.t_scan_ns > self._deadline_ns

    def note_late(self, index: int, header: FrameHeader, t_decided_ns: int) -> None:
        """Put a late frame into the book, once however many of its strips are late."""
        if index == self._late_index:
            return
        self._late_index = index
        late_ms = (t_decided_ns - header.t_scan_ns - self._deadline_ns) / NS_PER_MS
        budget_ms = self._deadline_ns / NS_PER_MS
        self._book.note(Fate.LATE, index, 1, f"{late_ms:.1f} ms beyond the {budget_ms:g} ms from its scan")

    def is_behind(self, header: FrameHeader, t_received_ns: int, frames_per_index: int) -> bool:
        """True if so many frames have been scanned since this one that it is better skipped."""
        if self._lossless:
            return False
        period_ns = (header.frame_period_ns or NS_PER_S) * frames_per_index
        behind = (t_received_ns - header.t_scan_ns) // period_ns
        self.n_behind = max(0, behind)
        return behind > self._max_backlog_frames

    def note_skipped(self, frame: int) -> None:
        """A frame is skipped."""
        if self._skipped_since is None:
            self._skipped_since = frame

    def say_skipped(self, frame: int) -> None:
        """Before a frame that is not: put into the journal which frames stand in it undecided."""
        first, self._skipped_since = self._skipped_since, None
        if first is not None:
            self._log("warning", f"frames {first} to {frame - 1} were skipped", skipped=[first, frame - 1])

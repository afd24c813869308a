"""What time a frame may take: decisions beyond the deadline are late; an engine that cannot keep up skips frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.services.frame_book import FrameBook

_COSTS_KEPT = 5
"""The median of so many tells what a frame costs: one that was held up does not count, three in a row do."""
_WAYS_KEPT = 16
"""Frames behind which nothing waited: the youngest of them tells how long frames are under way."""


class FrameBudget:
    """Deadline and backlog of one plane. Where the source waits for the engine, nothing is late and nothing skipped.

    A frame is skipped only for the sake of newer ones:

    - More than `max_backlog_frames` wait: all are skipped but the newest.
    - It would be decided late, and if all that wait were worked off the newest would be so too. An engine that is
      slower than the scanner never catches up: it goes on with the newest. A faster one has been held up once: it skips
      no more than it has to for the newest to be in time.
    - It is the newest, would be late, and the engine is slower than the scanner: at work on it when the next one comes,
      the engine would be late with that as well. Never two in a row.

    A source that delivers late is no overload: ages count from the shortest time that frames are under way, and where
    that and the cost of a frame are beyond the deadline none is skipped for its sake.

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
        self._costs_ns = deque([0] * _COSTS_KEPT, _COSTS_KEPT)
        self._cost_ns = 0
        self._ways_ns: deque[int] = deque(maxlen=_WAYS_KEPT)
        self._drains = self._awaits_next = False
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

    def note_cost(self, cost_ns: int, *, whole: bool) -> None:
        """Time spent on the lines of one message that were decided; `whole` if they were the last of their frame."""
        self._cost_ns += cost_ns
        if whole:
            self._costs_ns.append(self._cost_ns)
            self._cost_ns = 0

    def skips(self, header: FrameHeader, now_ns: int, frames_per_index: int, *, others_wait: bool) -> bool:
        """True if a new frame is left out for the sake of newer ones.

        Parameters
        ----------
        header : FrameHeader
            Of the frame, or of its first lines.
        now_ns : int
        frames_per_index : int
            How far the frame counter moves from one frame of the plane to the next.
        others_wait : bool
            Messages wait behind it.
        """
        if self._lossless:
            return False
        self._cost_ns = 0
        period_ns = (header.frame_period_ns or NS_PER_S) * frames_per_index
        age_ns = now_ns - header.t_scan_ns
        way_ns = min(self._ways_ns, default=0)
        self.n_behind = n_behind = max(0, (age_ns - way_ns) // period_ns)
        cost_ns = median(self._costs_ns)
        first_ns = cost_ns * header.n_lines / header.lines_per_frame
        is_slow, can_help = cost_ns >= period_ns, way_ns + first_ns < self._deadline_ns
        is_late = can_help and age_ns + first_ns > self._deadline_ns
        if not others_wait:
            self._ways_ns.append(age_ns)
        if not others_wait or not n_behind:
            self._drains = False
            self._awaits_next = is_late and is_slow and not self._awaits_next
            return self._awaits_next
        newest_ns = age_ns + n_behind * (cost_ns - period_ns) + first_ns
        skips = self._drains or n_behind > self._max_backlog_frames or (is_late and newest_ns > self._deadline_ns)
        self._drains = skips and (self._drains or n_behind > self._max_backlog_frames or is_slow)
        return skips

    def note_skipped(self, frame: int) -> None:
        """A frame is skipped."""
        if self._skipped_since is None:
            self._skipped_since = frame

    def say_skipped(self, frame: int) -> None:
        """Before a frame that is not: put into the journal which frames stand in it undecided."""
        first, self._skipped_since = self._skipped_since, None
        if first is not None:
            self._log("warning", f"frames {first} to {frame - 1} were skipped", skipped=[first, frame - 1])

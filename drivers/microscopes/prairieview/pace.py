"""Whether as many frames have come as a steady scanner scans: the one thing that tells of a loss without a word."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import NamedTuple

from rt_engine.interfaces.clock import NS_PER_S

_WINDOW_NS, _WINDOW_FRAMES, _WINDOW_PORTIONS = 4 * NS_PER_S, 30, 10
_TOO_LATE_FRAMES = 0.7
_STEPS_KEPT, _STEPS_LEAST = 9, 3


class Doubt(NamedTuple):
    """Between these two frames losses cannot be excluded."""

    first: int
    last: int


class _Window(NamedTuple):
    """What came in it: the end of it, and the frame that was least late, with by how much."""

    end_ns: int
    frame: int
    late_ns: float


class PaceWatch:
    """Counts frames against the clock, in windows of some seconds.

    Word of a frame may be late, by this program, by the vendor's, by portions; the least late one of a window is late
    by what is always so. Frames that are lost make all later ones late for good. So it is doubted where the least
    lateness has risen by most of a frame from one window to the next; or has fallen by so much that frames had piled
    up while nobody knew when the first of them was scanned, for as many as a ring holds may then hide a loss.

    Parameters
    ----------
    period_ns : float
        From frame to frame, as the vendor tells; an error of it is found in the first windows, and taken off then.
    ring_ns : float
        What the vendor keeps for us.
    portion_ns : float
        The time of the portions in which the vendor gets its data from the card.
    """

    def __init__(self, period_ns: float, ring_ns: float, portion_ns: float) -> None:
        self._period_ns, self._pile_ns = period_ns, 0.5 * ring_ns
        self._window_ns = max(_WINDOW_NS, _WINDOW_FRAMES * period_ns, _WINDOW_PORTIONS * portion_ns)
        self._steps_ns: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._count = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """An acquisition begins, as it seems: when its first frame was scanned is not known."""
        self._before: _Window | None = None
        self._now: _Window | None = None
        self._begun: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None

    def end(self) -> Doubt | None:
        """An acquisition has ended, as it seems, and another begins; a doubt about what no window has judged yet."""
        found = None
        windows = [one for one in (self._before, self._now) if one is not None]
        if windows and self._last is not None:
            least, (last, late_ns) = min(windows, key=lambda one: one.late_ns), self._last
            if late_ns - least.late_ns > _TOO_LATE_FRAMES * self._period_ns:
                found = Doubt(least.frame, last)
            if self._before is None and self._begun is not None and self._begun[1] - least.late_ns > self._pile_ns:
                found = Doubt(self._begun[0], last)
        self.begin_anew()
        return found

    def pass_over(self, n_frames: int) -> None:
        """So many frames are known to have been left out."""
        self._count += n_frames

    def see(self, n_frames: int, frame: int, arrived_ns: int) -> Doubt | None:
        """So many more frames, the last of which has this number; a doubt about what came before it.

        Parameters
        ----------
        n_frames : int
            At least 1.
        frame : int
            Number of the last of them.
        arrived_ns : int
            When they came.
        """
        self._count += n_frames
        late_ns = arrived_ns - self._count * self._period_ns
        self._last = frame, late_ns
        if self._begun is None:
            self._begun = frame, arrived_ns - (self._count - n_frames + 1) * self._period_ns
        if self._now is None:
            self._now = _Window(arrived_ns + round(self._window_ns), frame, late_ns)
        elif late_ns <= self._now.late_ns:
            self._now = self._now._replace(frame=frame, late_ns=late_ns)
        return self._judge(frame) if arrived_ns >= self._now.end_ns else None

    def _judge(self, frame: int) -> Doubt | None:
        """At the end of a window."""
        now, before = self._now, self._before
        self._now, self._before = None, now
        if now is None or self._begun is None:
            return None
        if before is None:
            first, begun_late_ns = self._begun
            return Doubt(first, frame) if begun_late_ns - now.late_ns > self._pile_ns else None
        usual_ns = median(self._steps_ns) if len(self._steps_ns) >= _STEPS_LEAST else 0.0
        step_ns = now.late_ns - before.late_ns
        self._steps_ns.append(step_ns)
        if step_ns - usual_ns > _TOO_LATE_FRAMES * self._period_ns:
            return Doubt(before.frame, now.frame)
        return Doubt(before.frame, frame) if usual_ns - step_ns > self._pile_ns else None

"""The model of a recorded moment: what the window would have shown then."""

from __future__ import annotations

from bisect import bisect_right

from gui.model.live import LiveModel
from gui.model.traces import WINDOW_S
from gui.review.recorded import Kept, Recorded
from rt_engine.interfaces.clock import NS_PER_S

_WINDOW_NS = round(WINDOW_S * NS_PER_S)
_SMALL_STEP_NS = 5 * NS_PER_S


class MomentClock:
    """Stands at the moment that is looked at."""

    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        """The moment, log time in nanoseconds."""
        return self.t_ns


class Player:
    """Keeps a model at a moment of a session.

    Attributes
    ----------
    model : LiveModel
        A new one after every jump.
    t_ns : int
        The moment.
    clock : MomentClock
        Stands at it.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.clock = MomentClock()
        self.t_ns = recorded.start_ns
        self.model = LiveModel(self.clock)
        self._shown_frame: dict[str, int] = {}
        self.go_to(recorded.start_ns)

    def go_to(self, t_ns: int) -> None:
        """Show another moment; a small step forward only adds what has happened since."""
        recorded = self.recorded
        t_ns = min(max(t_ns, recorded.start_ns), recorded.end_ns)
        if self.t_ns <= t_ns < self.t_ns + _SMALL_STEP_NS and self.model.n_messages:
            self._feed(recorded.between(self.t_ns, t_ns))
        else:
            self._jump(t_ns)
        self.t_ns = self.clock.t_ns = t_ns
        self._show_frames(t_ns)

    def _jump(self, t_ns: int) -> None:
        recorded = self.recorded
        self.clock.t_ns = t_ns
        self.model = LiveModel(self.clock)
        self._shown_frame.clear()
        for name, marks in sorted(recorded.landmarks.items(), key=lambda item: item[0] != "session"):
            at = bisect_right([one.t_log_ns for one in marks], t_ns)
            if at or name != "state":
                self._feed([marks[max(0, at - 1)]])
        after_ns = t_ns - _WINDOW_NS
        self._feed(recorded.decisions_until(after_ns))
        self._feed(recorded.between(after_ns, t_ns))

    def _feed(self, messages: list[Kept]) -> None:
        for one in messages:
            self.model.take(one.topic, one.header, memoryview(one.payload), one.t_log_ns)

    def _show_frames(self, t_ns: int) -> None:
        for topic, frames in self.recorded.frames.items():
            at = bisect_right(frames, t_ns, key=lambda one: one.t_log_ns) - 1
            if at < 0 or self._shown_frame.get(topic) == at:
                continue
            self._shown_frame[topic] = at
            number = getattr(frames[at].header, "frame", -1)
            first = at
            while first > 0 and getattr(frames[first - 1].header, "frame", -2) == number:
                first -= 1
            self._feed(frames[first : at + 1])

"""How the clock of another computer stands to this one, from questions and answers, with a bound that holds."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

DRIFT_PPM = 500
"""Two disciplined clocks run apart by less: crystals differ by some 50 ppm, and NTP may slew one by 500."""
_KEPT = 64


class Offset(NamedTuple):
    """``there = here + offset_ns``, wrong by at most `uncertainty_ns` at `t_measured_ns` of the clock there."""

    offset_ns: int
    uncertainty_ns: int
    t_measured_ns: int

    def uncertainty_at(self, t_there_ns: int) -> int:
        """Uncertainty at another moment: it grows while nobody measures."""
        return self.uncertainty_ns + _drift_ns(t_there_ns - self.t_measured_ns)


class OffsetEstimator:
    """Offset between two clocks from round trips.

    Notes
    -----
    A question leaves at `t_sent_ns` and its answer is back at `t_back_ns`; in between, at an unknown moment, the other
    clock read `t_there_ns`. So the offset lies in ``[t_there - t_back, t_there - t_sent]``, however unequal the two
    ways were: half of the round trip bounds the error of the middle. Each such interval is widened by `DRIFT_PPM` of
    its age and all that are kept are intersected; a round trip that was held up can only fail to help. An empty
    intersection means that a clock was set or drifts beyond the bound: what was known before the newest is forgotten.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=_KEPT)
        self.n_forgotten = 0

    def add(self, t_sent_ns: int, t_there_ns: int, t_back_ns: int) -> None:
        """Take one round trip; one that ended before it began is passed over."""
        if t_back_ns < t_sent_ns:
            return
        self._seen.append((t_there_ns - t_back_ns, t_there_ns - t_sent_ns, t_there_ns))
        if self._common() is None:
            newest = self._seen.pop()
            self._seen.clear()
            self._seen.append(newest)
            self.n_forgotten += 1

    @property
    def offset(self) -> Offset | None:
        """What is known as of the last round trip; None before the first."""
        common = self._common()
        if common is None:
            return None
        low, high = common
        middle = (low + high) // 2
        return Offset(middle, high - middle, self._seen[-1][2])

    def _common(self) -> tuple[int, int] | None:
        """Where the offset lies, by all round trips; None if nowhere."""
        if not self._seen:
            return None
        t_now_ns = self._seen[-1][2]
        widened = [(low, high, _drift_ns(t_now_ns - t_ns)) for low, high, t_ns in self._seen]
        low, high = max(one[0] - one[2] for one in widened), min(one[1] + one[2] for one in widened)
        return (low, high) if low <= high else None


def _drift_ns(age_ns: int) -> int:
    """How far two clocks can have run apart in a time, rounded up."""
    return -(-abs(age_ns) * DRIFT_PPM // 1_000_000)

"""How often a limit had to refuse: a loop that keeps asking has run away."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 60_000_000_000


class RefusalCount:
    """Refusals of one output within a minute.

    Parameters
    ----------
    limit : int
        So many are borne.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._times_ns: deque[int] = deque(maxlen=limit + 1)

    def add(self, now_ns: int) -> bool:
        """Count one; True if there are now more within a minute than are borne."""
        times = self._times_ns
        times.append(now_ns)
        return len(times) > self.limit and now_ns - times[0] < WINDOW_NS

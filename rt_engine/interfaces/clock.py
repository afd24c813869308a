"""Time: one monotonic clock for all processes of a host, in integer nanoseconds."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


class Clock(Protocol):
    """What tells the time; a test hands in its own."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds."""
        ...


class MonotonicClock:
    """`time.perf_counter_ns`: CLOCK_MONOTONIC on Linux, QPC on Windows, the same for all processes of a host."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds."""
        return time.perf_counter_ns()


class SessionClock:
    """Time of a recording that is being replayed: it moves only when told, and never backwards.

    What it drives decides as it did then, at whatever speed the recording is read. Light must not follow it: the
    interlock refuses it together with an output that is not virtual.
    """

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        """Time of the recording in nanoseconds; 0 before it begins."""
        return self._now_ns

    def advance(self, t_ns: int) -> None:
        """Let it be `t_ns`, unless it is later already."""
        self._now_ns = max(self._now_ns, t_ns)

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

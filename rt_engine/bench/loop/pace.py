"""When the next frame is due."""

from __future__ import annotations

import time

from rt_engine.interfaces.clock import NS_PER_S


class Pacer:
    """Waits asleep for absolute times; without a rate it never waits.

    Parameters
    ----------
    rate_hz : float or None
    """

    def __init__(self, rate_hz: float | None) -> None:
        self._period_ns = None if rate_hz is None else NS_PER_S / rate_hz
        self._t0_ns = time.perf_counter_ns()
        self._n = 0

    def due_ns(self, part: float = 0.0) -> int:
        """When the frame that comes next, or `part` of one beyond it, is due; 0 without a rate."""
        return 0 if self._period_ns is None else self._t0_ns + round((self._n + part) * self._period_ns)

    def wait(self) -> None:
        """Until the next frame is due; what is overdue is not made up for in a burst."""
        self._n += 1
        if self._period_ns is None:
            return
        left_ns = self.due_ns() - time.perf_counter_ns()
        if left_ns > 0:
            time.sleep(left_ns / NS_PER_S)
        elif -left_ns > self._period_ns:
            self._t0_ns -= left_ns

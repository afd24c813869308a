"""Pacing of a recording: its time runs on the clock, at once, twice as fast, or as fast as it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from rt_engine.interfaces.clock import NS_PER_S, Clock


class Pacer:
    """When each moment of a recording is due. Deadlines are absolute: a late read delays nothing after it.

    Parameters
    ----------
    clock : Clock
    speed : float or "max"
        1 is real time, 2 twice as fast; at ``"max"`` everything is due at once.
    wait : callable
        Sleeps that many seconds.
    """

    def __init__(self, clock: Clock, speed: float | Literal["max"], wait: Callable[[float], None] = time.sleep) -> None:
        self._clock, self._speed, self._wait = clock, speed, wait
        self._t_start_ns = 0
        self._recorded_start_ns: float = 0

    def start(self, recorded_ns: float) -> None:
        """Let the moment `recorded_ns` of the recording be now."""
        self._t_start_ns = self._clock.now_ns()
        self._recorded_start_ns = recorded_ns

    def due_ns(self, recorded_ns: float) -> int:
        """Time on the clock at which a moment of the recording is due; at ``"max"`` it is now."""
        if self._speed == "max":
            return self._clock.now_ns()
        return self._t_start_ns + round((recorded_ns - self._recorded_start_ns) / self._speed)

    def wait_until(self, recorded_ns: float, timeout_s: float) -> bool:
        """Wait for a moment of the recording, `timeout_s` at most; True once it is due."""
        if self._speed == "max":
            return True
        wait_s = (self.due_ns(recorded_ns) - self._clock.now_ns()) / NS_PER_S
        if wait_s > 0:
            self._wait(min(wait_s, timeout_s))
        return wait_s <= timeout_s

"""When the frames of the virtual scan begin: known to the virtual microscope and to virtual light that waits for it."""

from __future__ import annotations

import math

from rt_engine.interfaces.clock import NS_PER_S


class LineClock:
    """The frame clock of a scanner that runs by the clock of the computer, whether or not anybody reads its frames.

    Every process of the computer knows it without being told: frames begin at whole multiples of their period.

    Parameters
    ----------
    frame_rate_hz : float
    t0_ns : int
        When a frame begins.
    """

    def __init__(self, frame_rate_hz: float, t0_ns: int = 0) -> None:
        self._rate_hz, self._t0_ns = frame_rate_hz, t0_ns

    def next_edge_ns(self, t_ns: int) -> int:
        """When the first frame begins that does not begin before `t_ns`."""
        number = math.ceil((t_ns - self._t0_ns) * self._rate_hz / NS_PER_S) - 1
        while (edge_ns := self._t0_ns + round(number * NS_PER_S / self._rate_hz)) < t_ns:
            number += 1
        return edge_ns

"""When frames were scanned, where the vendor gives no time: a scanner is steady, word of its frames is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_S

_KEPT = 300
_LEAST = 90
"""Frames from which on the period is measured; before, the one that was told counts."""
_PAUSE_NS = NS_PER_S
_PAUSE_FRAMES = 8


class SteadyScan:
    """Scans come at an even pace, and word of them late by a varying time; the fastest of the last ones shows when.

    The period is that of the earliest arrivals in the first and the last third of what is kept, so that delays do not
    bend it. Where nothing has come though it was looked for, the scanner has paused, and what is known is forgotten.

    Parameters
    ----------
    period_ns : float
        From frame to frame, as the vendor or the rig file tells.

    Attributes
    ----------
    uncertainty_ns : int
        Spread of the delays that are not explained: half of them lie within it.

    Notes
    -----
    The least delay itself (from the last line to the vendor's word) cannot be known from here and is taken for none:
    times may be that much too late, all by the same. A frame clock on a DAQ card measures it.
    """

    def __init__(self, period_ns: float) -> None:
        self._frames = np.zeros(_KEPT, np.int64)
        self._arrived_ns = np.zeros(_KEPT, np.int64)
        self._n = 0
        self._nothing_ns = 0
        self._last: tuple[int, int] | None = None
        self.period_ns = period_ns
        self.uncertainty_ns = 0

    def see_nothing(self, now_ns: int) -> None:
        """Note that no frame is there."""
        self._nothing_ns = now_ns

    def scanned_ns(self, frame: int, arrived_ns: int) -> int:
        """Time at which the last line of a frame was scanned, never later than the arrival."""
        if self._has_paused(frame):
            self.forget()
        at = self._n % _KEPT
        self._frames[at], self._arrived_ns[at] = frame, arrived_ns
        self._n += 1
        n = min(self._n, _KEPT)
        back = self._frames[:n] - frame
        late_ns = self._arrived_ns[:n] - arrived_ns
        self.period_ns = self._measured_ns(back, late_ns)
        offsets_ns = late_ns - back * self.period_ns
        least_ns = float(offsets_ns.min())
        self.uncertainty_ns = round(float(np.median(offsets_ns)) - least_ns)
        scanned_ns = arrived_ns + min(0, round(least_ns))
        self._last = (frame, scanned_ns)
        return scanned_ns

    def forget(self) -> None:
        """The scanner begins anew."""
        self._n, self._last = 0, None

    def _has_paused(self, frame: int) -> bool:
        if self._last is None:
            return False
        last, scanned_ns = self._last
        expected_ns = scanned_ns + (frame - last) * self.period_ns
        return self._nothing_ns - expected_ns > max(_PAUSE_NS, _PAUSE_FRAMES * self.period_ns)

    def _measured_ns(self, back: NDArray[np.int64], late_ns: NDArray[np.int64]) -> float:
        """Period, where enough frames are known to measure it: the last estimate, less what is left of a slope."""
        first = int(back.min())
        early, recent = back < first - first // 3, back > first // 3
        if len(back) < _LEAST or not early.any() or not recent.any():
            return self.period_ns
        offsets_ns = late_ns - back * self.period_ns
        a, b = np.where(early, offsets_ns, np.inf).argmin(), np.where(recent, offsets_ns, np.inf).argmin()
        return self.period_ns + float((offsets_ns[b] - offsets_ns[a]) / (back[b] - back[a]))

"""What this host's clock shows when a device's shows something: a line through pairs of readings, and its bounds."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_S

_KEPT = 240
"""Pairs that count: two minutes at two a second."""
_APART_NS = NS_PER_S // 2
"""Kept pairs are so far apart; the newest stands at the end, however soon it came."""
_CRYSTAL = 500e-6
"""No two crystals run apart by more than this, so that a slope is bounded before two readings tell it: data sheets of
cards and of computers say 50 ppm and 100 ppm."""


class Pair(NamedTuple):
    """One reading of a device's clock, between two of the host's; all in nanoseconds."""

    device_ns: int
    before_ns: int
    after_ns: int


class Told(NamedTuple):
    """Times of the host, and by how much each may be wrong at most; int64, in nanoseconds."""

    host_ns: NDArray[np.int64]
    uncertainty_ns: NDArray[np.int64]


class ClockRelation:
    """Regression of the host's time on a device's, over the last two minutes; precise readings count more.

    Parameters
    ----------
    resolution_ns : int
        Step of the device's clock, which is read rounded down.

    Attributes
    ----------
    drift_ppm : float
        By how much the device's clock runs faster than the host's.
    drift_uncertainty_ppm : float
        Half the range of drifts that the readings, and crystals, allow.
    jitter_ns : float
        Root mean square of the residuals, weighted as the fit is.

    Notes
    -----
    A reading says that the device showed `device_ns` between two times of the host. A line that misses one of these
    intervals is excluded, so that the intervals bound the slope (between every early and every late one) and, with the
    slope, the host's time at any time of the device, however far from a reading it lies. The regression is kept inside
    these bounds. They hold for clocks of steady rate; where readings contradict each other (a clock that is stepped),
    what they contradict each other by is part of the uncertainty.
    """

    def __init__(self, resolution_ns: int = 1) -> None:
        self._resolution_ns = resolution_ns
        self._pairs: deque[Pair] = deque(maxlen=_KEPT)
        self.drift_ppm = self.jitter_ns = 0.0
        self.drift_uncertainty_ppm = _CRYSTAL * 1e6
        self._origin = (0, 0)
        self._x = self._low = self._high = np.zeros(0)
        self._slope, self._offset_ns = 1.0, 0.0
        self._slopes = (1.0, 1.0)

    def add(self, device_ns: int, before_ns: int, after_ns: int) -> None:
        """Take one reading of the device's clock and the host's times around it."""
        if len(self._pairs) > 1 and before_ns - self._pairs[-2].before_ns < _APART_NS:
            self._pairs.pop()
        self._pairs.append(Pair(device_ns, before_ns - self._resolution_ns, after_ns))
        first = self._pairs[0]
        self._origin = (first.device_ns, first.before_ns)
        self._x = np.array([one.device_ns - self._origin[0] for one in self._pairs], float)
        self._low = np.array([one.before_ns - self._origin[1] for one in self._pairs], float)
        self._high = np.array([one.after_ns - self._origin[1] for one in self._pairs], float)
        self._slopes = self._bound_slopes()
        self._fit()

    def told(self, device_ns: NDArray[np.int64]) -> Told:
        """The host's times at times of the device.

        Parameters
        ----------
        device_ns : int64 ndarray, shape (n_times,), read

        Raises
        ------
        ValueError
            Nothing has been read yet.
        """
        self._require_read()
        x = (device_ns - self._origin[0]).astype(float)
        far = x[:, None] - self._x
        slow, fast = (slope * far for slope in self._slopes)
        low = np.max(self._low + np.minimum(slow, fast), axis=1)
        high = np.min(self._high + np.maximum(slow, fast), axis=1)
        line = self._offset_ns + self._slope * x
        line = np.where(low <= high, np.clip(line, low, high), line)
        unsure = np.maximum(np.abs(high - line), np.abs(line - low)) + self._resolution_ns
        return Told(self._origin[1] + np.rint(line).astype(np.int64), np.ceil(unsure).astype(np.int64))

    def host_ns(self, device_ns: int) -> int:
        """The host's time at one time of the device; raises ValueError as `told` does."""
        return int(self.told(np.array([device_ns], np.int64)).host_ns[0])

    def device_ns(self, host_ns: int) -> int:
        """The device's time at a time of the host, by the line.

        Raises
        ------
        ValueError
            Nothing has been read yet.
        """
        self._require_read()
        return self._origin[0] + round((host_ns - self._origin[1] - self._offset_ns) / self._slope)

    @property
    def is_read(self) -> bool:
        """True once the device's clock has been read."""
        return bool(self._pairs)

    def uncertainty_ns(self, device_ns: int) -> int:
        """By how much `host_ns` may be wrong there at most; raises ValueError as `told` does."""
        return int(self.told(np.array([device_ns], np.int64)).uncertainty_ns[0])

    def _require_read(self) -> None:
        if not self._pairs:
            raise ValueError("the device's clock has not been read yet")

    def _bound_slopes(self) -> tuple[float, float]:
        """The slowest and the fastest line that goes through every interval, of early ones against late ones."""
        half = len(self._x) // 2
        apart = self._x[None, half:] - self._x[:half, None]
        if apart.size == 0 or apart.min() <= 0:
            return 1.0 - _CRYSTAL, 1.0 + _CRYSTAL
        low = float(np.max((self._low[None, half:] - self._high[:half, None]) / apart))
        high = float(np.min((self._high[None, half:] - self._low[:half, None]) / apart))
        low, high = min(low, high), max(low, high)
        if high < 1.0 - _CRYSTAL or low > 1.0 + _CRYSTAL:
            return low, high
        return max(low, 1.0 - _CRYSTAL), min(high, 1.0 + _CRYSTAL)

    def _fit(self) -> None:
        x, y, slack = self._x, (self._low + self._high) / 2, (self._high - self._low) / 2
        weight = 1.0 / np.maximum(slack, 1.0) ** 2
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        spread = float(np.sum(weight * (x - mean_x) ** 2))
        slope = 1.0 if spread == 0 else float(np.sum(weight * (x - mean_x) * (y - mean_y))) / spread
        slowest, fastest = self._slopes
        self._slope = min(max(slope, slowest), fastest)
        self._offset_ns = float(mean_y - self._slope * mean_x)
        residual = y - (self._offset_ns + self._slope * x)
        self.drift_ppm = (1.0 / self._slope - 1.0) * 1e6
        self.drift_uncertainty_ppm = (fastest - slowest) / 2 * 1e6
        self.jitter_ns = float(np.sqrt(np.average(residual**2, weights=weight)))

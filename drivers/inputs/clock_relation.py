"""What a device's clock shows when this host's shows something: a straight line through pairs of readings."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

_KEPT = 240
"""Pairs that count: two minutes at two a second."""
_SHORT_FIT_NS = 2_000_000_000
"""Below this span a slope would be noise: the device is taken to run like the host."""


class Pair(NamedTuple):
    """One reading of a device's clock, between two of the host's; all in nanoseconds."""

    device_ns: int
    before_ns: int
    after_ns: int

    @property
    def host_ns(self) -> float:
        """The middle of the host's two."""
        return (self.before_ns + self.after_ns) / 2

    @property
    def slack_ns(self) -> float:
        """By how much the middle can be wrong."""
        return (self.after_ns - self.before_ns) / 2


class ClockRelation:
    """Regression of the host's time on a device's, over the last two minutes; precise readings count more.

    Attributes
    ----------
    drift_ppm : float
        By how much the device's clock runs faster than the host's.
    jitter_ns : float
        Root mean square of the residuals, weighted as the fit is.
    uncertainty_ns : int
        What a converted time may be wrong by, from the readings: none of them excludes the line by less.
    """

    def __init__(self) -> None:
        self._pairs: deque[Pair] = deque(maxlen=_KEPT)
        self.drift_ppm = self.jitter_ns = 0.0
        self.uncertainty_ns = 0
        self._origin = (0, 0)
        self._slope, self._offset_ns = 1.0, 0.0

    def add(self, device_ns: int, before_ns: int, after_ns: int) -> None:
        """Take one reading of the device's clock and the host's times around it."""
        self._pairs.append(Pair(device_ns, before_ns, after_ns))
        first = self._pairs[0]
        self._origin = (first.device_ns, first.before_ns)
        x = np.array([one.device_ns - self._origin[0] for one in self._pairs], float)
        y = np.array([one.host_ns - self._origin[1] for one in self._pairs])
        slack = np.array([one.slack_ns for one in self._pairs])
        weight = 1.0 / np.maximum(slack, 1.0) ** 2
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        self._slope = 1.0
        if x[-1] - x[0] >= _SHORT_FIT_NS:
            self._slope = float(np.sum(weight * (x - mean_x) * (y - mean_y)) / np.sum(weight * (x - mean_x) ** 2))
        self._offset_ns = float(mean_y - self._slope * mean_x)
        residual = y - (self._offset_ns + self._slope * x)
        self.drift_ppm = (1.0 / self._slope - 1.0) * 1e6
        self.jitter_ns = float(np.sqrt(np.average(residual**2, weights=weight)))
        self.uncertainty_ns = int(np.min(slack + np.abs(residual)))

    def host_ns(self, device_ns: int) -> int:
        """The host's time at a time of the device.

        Raises
        ------
        ValueError
            Nothing has been read yet.
        """
        if not self._pairs:
            raise ValueError("the device's clock has not been read yet")
        return self._origin[1] + round(self._offset_ns + self._slope * (device_ns - self._origin[0]))

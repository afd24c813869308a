"""Latency histogram with fixed memory: 1 µs to 1,000 s, 40 bins a decade, so percentiles are right to 3 %."""

from __future__ import annotations

import math

import numpy as np

from rt_engine.interfaces.clock import NS_PER_MS

_BINS_PER_DECADE = 40
_DECADES = 9
_LOWEST_NS = 1_000


class LatencyHistogram:
    """Counts intervals in logarithmic bins; negative ones are counted as the lowest bin."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_DECADE * _DECADES + 1, dtype=np.int64)
        self._max_ns = 0

    def record(self, interval_ns: int) -> None:
        """Add one interval."""
        if interval_ns <= _LOWEST_NS:
            index = 0
        else:
            index = int(math.log10(interval_ns / _LOWEST_NS) * _BINS_PER_DECADE) + 1
        self._counts[min(index, len(self._counts) - 1)] += 1
        self._max_ns = max(self._max_ns, interval_ns)

    @property
    def n(self) -> int:
        """Number of intervals recorded."""
        return int(self._counts.sum())

    def summary_ms(self) -> dict[str, float]:
        """p50, p99, p999 and max in milliseconds (upper edge of the bin, at most max); empty without data."""
        total = self.n
        if total == 0:
            return {}
        cumulative = np.cumsum(self._counts)
        out = {}
        for name, fraction in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            index = int(np.searchsorted(cumulative, math.ceil(fraction * total)))
            edge_ns = _LOWEST_NS * 10 ** (index / _BINS_PER_DECADE)
            out[name] = min(edge_ns, self._max_ns) / NS_PER_MS
        out["max"] = self._max_ns / NS_PER_MS
        return out

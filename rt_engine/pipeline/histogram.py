"""Latency histogram with fixed memory: every power of two in 128 equal bins, so percentiles are right to 0.8 %.

The layout is that of HdrHistogram (hdrhistogram.org) at two significant digits: the place of an interval is found with
a shift, without a logarithm.
"""

from __future__ import annotations

import math

import numpy as np

from rt_engine.interfaces.clock import NS_PER_MS

_BITS = 7
_BINS = 1 << _BITS
"""Of a power of two."""
_LONGEST_NS = 10**12
"""What lasts longer is counted as lasting so long; the maximum is exact all the same."""


def _place(interval_ns: int) -> int:
    shift = max(0, interval_ns.bit_length() - _BITS - 1)
    return (shift << _BITS) + (interval_ns >> shift)


def _last_ns(place: int) -> int:
    """The longest interval of a bin."""
    shift = max(0, (place >> _BITS) - 1)
    return ((place - (shift << _BITS) + 1) << shift) - 1


class LatencyHistogram:
    """Counts intervals in bins of 1/128 of their length or less; negative ones are counted as 0."""

    def __init__(self) -> None:
        self._counts = np.zeros(_place(_LONGEST_NS) + 1, dtype=np.int64)
        self._max_ns = 0

    def record(self, interval_ns: int) -> None:
        """Add one interval."""
        self._counts[_place(min(max(interval_ns, 0), _LONGEST_NS))] += 1
        self._max_ns = max(self._max_ns, interval_ns)

    @property
    def n(self) -> int:
        """Number of intervals recorded."""
        return int(self._counts.sum())

    def summary_ms(self) -> dict[str, float]:
        """p50, p99, p999 and max in milliseconds (the longest of the bin, at most max); empty without data."""
        cumulative = np.cumsum(self._counts)
        total = int(cumulative[-1])
        if total == 0:
            return {}
        out = {}
        for name, fraction in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            place = int(np.searchsorted(cumulative, math.ceil(fraction * total)))
            out[name] = min(_last_ns(place), self._max_ns) / NS_PER_MS
        out["max"] = self._max_ns / NS_PER_MS
        return out

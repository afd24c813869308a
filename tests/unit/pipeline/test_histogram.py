"""The latency histogram agrees with the exact percentiles to the width of a bin."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.pipeline.histogram import LatencyHistogram


def test_percentiles_are_right_to_six_percent() -> None:
    rng = np.random.default_rng(1)
    intervals_ns = np.exp(rng.normal(np.log(5e5), 0.8, 20_000)).astype(np.int64)
    histogram = LatencyHistogram()
    for interval_ns in intervals_ns:
        histogram.record(int(interval_ns))
    got = histogram.summary_ms()
    for name, percent in (("p50", 50), ("p99", 99), ("p999", 99.9)):
        exact_ms = np.percentile(intervals_ns, percent, method="inverted_cdf") / 1e6
        assert exact_ms <= got[name] <= exact_ms * 1.06
    assert got["max"] == pytest.approx(intervals_ns.max() / 1e6)
    assert histogram.n == 20_000


def test_the_empty_and_the_extreme() -> None:
    histogram = LatencyHistogram()
    assert histogram.summary_ms() == {}
    for interval_ns in (-5, 0, 1, 10**16):
        histogram.record(interval_ns)
    assert histogram.summary_ms()["max"] == 10**10
    assert histogram.n == 4

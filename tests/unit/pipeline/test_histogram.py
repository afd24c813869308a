"""The latency histogram agrees with the exact percentiles to the width of a bin."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.pipeline.histogram import LatencyHistogram


def test_percentiles_are_right_to_eight_in_a_thousand() -> None:
    rng = np.random.default_rng(1)
    intervals_ns = np.exp(rng.normal(np.log(5e5), 0.8, 20_000)).astype(np.int64)
    histogram = LatencyHistogram()
    for interval_ns in intervals_ns:
        histogram.record(int(interval_ns))
    got = histogram.summary_ms()
    for name, rank in (("p50", 10_000), ("p99", 19_800), ("p999", 19_980)):
        exact_ms = np.sort(intervals_ns)[rank - 1] / 1e6
        assert exact_ms <= got[name] <= exact_ms * (1 + 1 / 128)
    assert got["max"] == pytest.approx(intervals_ns.max() / 1e6)
    assert histogram.n == 20_000


@pytest.mark.parametrize("interval_ns", [1, 127, 128, 255, 256, 257, 10**3 - 1, 123_456, 2**30, 2**30 - 1, 10**12 - 1])
def test_the_same_interval_a_hundred_times_is_told_as_itself_and_with_a_longer_one_within_its_bin(
    interval_ns: int,
) -> None:
    histogram = LatencyHistogram()
    for _ in range(100):
        histogram.record(interval_ns)
    assert histogram.summary_ms()["p50"] == interval_ns / 1e6
    histogram.record(3 * interval_ns)
    assert interval_ns <= 1e6 * histogram.summary_ms()["p50"] <= interval_ns * (1 + 1 / 128) + 1e-3


def test_the_empty_and_the_extreme() -> None:
    histogram = LatencyHistogram()
    assert histogram.summary_ms() == {}
    for interval_ns in (-5, 0, 1, 10**16):
        histogram.record(interval_ns)
    assert histogram.summary_ms()["max"] == 10**10
    assert histogram.n == 4

"""The spontaneous spike process."""

import dataclasses

import numpy as np
import pytest

from rt_engine.models.spike_process import SpikeProcess, SpikeStatistics

LAW = SpikeStatistics(
    min_rate_hz=0.05, max_rate_hz=2.0, burst_fraction=0.3, burst_spikes=(2, 8), burst_isi_s=(0.003, 0.015),
    n_groups=10, group_size=8, shared_fraction=0.3, group_jitter_s=0.02,
)  # fmt: skip


def test_cells_fire_at_their_planted_rates():
    process = SpikeProcess(LAW, 200, (1, 2))
    _, cell = process.take_until(2000.0)
    count = np.bincount(cell, minlength=200)
    expected = process.rate_hz * 2000
    volley = (0.7 + 0.3 * np.mean(np.arange(2, 9) ** 2)) / LAW.spikes_per_event
    z = (count - expected) / np.sqrt(expected * volley)
    assert abs(z.mean()) < 4 / 200**0.5
    assert 0.8 < z.std() < 1.2


def test_rates_are_log_uniform():
    rate_hz = SpikeProcess(LAW, 4000, (5,)).rate_hz
    u = (np.log(rate_hz) - np.log(0.05)) / np.log(2.0 / 0.05)
    counts, _ = np.histogram(u, bins=10, range=(0, 1))
    assert counts.sum() == 4000
    assert np.sum((counts - 400) ** 2 / 400) < 27.9  # chi2, 9 degrees of freedom, p = 0.001


def test_spikes_do_not_depend_on_how_they_are_asked_for():
    whole_s, whole_cell = SpikeProcess(LAW, 50, (3,)).take_until(40.0)
    stepwise = SpikeProcess(LAW, 50, (3,))
    parts = [stepwise.take_until(t) for t in np.arange(0.033, 41, 0.033)]
    times = np.concatenate([p[0] for p in parts])
    cells = np.concatenate([p[1] for p in parts])
    assert np.all(np.diff(times) >= 0)
    np.testing.assert_array_equal(times[: len(whole_s)], whole_s)
    np.testing.assert_array_equal(cells[: len(whole_s)], whole_cell)


def test_another_seed_gives_other_spikes():
    first, _ = SpikeProcess(LAW, 50, (3,)).take_until(20.0)
    second, _ = SpikeProcess(LAW, 50, (4,)).take_until(20.0)
    assert len(first) != len(second) or not np.array_equal(first, second)


def test_bursts_have_the_planted_intervals_and_sizes():
    law = dataclasses.replace(LAW, burst_fraction=1.0, n_groups=0, min_rate_hz=0.05, max_rate_hz=0.05)
    times, cell = SpikeProcess(law, 40, (9,)).take_until(1000.0)
    sizes = []
    intervals = []
    for i in range(40):
        gaps = np.diff(times[cell == i])
        intervals.extend(gaps[gaps < 0.02])
        ends = np.flatnonzero(gaps > 0.1)
        sizes.extend(np.diff(ends))
    assert min(intervals) >= 0.003
    assert np.quantile(intervals, 0.99) <= 0.015
    assert set(range(2, 9)) <= set(sizes)
    assert np.mean(sizes) == pytest.approx(5, abs=0.3)


def test_members_of_a_group_fire_together_and_others_do_not():
    law = dataclasses.replace(LAW, min_rate_hz=1.0, max_rate_hz=1.0, burst_fraction=0.0)
    process = SpikeProcess(law, 80, (11,))
    times, cell = process.take_until(2000.0)
    binned = np.zeros((80, 20000))
    np.add.at(binned, (cell, np.minimum((times / 0.1).astype(int), 19999)), 1)
    rho = np.corrcoef(binned)
    same = process.group[:, None] == process.group[None, :]
    off = ~np.eye(80, dtype=bool)
    assert rho[same & off].mean() > 0.15
    assert abs(rho[~same].mean()) < 0.005

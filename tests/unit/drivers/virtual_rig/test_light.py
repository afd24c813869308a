"""Light on a target evokes spikes with the opsin's probability; light beside it does not; the frames show it."""

import numpy as np
import pytest
from scipy.stats import binom

from drivers.virtual_rig.light_record import LightRecord
from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.sample_config import SampleConfig


def make(**config):
    base = dict(n_cells=12, spontaneous=False, motion={"jitter_um": 0, "jump_rate_hz": 0, "drift_um": 0})
    return VirtualSample(SampleConfig(**(base | config)), 128, 128, 0.8, 30.0)


def shoot(sample, target, power_mw, n_pulses, width_s=0.005):
    """Evoked spikes of every cell over `n_pulses` pulses, one in three frames, and their latencies in s."""
    frame = np.zeros((128, 128), dtype=np.uint16)
    counts = np.zeros(len(sample.somata.y_px), dtype=int)
    latency_s = []
    for _ in range(n_pulses):
        t_s = sample.next_frame / 30 + 0.001
        sample.receive_light(t_s, width_s, np.array([power_mw]), np.array([target]))
        for _ in range(3):
            truth = sample.render(sample.next_frame, frame)
            assert truth.evoked.all()
            np.add.at(counts, truth.spike_cell, 1)
            latency_s.extend(truth.spike_frame / 30 - t_s)
    return counts, np.array(latency_s)


@pytest.mark.parametrize("power_over_p50_mw", [-1.5, 0.0, 1.0, 3.0])
def test_spikes_on_target_follow_the_logistic_curve(power_over_p50_mw):
    sample = make(n_cells=1)
    p50 = sample.opsin.p50_mw[0]
    target = (sample.somata.y_px[0], sample.somata.x_px[0])
    counts, _ = shoot(sample, target, p50 + power_over_p50_mw, 300)
    logistic, dark = (1 / (1 + np.exp(-z)) for z in (power_over_p50_mw, -p50))
    low, high = binom.interval(0.999, 300, (logistic - dark) / (1 - dark))
    assert low <= counts[0] <= high


def test_no_cell_60_um_away_fires():
    sample = make()
    distance_um = 0.8 * np.hypot(sample.somata.y_px, sample.somata.x_px)
    assert (distance_um > 60).sum() > 3
    counts, _ = shoot(sample, (0.0, 0.0), 20.0, 200)
    assert counts[distance_um > 60].sum() == 0


def test_power_falls_to_half_at_half_the_lateral_width():
    sample = make()
    target = np.array([[sample.somata.y_px[0] + 7.5 / 0.8, sample.somata.x_px[0]]])
    assert sample.opsin.received_mw(np.array([8.0]), target, np.zeros(2))[0] == pytest.approx(4.0)
    moved = sample.opsin.received_mw(np.array([8.0]), target, np.array([7.5 / 0.8, 0.0]))
    assert moved[0] == pytest.approx(8.0)


def test_targets_add_up():
    sample = make()
    at = np.stack([sample.somata.y_px[:2], sample.somata.x_px[:2]], axis=1)
    both = sample.opsin.received_mw(np.array([3.0, 5.0]), at, np.zeros(2))
    single = [sample.opsin.received_mw(np.array([p]), at[i : i + 1], np.zeros(2)) for i, p in enumerate((3.0, 5.0))]
    np.testing.assert_allclose(both, sum(single))


def test_latency_is_6_ms_with_2_ms_spread():
    sample = make(n_cells=1)
    _, latency_s = shoot(sample, (sample.somata.y_px[0], sample.somata.x_px[0]), 50.0, 200)
    assert latency_s.mean() == pytest.approx(0.006, abs=4 * 0.002 / 200**0.5)
    assert latency_s.std() == pytest.approx(0.002, rel=0.2)


def test_a_pulse_shorter_than_the_least_width_evokes_nothing():
    sample = make(n_cells=1)
    counts, _ = shoot(sample, (sample.somata.y_px[0], sample.somata.x_px[0]), 50.0, 50, width_s=0.0004)
    assert counts.sum() == 0


def test_median_p50_is_4_mw():
    p50 = make(n_cells=2000).opsin.p50_mw
    assert np.median(p50) == pytest.approx(4, rel=4 * 1.2533 * 0.3 / 2000**0.5)


def test_light_that_comes_late_acts_at_the_end_of_the_last_frame():
    sample = make(n_cells=1)
    frame = np.zeros((128, 128), dtype=np.uint16)
    for k in range(5):
        sample.render(k, frame)
    target = np.array([[sample.somata.y_px[0], sample.somata.x_px[0]]])
    sample.receive_light(1.0 / 30, 0.005, np.array([50.0]), target)
    truth = sample.render(5, frame)
    assert truth.light_frame == pytest.approx([5.0])
    assert np.all(truth.spike_frame > 5)
    assert truth.blanked[0][0] == 0


def test_evoked_spikes_depend_on_seed_and_light_alone():
    first, second = (shoot(make(), (60.0, 60.0), 8.0, 40)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_lines_scanned_during_a_pulse_are_named_and_brighter():
    sample = make(n_cells=0, opsin={"artefact_photons_per_mw": 2.0}, bleaching={"fraction": 0})
    frame = np.zeros((128, 128), dtype=np.uint16)
    sample.receive_light(0.25 / 30, 0.005, np.array([10.0]), np.array([[10.0, 10.0]]))
    truth = sample.render(0, frame)
    (line0, n_lines), = truth.blanked  # fmt: skip
    assert (line0, n_lines) == (32, 20)  # 0.25 of 128 lines; 5 ms = 19.2 lines
    lines = frame.mean(axis=1)
    dark = np.r_[lines[:32], lines[52:]].max()
    assert lines[32:51].min() > dark + 0.8 * 40 * 20
    assert lines[51] > dark
    assert sample.render(1, frame).blanked == ()


def test_a_pulse_over_the_end_of_a_frame_lights_both():
    record = LightRecord(10, 30.0, 1.0)
    record.add(0.8 / 30, 0.5 / 30, 2.0)
    first = record.expose(0)
    np.testing.assert_allclose(record.line_photons, [0] * 8 + [2, 2])
    second = record.expose(1)
    np.testing.assert_allclose(record.line_photons, [2, 2, 2] + [0] * 7, atol=1e-6)
    assert (first.blanked, second.blanked[0][0]) == (((8, 2),), 0)
    assert (len(first.onsets_s), len(second.onsets_s)) == (1, 0)
    record.expose(2)
    assert not record.line_photons.any()


def test_pulses_apart_give_spans_apart():
    record = LightRecord(10, 30.0, 1.0)
    record.add(0.1 / 30, 0.1 / 30, 1.0)
    record.add(0.55 / 30, 0.2 / 30, 1.0)
    assert record.expose(0).blanked == ((1, 1), (5, 3))

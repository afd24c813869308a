"""Calibration of active cells: noise, kernel and size recovered, detection as promised, false alarms nominal."""

from dataclasses import fields, replace

import numpy as np
import pytest
from naive.planted_traces import planted_traces, score
from scipy.stats import poisson

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.indicators import indicator
from rt_engine.models.trace_calibration import (
    PhotonCounting,
    TraceCalibration,
    bounded_neuropil_coefficient,
    calibrate_traces,
)
from rt_engine.pipeline.traces import TraceStage

RATE_HZ = 30.0
PRIOR = indicator("jGCaMP8m")
KERNEL = {"tau_rise_s": PRIOR.tau_rise_s, "tau_s": PRIOR.tau_s, "amplitude_dff": PRIOR.amplitude_dff}


def photons(planted, gain_counts):
    """A ROI's photons are one Poisson number, those of a ring four times as many."""
    one_px = np.ones(planted.f_roi.shape[1], np.int64)
    return PhotonCounting(gain_counts, one_px, 4 * one_px)


def calibrate(planted, n_frames=None, **changed):
    settings = {
        "photons": photons(planted, 20.0),
        "frame_rate_hz": RATE_HZ,
        "indicator": PRIOR,
        "hold_frames": 1,
        "false_alarms_per_min": 0.5,
        "neuropil_coefficient": 0.7,
    } | changed
    return calibrate_traces(planted.f_roi[:n_frames], planted.f_np[:n_frames], planted.valid[:n_frames], **settings)


def events_of(found, planted, n_baseline_frames=5000):
    """Events of a fresh stage over a recording, as the live engine would tell them."""
    n = len(found.f0_counts)
    none, image = np.zeros(n + 1, np.int64), np.zeros((1, 1), np.float32)
    stage = TraceStage(
        Calibration(
            frame_rate_hz=RATE_HZ, n_lines=1, pixels_per_line=1, um_per_px=1.0, indicator=PRIOR.name, hold_frames=1,
            n_baseline_frames=n_baseline_frames, offset_counts=0.0, adc_max_counts=np.nan, false_alarms_per_min=0.5,
            template=image, correlation_image=image, roi_id=np.arange(n, dtype=np.uint32), roi_start=none,
            roi_pixels=np.zeros(0, np.uint32), neuropil_start=none, neuropil_pixels=np.zeros(0, np.uint32),
            quality=np.ones(n, np.float32), **{f.name: getattr(found, f.name) for f in fields(TraceCalibration)},
        )
    )  # fmt: skip
    told, none_censored = [stage.events[:0].copy()], np.zeros(n, np.uint8)
    for t in range(len(planted.f_roi)):
        k = stage.process(t, 0, planted.f_roi[t], planted.f_np[t], planted.valid[t], none_censored)
        told.append(stage.events[:k].copy())
    return np.concatenate(told)


@pytest.fixture(scope="module")
def population():
    """Silent to bursting at two spikes a second, A / sigma from 2 to 20."""
    n = 160
    planted = planted_traces(
        11,
        n_rois=n,
        rate_hz=np.tile([0.0, 0.1, 0.5, 2.0], n // 4),
        amplitude_over_sigma=np.geomspace(2, 20, n),
        **KERNEL,
    )
    return planted, calibrate(planted)


def test_noise_is_right_for_silent_and_for_bursting_cells_alike(population):
    planted, found = population
    # A ring of four times the cell's photons adds r^2 / 4 of the variance.
    truth = planted.sigma_dff * np.sqrt(1 + 0.7**2 / 4)
    in_band = 1 / np.sqrt(np.sum(found.filter_taps.astype(float) ** 2, axis=0))
    for firing in range(4):
        ratio = (found.sigma_dff * in_band / truth)[firing::4]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.02)


def test_false_events_of_the_same_cells_when_silent_are_nominal(population):
    planted, found = population
    n = len(planted.sigma_dff)
    amplitude_over_sigma = KERNEL["amplitude_dff"] / planted.sigma_dff
    silent = planted_traces(12, n_rois=n, n_frames=5400, rate_hz=0, amplitude_over_sigma=amplitude_over_sigma, **KERNEL)
    low, high = poisson.interval(0.99, 0.5 * 3 * n)
    assert low <= len(events_of(found, silent)) <= high


@pytest.mark.parametrize("rate_hz", [0.05, 0.3, 2.0])
def test_bursts_of_new_activity_are_found_and_little_else(rate_hz):
    n = 40
    law = {"n_rois": n, "rate_hz": rate_hz, "amplitude_over_sigma": np.geomspace(4, 12, n), **KERNEL}
    found = calibrate(planted_traces(13, **law))
    test = planted_traces(14, **law)
    events = events_of(found, test)
    hits, planted, told = np.sum([score(events, i, test.spikes_s[i], RATE_HZ, from_s=1.0) for i in range(n)], axis=0)
    minutes = n * 2.0
    assert hits / planted >= 0.8
    # Half a false event a minute is the nominal rate: cells that hardly fire cannot have a better precision than this.
    attainable = planted / (planted + 0.5 * minutes)
    assert hits / told >= min(0.93, 0.95 * attainable)


def test_kernel_and_size_move_with_the_data_but_only_if_there_are_any():
    slow = {"tau_rise_s": PRIOR.tau_rise_s, "tau_s": 1.4 * PRIOR.tau_s, "amplitude_dff": 0.8 * PRIOR.amplitude_dff}
    active = calibrate(planted_traces(15, n_rois=40, rate_hz=0.4, amplitude_over_sigma=8, **slow))
    assert np.median(active.tau_s) == pytest.approx(slow["tau_s"], rel=0.1)
    assert np.median(active.amplitude_dff) == pytest.approx(slow["amplitude_dff"], rel=0.12)
    silent = calibrate(planted_traces(16, n_rois=40, rate_hz=0, amplitude_over_sigma=8, **slow))
    np.testing.assert_allclose(silent.tau_s, PRIOR.tau_s, rtol=0.05)
    np.testing.assert_allclose(silent.amplitude_dff, PRIOR.amplitude_dff, rtol=0.05)
    assert np.median(silent.rate_hz) < 0.02 < np.median(active.rate_hz)


def test_short_recordings_answer_with_higher_thresholds(population):
    planted, long = population
    short = calibrate(planted, 200)
    for field in fields(TraceCalibration):
        assert np.isfinite(getattr(short, field.name)).all(), field.name
    assert np.median(short.threshold) > np.median(calibrate(planted, 1000).threshold) > np.median(long.threshold)


def test_missing_samples_change_little(population):
    planted, long = population
    rng = np.random.default_rng(0)
    holes = replace(planted, f_roi=planted.f_roi.copy(), valid=planted.valid.copy())
    lost = rng.random(len(holes.valid)) < 0.05
    holes.valid[lost] = 0
    holes.f_roi[lost] = 1e6
    holes.f_roi[5, 3] = np.nan
    found = calibrate(holes)
    assert np.median(found.sigma_dff / long.sigma_dff) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(np.median(found.threshold), np.median(long.threshold), atol=0.1)


def test_dead_rows_get_finite_constants():
    planted = planted_traces(17, n_rois=4, n_frames=600, **KERNEL)
    planted.f_roi[:, 1] = 0.0
    planted.valid[:, 2] = 0
    planted.f_roi[:, 3] = 5.0
    found = calibrate(planted)
    for field in fields(TraceCalibration):
        assert np.isfinite(getattr(found, field.name)).all(), field.name
    assert (found.sigma_dff > 0).all()
    assert (found.f0_counts > 0).all()


def test_brightness_in_other_units_changes_nothing_but_the_baseline(population):
    planted, one = population
    ten = calibrate(replace(planted, f_roi=10 * planted.f_roi, f_np=10 * planted.f_np), photons=photons(planted, 200.0))
    np.testing.assert_allclose(ten.f0_counts, 10 * one.f0_counts, rtol=1e-3)
    np.testing.assert_allclose(ten.sigma_dff, one.sigma_dff, rtol=1e-2)
    np.testing.assert_allclose(ten.threshold, one.threshold, rtol=1e-2)


def test_fields_are_those_of_a_calibration(population):
    _, found = population
    wanted = {f.name: f.type for f in fields(Calibration)}
    for field in fields(TraceCalibration):
        assert field.name in wanted
        value = getattr(found, field.name)
        assert value.dtype == np.float32
        assert value.shape[-1] == 160
    assert found.filter_taps.flags.c_contiguous


def test_promised_detection_is_what_isolated_single_spikes_get():
    # One spike a second on the clock, none in bursts: every event is isolated and of size one.
    law = {"n_rois": 60, "amplitude_over_sigma": 5.0, "neuropil": 0.0, **KERNEL}
    found = calibrate(planted_traces(18, rate_hz=0.3, **law))
    quiet = planted_traces(19, rate_hz=0, **law)
    rng = np.random.default_rng(1)
    f0 = quiet.f0_counts[0]
    t = np.arange(len(quiet.f_roi)) / RATE_HZ
    n_planted, n_found = 0, 0
    for i in range(60):
        starts = np.arange(1.0, 118.0) + rng.uniform(0, 0.3, 117)
        dff = sum(PRIOR.amplitude_dff * PRIOR.kernel(t + rng.random() / RATE_HZ - s) for s in starts)
        photons = rng.poisson(f0 * dff / 20.0)
        quiet.f_roi[:, i] += (20.0 * photons).astype(np.float32)
        n_planted += len(starts)
        quiet.spikes_s[i] = starts
    events = events_of(found, quiet)
    n_found = sum(score(events, i, quiet.spikes_s[i], RATE_HZ)[0] for i in range(60))
    # The same spike may also be told a frame later, so detection is at least what is promised.
    assert n_found / n_planted >= np.median(found.expected_detection) - 0.06


def test_neuropil_coefficient_is_bounded_by_the_darkest_frames():
    rng = np.random.default_rng(0)
    f_np = rng.normal(100, 5, (500, 2)).astype(np.float32)
    f_roi = np.stack([rng.normal(300, 5, 500), rng.normal(40, 2, 500)], axis=1).astype(np.float32)
    r = bounded_neuropil_coefficient(f_roi, f_np, np.ones(f_np.shape, bool), 0.7)
    bound = 0.95 * np.percentile(f_roi[:, 1], 5) / np.percentile(f_np[:, 1], 95)
    assert r[0] == pytest.approx(0.7)
    assert r[1] == pytest.approx(bound, rel=0.01)


def test_indicator_by_name_and_unknown_names_are_refused(population):
    planted, _ = population
    np.testing.assert_array_equal(calibrate(planted, 300, indicator="JGCAMP8M").sigma_dff,
                                  calibrate(planted, 300).sigma_dff)  # fmt: skip
    with pytest.raises(ConfigError, match="jGCaMP8m"):
        calibrate(planted, 300, indicator="GCaMP99")


def test_noise_that_the_model_does_not_know_is_in_the_scale_of_z():
    # Successive frames share noise, as a slow amplifier or residual motion gives it.
    n = 80
    law = {
        "n_rois": n,
        "rate_hz": 0,
        "amplitude_over_sigma": 6.0,
        "neuropil": 0.0,
        "drift_per_min": 0.0,
        "gaussian": True,
    }
    two = [planted_traces(seed, n_frames=5400, **law, **KERNEL) for seed in (20, 21)]
    for planted in two:
        level = planted.f0_counts
        noise = planted.f_roi - level
        planted.f_roi[1:] = (level + noise[1:] + 0.6 * noise[:-1]).astype(np.float32)
    events = events_of(calibrate(two[0]), two[1])
    low, high = poisson.interval(0.99, 0.5 * 3 * n)
    assert 0.6 * low <= len(events) <= high  # correlated noise crosses a level less often


def test_false_events_are_nominal_where_half_of_the_noise_is_the_detectors():
    n, gain = 80, 20.0  # counts per photon, as `calibrate` is told
    law = {"n_rois": n, "rate_hz": 0.0, "amplitude_over_sigma": 4.6, "neuropil": 0.0, "drift_per_min": 0.0}
    two = [planted_traces(seed, n_frames=5400, counts_per_photon=gain, **law, **KERNEL) for seed in (30, 31)]
    rng = np.random.default_rng(32)
    for planted in two:
        planted.f_roi += (rng.standard_normal(planted.f_roi.shape) * np.sqrt(gain * planted.f0_counts)).astype("f4")
    found = calibrate(two[0], neuropil_coefficient=0.0)
    low, high = poisson.interval(0.99, 0.5 * 3 * n)
    assert low <= len(events_of(found, two[1])) <= high

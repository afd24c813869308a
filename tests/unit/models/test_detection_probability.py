"""The detection that is promised is the one that planted spikes get."""

from dataclasses import replace

import numpy as np
import pytest
from naive.planted_traces import planted_traces
from scipy.stats import binom

from rt_engine.models.detection import event_threshold, frames_before, matched_filter
from rt_engine.models.detection_probability import isolated_detection
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, run_stage
from rt_engine.models.trace_calibration import calibrate_traces

RATE_HZ = 30.0


def filter_of(prior, hold):
    n_before = frames_before(prior.tau_s, RATE_HZ)
    found = matched_filter(prior.tau_rise_s, prior.tau_s, RATE_HZ, hold, n_before)
    return found.taps.astype(np.float32), float(event_threshold(0.5, RATE_HZ, found.rho)[0]), n_before


def told(prior, hold, amplitude, sigma, taps=None):
    h, threshold, _ = filter_of(prior, hold)
    one = np.ones(1)
    return isolated_detection(
        h[:, None] if taps is None else taps[:, None],
        threshold * one,
        tau_rise_s=prior.tau_rise_s * one,
        tau_s=prior.tau_s * one,
        amplitude_dff=amplitude * one,
        sigma_dff=sigma * one,
        frame_rate_hz=RATE_HZ,
        hold_frames=hold,
    )[0]


@pytest.mark.parametrize(("name", "hold"), [("jGCaMP8m", 1), ("GCaMP6f", 3), ("GCaMP6s", 5), ("jGCaMP8f", 0)])
@pytest.mark.parametrize("a_over_sigma", [2.0, 3.5, 5.0])
def test_planted_spikes_are_told_as_often_as_promised(name, hold, a_over_sigma):
    """One trace a spike, filtered by `numpy.correlate`: an event is the first z at the threshold near the spike."""
    prior = indicator(name)
    taps, threshold, n_before = filter_of(prior, hold)
    sigma = prior.amplitude_dff / a_over_sigma
    rng = np.random.default_rng(7)
    n_spikes, n_told, at = 3000, 0, n_before + 6
    frame = np.arange(at + hold + 4)
    for _ in range(n_spikes):
        pulse = prior.amplitude_dff * prior.kernel((frame + rng.random() - at - rng.random()) / RATE_HZ)
        x = (pulse + sigma * np.sqrt(1 + pulse) * rng.standard_normal(len(frame))) / sigma
        z = np.correlate(x, taps.astype(float), mode="valid")  # z[k] is decided at frame k + n_taps - 1
        decided = np.arange(len(z)) + len(taps) - 1
        near = (decided >= at + hold - 1) & (decided <= at + hold + 2)
        n_told += bool(np.any(z[near] >= threshold))
    promised = told(prior, hold, prior.amplitude_dff, sigma)
    low, high = binom.interval(0.999, n_spikes, promised)
    slack = 3 * 0.008 * n_spikes  # standard error of the promise itself
    assert low - slack <= n_told <= high + slack


def test_no_spike_is_told_hardly_ever_and_a_large_one_always():
    prior = indicator("jGCaMP8m")
    assert told(prior, 1, 0.0, 0.1) <= 4 * 0.5 / (60 * RATE_HZ) + 0.002
    assert told(prior, 1, 0.7, 0.05) == 1.0
    rising = [told(prior, 1, 0.7, 0.7 / a) for a in (1, 2, 3, 4, 6)]
    assert rising == sorted(rising)


def test_filters_scaled_for_noise_that_is_not_white_lose_signal():
    prior = indicator("jGCaMP8m")
    taps = filter_of(prior, 1)[0]
    assert told(prior, 1, 0.7, 0.2, taps / np.float32(1.3)) < told(prior, 1, 0.7, 0.2) - 0.05


@pytest.mark.parametrize("a_over_sigma", [2.5, 3.5, 5.0])
def test_the_live_stage_tells_isolated_spikes_as_often_as_promised(a_over_sigma):
    prior = indicator("jGCaMP8m")
    law = {
        "n_rois": 60, "amplitude_over_sigma": a_over_sigma, "neuropil": 0.0, "drift_per_min": 0.0,
        "tau_rise_s": prior.tau_rise_s, "tau_s": prior.tau_s, "amplitude_dff": prior.amplitude_dff,
    }  # fmt: skip
    baseline = planted_traces(18, rate_hz=0.3, **law)
    found = calibrate_traces(
        baseline.f_roi, baseline.f_np, baseline.valid, frame_rate_hz=RATE_HZ, indicator=prior, hold_frames=1,
        false_alarms_per_min=0.5, neuropil_coefficient=0.7,
    )  # fmt: skip
    # What a spike is worth is planted, not fitted: the promise is tested, not the amplitude.
    found = replace(found, amplitude_dff=np.full(60, prior.amplitude_dff, np.float32))
    test = planted_traces(19, rate_hz=0, **law)
    rng = np.random.default_rng(1)
    t_s = np.arange(len(test.f_roi)) / RATE_HZ
    starts = [np.arange(1.0, 118.0, 4.0) + rng.uniform(0, 0.3) for _ in range(60)]
    for n, times in enumerate(starts):
        dff = sum(prior.amplitude_dff * prior.kernel(t_s + rng.random() / RATE_HZ - s) for s in times)
        test.f_roi[:, n] += (20.0 * rng.poisson(test.f0_counts[n] / 20.0 * dff)).astype(np.float32)
    run = run_stage(
        found, test.f_roi, test.f_np, test.valid == 1,
        RunSettings(RATE_HZ, prior, 1, frames_before(prior.tau_s, RATE_HZ), 0.5),
    )  # fmt: skip
    n_told = sum(
        np.any(np.abs((run.event_frame[run.event_roi == n] + 0.5) / RATE_HZ - s) < 0.1)
        for n, times in enumerate(starts)
        for s in times
    )
    promised = isolated_detection(
        found.filter_taps, found.threshold.astype(float), tau_rise_s=found.tau_rise_s.astype(float),
        tau_s=found.tau_s.astype(float), amplitude_dff=found.amplitude_dff.astype(float),
        sigma_dff=found.sigma_dff.astype(float), frame_rate_hz=RATE_HZ, hold_frames=1,
    ).mean()  # fmt: skip
    n = sum(len(times) for times in starts)
    low, high = binom.interval(0.999, n, promised)
    assert low <= n_told <= high

"""Constants of the drive: noise gives the rate of false events asked for, planted kernels and sizes are recovered."""

from dataclasses import fields

import numpy as np
import pytest
from naive.planted_traces import planted_traces

from rt_engine.models.drive_fit import (
    DECAY_FACTORS,
    SIGMA_ERROR,
    SMALLEST_PROBABILITY,
    SMALLEST_VOTED,
    USUAL_FALSE_ALARMS_PER_MIN,
    drive_kernel,
    fit_drive,
    settled_filter,
    step_sigma,
)
from rt_engine.models.indicators import indicator
from rt_engine.models.trace_inference import InferenceSettings, infer_traces

RATE_HZ = 30.0


def fit(dff, name="jGCaMP8m", hold=3, per_min=0.5, voted=False):
    return fit_drive(
        dff.astype(np.float32), np.isfinite(dff), frame_rate_hz=RATE_HZ, prior=indicator(name), hold_frames=hold,
        false_alarms_per_min=per_min, voted=voted,
    ).constants  # fmt: skip


def planted(seed, name="jGCaMP8m", slower=1.0, larger=1.0, **law):
    prior = indicator(name)
    kernel = {"tau_rise_s": prior.tau_rise_s, "tau_s": slower * prior.tau_s}
    p = planted_traces(
        seed, amplitude_dff=larger * prior.amplitude_dff, neuropil=0.0, drift_per_min=0.0, **kernel, **law
    )
    return p, p.f_roi / p.f0_counts - 1


@pytest.mark.parametrize("name", ["jGCaMP8f", "jGCaMP8m", "GCaMP6f", "OGB-1"])
def test_kernel_of_two_exponentials_is_that_of_the_spike(name):
    prior = indicator(name)
    decay, rise, step_decay, step_rise = drive_kernel(prior.tau_rise_s, prior.tau_s, RATE_HZ)
    t = (np.arange(40) + 0.5) / RATE_HZ
    k = np.arange(40)
    # Away from the frame of the spike, where its phase matters.
    np.testing.assert_allclose(
        (step_decay * decay**k - step_rise * rise**k)[3:], prior.kernel(t - 0.5 / RATE_HZ)[3:], atol=0.06
    )


@pytest.mark.parametrize("n_frames", [300, 3000])
def test_error_of_the_noise_is_what_the_threshold_allows_for(n_frames):
    y = np.random.default_rng(n_frames).standard_normal((n_frames, 1000)).astype(np.float32)
    spread = step_sigma(y, np.ones(y.shape, bool)).std() * np.sqrt(n_frames)
    assert spread == pytest.approx(SIGMA_ERROR, rel=0.1)


def test_short_calibrations_have_higher_thresholds():
    y = 0.1 * np.random.default_rng(0).standard_normal((3000, 4))
    short, whole = fit(y[:300]).threshold, fit(y).threshold
    assert (short > whole + 0.05).all()
    assert (fit(y, per_min=1 / 60).threshold > whole).all()


def test_noise_is_that_of_first_differences_without_the_missing():
    rng = np.random.default_rng(0)
    dff = 0.2 * rng.standard_normal((20_000, 2)).astype(np.float32)
    usable = rng.random(dff.shape) > 0.2
    np.testing.assert_allclose(step_sigma(dff, usable), 0.2, rtol=0.03)


def test_slow_cells_get_slow_kernels():
    _, fast = planted(1, n_rois=20, n_frames=4000, amplitude_over_sigma=8)
    _, slow = planted(1, slower=5.0, n_rois=20, n_frames=4000, amplitude_over_sigma=8)
    assert np.median(fit(slow).decay) > np.median(fit(fast).decay)
    assert len(DECAY_FACTORS) > 1


def test_size_of_a_spike_moves_with_the_data_but_only_if_there_are_any():
    prior = indicator("jGCaMP8m")
    unit = settled_filter(prior.tau_rise_s, prior.tau_s * DECAY_FACTORS[0], 0.3, RATE_HZ, 3)
    assert 0.2 < unit.gain < 1.2
    _, small = planted(2, larger=0.6, n_rois=20, n_frames=6000, amplitude_over_sigma=10, rate_hz=0.4)
    _, large = planted(2, larger=1.4, n_rois=20, n_frames=6000, amplitude_over_sigma=10, rate_hz=0.4)
    sizes = [np.median(m.gain * m.noise_dff / m.unit_dff) for m in map(fit, (small, large))]
    assert sizes[0] < 0.9 < 1.1 < sizes[1]
    silent = fit(0.1 * np.random.default_rng(3).standard_normal((3000, 10)))
    ratio = silent.gain * silent.noise_dff / silent.unit_dff
    np.testing.assert_allclose(ratio, 1.0, rtol=0.1)


def test_a_cell_does_not_depend_on_its_neighbours():
    _, dff = planted(4, n_rois=6, n_frames=600, amplitude_over_sigma=6)
    whole, one = fit(dff), fit(np.ascontiguousarray(dff[:, 2:3]))
    per_cell = [field.name for field in fields(whole) if getattr(whole, field.name).ndim == 1]
    assert len(per_cell) == 16
    for name in per_cell:
        assert getattr(whole, name)[2] == getattr(one, name)[0]


def test_dead_rows_get_finite_constants():
    dff = np.zeros((200, 3))
    dff[:, 1] = np.nan
    dff[:, 2] = 5.0
    model = fit(dff)
    for field in fields(model):
        assert np.isfinite(getattr(model, field.name)).all()


def test_probability_is_calibrated_on_traces_it_has_not_seen():
    told, true = [], []
    for seed, name, rate_hz, wrong in (
        (21, "jGCaMP8m", 0.5, 1.0),
        (22, "GCaMP6f", 1.0, 1.0),
        (23, "jGCaMP8s", 0.3, 1.3),
    ):
        p, dff = planted(seed, name, slower=wrong, larger=wrong, n_rois=16, n_frames=3000, rate_hz=rate_hz,
                         amplitude_over_sigma=np.tile([2, 4, 8, 12], 4))  # fmt: skip
        settings = InferenceSettings(indicator=indicator(name), hold_frames=3)
        found = infer_traces(np.ascontiguousarray(dff.T, np.float32), np.full(16, RATE_HZ), settings)
        spikes = np.array([np.histogram(s, np.arange(3001) / RATE_HZ)[0] > 0 for s in p.spikes_s])
        told.append(found.probability[:, 303:].ravel())
        true.append(spikes[:, 300:-3].ravel())
    told, true = np.concatenate(told), np.concatenate(true)
    bins = np.minimum((told * 15).astype(int), 14)
    gap = [abs(told[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert sum(gap) <= 0.03
    high = told > 0.7
    assert high.sum() > 300
    assert told[high].mean() == pytest.approx(true[high].mean(), abs=0.1)


def test_events_are_told_by_probability_unless_a_rate_of_false_ones_is_asked_for():
    y = 0.1 * np.random.default_rng(0).standard_normal((600, 2))
    by_rate, by_probability = fit(y), fit(y, per_min=None)
    assert (by_rate.smallest_probability == 0).all()
    assert (by_rate.threshold > 2).all()
    assert (by_probability.smallest_probability == SMALLEST_PROBABILITY).all()
    assert (by_probability.threshold == 0).all()
    voted, voted_by_rate = (fit(y, per_min=x, voted=True) for x in (None, 1.0))
    assert (voted.smallest_probability == SMALLEST_VOTED).all()
    assert (voted_by_rate.smallest_probability == 0).all()


def test_without_a_hold_events_are_told_at_the_usual_rate():
    y = 0.1 * np.random.default_rng(0).standard_normal((600, 2))
    usual, found = fit(y, hold=0, per_min=USUAL_FALSE_ALARMS_PER_MIN), fit(y, hold=0, per_min=None)
    for field in fields(usual):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(usual, field.name))

"""Sizes and decays of single cells, shrunk to their population: better than each by itself."""

import numpy as np
import pytest

from rt_engine.models.indicators import indicator
from rt_engine.models.kinetics_fit import (
    BURST_SIZES,
    FIRST_LAG,
    IsolatedEvents,
    amplitude_posterior,
    decay_posterior,
    event_sizes,
    fit_amplitude,
    fit_decay,
    isolated_events,
)

PRIOR = indicator("jGCaMP8m")


def sizes(rng, amplitude, n_events, error):
    """Roi and size of events of 1, 2, ... spikes, with the spread of sampling phases and noise."""
    roi = np.repeat(np.arange(len(amplitude)), n_events)
    share = np.array(BURST_SIZES) / np.sum(BURST_SIZES)
    n_spikes = rng.choice(len(share), len(roi), p=share) + 1
    size = amplitude[roi] * n_spikes + np.sqrt(error**2 + n_spikes * (0.2 * amplitude[roi]) ** 2) * rng.standard_normal(
        len(roi)
    )
    return IsolatedEvents(roi, np.zeros((len(roi), 8))), size


def test_shrinkage_to_the_population_beats_raw_sizes_and_the_library_alone():
    rng = np.random.default_rng(0)
    amplitude = PRIOR.amplitude_dff * 0.6 * np.exp(0.15 * rng.standard_normal(200))
    events, size = sizes(rng, amplitude, rng.integers(0, 9, 200), 0.1)
    error, smallest = np.full(len(size), 0.1), np.zeros(200)
    shrunk = amplitude_posterior(events, size, error, smallest, PRIOR.amplitude_dff)
    flat = np.full(200, PRIOR.amplitude_dff)
    # Raw: the cell's own mean size over the mean number of spikes; the library where there is no event.
    n = np.bincount(events.roi, minlength=200)
    per_event = float(np.dot(BURST_SIZES, np.arange(1, 7)) / np.sum(BURST_SIZES))
    raw = np.where(n > 0, np.bincount(events.roi, size, 200) / np.maximum(n, 1) / per_event, flat)

    def error_of(values):
        return np.sqrt(np.mean(np.log(np.maximum(values, 1e-3) / amplitude) ** 2))

    assert error_of(shrunk.median) < 0.5 * error_of(raw)
    assert error_of(shrunk.median) < 0.5 * error_of(flat)
    alone = np.concatenate(
        [
            amplitude_posterior(
                IsolatedEvents(np.zeros(k, int), np.zeros((k, 8))),
                size[events.roi == i],
                error[events.roi == i],
                np.zeros(1),
                PRIOR.amplitude_dff,
            ).median
            for i, k in enumerate(n)
        ]
    )
    assert error_of(shrunk.median) < 0.85 * error_of(alone)
    covered = np.abs(np.log(shrunk.median / amplitude)) <= shrunk.log_sd
    assert 0.58 <= covered.mean() <= 0.78
    np.testing.assert_array_equal(fit_amplitude(events, size, error, smallest, PRIOR.amplitude_dff), shrunk.median)


def test_much_data_is_not_shrunk_and_none_leaves_library_or_population():
    rng = np.random.default_rng(1)
    amplitude = PRIOR.amplitude_dff * np.array([0.5, 1.0, 1.8])
    events, size = sizes(rng, amplitude, np.full(3, 400), 0.05)
    found = amplitude_posterior(events, size, np.full(len(size), 0.05), np.zeros(3), PRIOR.amplitude_dff)
    np.testing.assert_allclose(found.median, amplitude, rtol=0.06)
    nothing = amplitude_posterior(
        IsolatedEvents(np.zeros(0, int), np.zeros((0, 8))), np.zeros(0), np.zeros(0), np.zeros(2), 0.4
    )
    np.testing.assert_allclose(nothing.median, 0.4, rtol=1e-6)
    others = amplitude_posterior(events, size, np.full(len(size), 0.05), np.zeros(4), PRIOR.amplitude_dff)
    assert others.log_sd[3] > 3 * others.log_sd[:3].max()


@pytest.mark.parametrize("name", ["jGCaMP8m", "GCaMP6s"])
def test_decay_is_recovered_whatever_the_rise(name):
    prior, rate_hz = indicator(name), 30.0
    rng = np.random.default_rng(2)
    tau_s = prior.tau_s * np.exp(0.15 * rng.standard_normal(40))
    n_after = int(6 * prior.tau_s * rate_hz)
    lags = np.arange(FIRST_LAG, n_after + 1)
    roi = np.repeat(np.arange(40), 6)
    t = (lags + rng.random((len(roi), 1)) - rng.random((len(roi), 1))) / rate_hz
    rise, decay = prior.tau_rise_s, tau_s[roi][:, None]
    pulse = np.where(t > 0, np.exp(-np.maximum(t, 0) / decay) - np.exp(-np.maximum(t, 0) / rise), 0.0)
    windows = 8 * pulse / pulse.max(axis=1, keepdims=True) + rng.standard_normal(t.shape)
    found = decay_posterior(IsolatedEvents(roi, windows), np.ones(40), rise, prior.tau_s, rate_hz)
    error = np.log(found.median / tau_s)
    assert abs(error.mean()) < 0.5 * np.median(found.log_sd)
    assert 0.5 <= error.std() / np.median(found.log_sd) <= 1.3
    np.testing.assert_array_equal(
        fit_decay(IsolatedEvents(roi, windows), np.ones(40), rise, prior.tau_s, rate_hz), found.median
    )


@pytest.mark.parametrize("frame_rate_hz", [0.1, 1.0])
def test_windows_are_long_enough_for_a_size_where_frames_last_seconds(frame_rate_hz):
    dff = np.zeros((40, 1), np.float32)
    dff[20] = 0.7
    events = isolated_events(dff, np.array([20]), np.array([0]), 1)
    size, error = event_sizes(events, np.array([0.01]), PRIOR.tau_rise_s, PRIOR.tau_s, frame_rate_hz)
    assert len(size) == 1
    assert size[0] > 0
    assert error[0] > 0

"""The average around light recovers a planted response, and a band with the nominal coverage."""

import numpy as np
import pytest
from scipy import stats

from rt_engine.recording.event_triggered import difference, mean_response, triggered_average

PERIOD_S = 0.05


def test_a_planted_response_is_recovered_at_its_time():
    frame = np.arange(2000)
    dff = np.zeros((2000, 3), np.float32)
    onsets = np.arange(100, 1900, 150)
    for onset in onsets:
        dff[onset : onset + 20, 1] += 0.5
    trials = [(float(onset) + 0.7, [1]) for onset in onsets]
    average = triggered_average(frame, dff, trials, PERIOD_S)
    # a trigger at onset + 0.7 is first seen in the frame complete at onset + 1, which is frame `onset`
    np.testing.assert_allclose(average.mean, np.where((average.t_s >= 0) & (average.t_s < 1 - 1e-9), 0.5, 0), atol=1e-6)
    assert average.n_trials == len(onsets)
    assert average.t_s[0] == pytest.approx(-1.0)
    assert average.t_s[-1] == pytest.approx(3.0)


def test_the_level_before_the_trigger_is_taken_out_and_invalid_samples_are_left_out():
    frame = np.arange(300)
    dff = np.full((300, 2), 2.0, np.float32)
    dff[100:110] += 1.0
    dff[103] = np.nan
    dff[95, 0] = np.nan
    average = triggered_average(frame, dff, [(101.0, [0, 1])], PERIOD_S)
    inside = (average.t_s >= -1e-9) & (average.t_s < 0.5 - 1e-9)
    expected = np.where(inside, 1.0, 0.0)
    expected[np.argmin(np.abs(average.t_s - 0.15))] = np.nan
    np.testing.assert_allclose(average.mean, expected, atol=1e-6)
    assert np.isnan(average.low).all()


def test_trials_at_the_edges_across_gaps_or_without_targets_are_left_out():
    frame = np.concatenate([np.arange(200), np.arange(210, 400)])
    dff = np.zeros((len(frame), 1), np.float32)
    assert triggered_average(frame, dff, [(5.0, [0]), (395.0, [0]), (190.0, [0]), (100.0, [])], PERIOD_S) is None
    assert triggered_average(frame, dff, [(100.0, [0]), (300.0, [0])], PERIOD_S).n_trials == 2
    assert triggered_average(np.zeros(0, np.int64), np.zeros((0, 0), np.float32), [(3.0, [0])], PERIOD_S) is None


def test_the_band_covers_the_truth_at_its_nominal_rate():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        dff = rng.normal(0, 1, (3000, 1)).astype(np.float32)
        trials = [(float(t), [0]) for t in range(100, 2800, 100)]
        average = triggered_average(np.arange(3000), dff, trials, PERIOD_S)
        covered.append(np.mean((average.low <= 0) & (average.high >= 0)))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_the_difference_is_welchs():
    rng = np.random.default_rng(1)
    frame = np.arange(6000)
    dff = rng.normal(0, 0.3, (6000, 1)).astype(np.float32)
    stim, control = range(100, 5800, 200), range(200, 5900, 200)
    for onset in stim:
        dff[onset : onset + 21] += 0.4
    a = triggered_average(frame, dff, [(t + 0.5, [0]) for t in stim], PERIOD_S)
    b = triggered_average(frame, dff, [(t + 0.5, [0]) for t in control], PERIOD_S)
    mean, low, high, p = difference(a, b)
    assert low < 0.4 < high
    variance = a.response.var(ddof=1) / a.n_trials + b.response.var(ddof=1) / b.n_trials
    parts = [r.response.var(ddof=1) / r.n_trials for r in (a, b)]
    freedom = variance**2 / sum(p**2 / (r.n_trials - 1) for p, r in zip(parts, (a, b), strict=True))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert (mean - low, high - mean) == (pytest.approx(half), pytest.approx(half))
    assert p == pytest.approx(2 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom))
    one = mean_response(a)
    half = stats.t.ppf(0.975, a.n_trials - 1) * a.response.std(ddof=1) / np.sqrt(a.n_trials)
    assert one[:3] == pytest.approx((a.response.mean(), a.response.mean() - half, a.response.mean() + half))
    assert difference(a, triggered_average(frame, dff, [(200.0, [0])], PERIOD_S)) is None

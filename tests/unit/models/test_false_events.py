"""Noise alone raises events as rarely as asked, whatever the noise of the cell, through the public path."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import poisson

from rt_engine.models.indicators import indicator
from rt_engine.models.trace_inference import InferenceSettings, Method, infer_traces

RATE_HZ = 30.0
BASELINE_S = 100.0  # 3000 frames
SIGMA_DFF = (0.03, 0.3)


def told_in(minutes, n_cells, per_min, method, hold, seed, name="GCaMP6f", phi=0.0):
    """Cell of every event after the baseline; `phi` is the correlation of successive samples of the noise."""
    rng = np.random.default_rng([seed, hold])
    sigma = np.geomspace(*SIGMA_DFF, n_cells)
    n_frames = round((BASELINE_S + 60 * minutes) * RATE_HZ)
    noise = rng.standard_normal((n_cells, n_frames), np.float32)
    if phi:
        noise = lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], noise, axis=1)
    traces = (sigma[:, None] * noise).astype(np.float32)
    settings = InferenceSettings(
        indicator=indicator(name), method=method, hold_frames=hold, baseline_s=BASELINE_S, false_alarms_per_min=per_min
    )
    events = infer_traces(traces, np.full(n_cells, RATE_HZ), settings).events
    return events["roi_index"][events["decided_frame"] >= BASELINE_S * RATE_HZ]


def assert_nominal(cells, n_cells, expected):
    """Of all cells within the 99 % band, and of the quiet and the noisy half within a 99.7 % band."""
    low, high = poisson.interval(0.99, expected)
    assert low <= len(cells) <= high
    halves = np.histogram(cells, [0, n_cells // 2, n_cells])[0]
    low, high = poisson.interval(0.997, expected / 2)
    assert ((low <= halves) & (halves <= high)).all()


@pytest.mark.parametrize("method", [Method.COMBINED, Method.MATCHED_FILTER])
@pytest.mark.parametrize(("per_min", "minutes"), [(1.0, 4.0), (1 / 60, 40.0)])
def test_noise_gives_the_rate_of_false_events_asked_for(method, per_min, minutes):
    n_cells = 60
    cells = told_in(minutes, n_cells, per_min, method, 3, seed=0)
    assert_nominal(cells, n_cells, per_min * minutes * n_cells)


def test_noise_with_memory_gives_the_combined_decision_the_rate_asked_for():
    n_cells, minutes = 60, 4.0
    cells = told_in(minutes, n_cells, 1.0, Method.COMBINED, 3, seed=0, phi=0.3)
    assert_nominal(cells, n_cells, minutes * n_cells)


@pytest.mark.statistics
@pytest.mark.parametrize("method", [Method.COMBINED, Method.MATCHED_FILTER])
@pytest.mark.parametrize("phi", [0.1, 0.3])
def test_noise_with_memory_gives_the_rate_of_false_events_asked_for(method, phi):
    n_cells, minutes = 2000, 3.0
    cells = told_in(minutes, n_cells, 1.0, method, 3, seed=1, phi=phi)
    assert_nominal(cells, n_cells, minutes * n_cells)


@pytest.mark.statistics
@pytest.mark.parametrize("method", [Method.COMBINED, Method.MATCHED_FILTER])
@pytest.mark.parametrize(("name", "hold"), [("GCaMP6f", 3), ("jGCaMP8m", 1)])
@pytest.mark.parametrize(("per_min", "minutes", "n_cells"), [(1.0, 3.0, 2000), (1 / 60, 12.0, 1000)])
def test_noise_gives_the_rate_of_false_events_asked_for_in_many_cells(method, name, hold, per_min, minutes, n_cells):
    """Many cells for a short time: what 3,000 frames tell of its noise makes the rate of one cell wrong by a fifth, and
    of 200 cells by as much as counting 6,000 events does, which the band does not know of.
    """
    cells = told_in(minutes, n_cells, per_min, method, hold, seed=1, name=name)
    assert_nominal(cells, n_cells, per_min * minutes * n_cells)

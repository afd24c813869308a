"""The compiled step from spikes to dF/F equals its slow twin, and is exactly at rest without spikes."""

import numpy as np
import pytest
from naive import calcium as naive

from rt_engine.kernels.calcium import advance_cells
from rt_engine.models.indicators import indicator, indicator_names


def run(params, trains, duration_s, n_substeps, calcium, bound):
    start = np.concatenate([[0], np.cumsum([len(t) for t in trains])]).astype(np.int64)
    dff = np.full(len(trains), np.nan)
    advance_cells(start, np.concatenate([np.zeros(0), *trains]), duration_s, n_substeps, params, calcium, bound, dff)
    return dff


@pytest.mark.parametrize("name", indicator_names())
def test_step_equals_the_equations_written_out(name):
    rng = np.random.default_rng(3)
    physics = indicator(name).physics
    params = physics.as_array()
    trains = [np.sort(rng.uniform(0, 0.033, rng.integers(0, 6))) for _ in range(20)]
    calcium = rng.exponential(30, 20)
    bound = rng.uniform(physics.rest_bound(), 1, 20)
    expected = [naive.advance_one(t, 0.033, 66, params, c, b) for t, c, b in zip(trains, calcium, bound, strict=True)]
    dff = run(params, trains, 0.033, 66, calcium, bound)
    for got, column in zip((calcium, bound, dff), np.array(expected).T, strict=True):
        np.testing.assert_allclose(got, column, rtol=1e-9, atol=1e-12)


def test_a_cell_without_spikes_stays_exactly_at_rest():
    physics = indicator("jGCaMP8m").physics
    calcium, bound = np.zeros(2), np.full(2, physics.rest_bound())
    dff = run(physics.as_array(), [np.zeros(0), np.zeros(0)], 0.033, 66, calcium, bound)
    np.testing.assert_array_equal(calcium, 0)
    np.testing.assert_array_equal(dff, 0)


def test_activity_dies_out_to_exact_rest():
    physics = indicator("jGCaMP8m").physics
    calcium, bound = np.zeros(1), np.full(1, physics.rest_bound())
    run(physics.as_array(), [np.array([0.01])], 0.033, 66, calcium, bound)
    for _ in range(200):
        dff = run(physics.as_array(), [np.zeros(0)], 0.033, 66, calcium, bound)
    assert calcium[0] == 0
    assert dff[0] == 0


def test_a_spike_at_the_very_end_of_the_step_is_not_lost():
    physics = indicator("jGCaMP8m").physics
    calcium, bound = np.zeros(1), np.full(1, physics.rest_bound())
    run(physics.as_array(), [np.array([0.033])], 0.033, 66, calcium, bound)
    assert calcium[0] == pytest.approx(physics.step_calcium_nm)

"""Matching against the truth, compared with brute force and independent solvers."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from rt_engine.recording.truth_matching import (
    match_bursts,
    merge_bursts,
    pair_rois,
    precision_by_cell,
    recall_by_cell,
    score_events,
)


def test_spikes_closer_than_the_gap_are_one_burst():
    first, last = merge_bursts(np.array([0.0, 1.0, 3.5, 6.1, 20.0]), 2.5)
    assert list(zip(first, last, strict=True)) == [(0, 2), (3, 3), (4, 4)]
    assert [len(a) for a in merge_bursts(np.zeros(0), 1.0)] == [0, 0]


@pytest.mark.parametrize("seed", range(40))
def test_the_matching_is_one_to_one_within_tolerance_and_as_large_as_possible(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 200, rng.integers(0, 60)))
    gap = tolerance = 3.0
    first, last = merge_bursts(times, gap)
    events = np.sort(np.round(rng.uniform(0, 200, rng.integers(0, 60))) + 0.5)
    matched = match_bursts(times[first], times[last], events, tolerance)
    allowed = (events[None, :] >= times[first][:, None] - tolerance) & (events <= times[last][:, None] + tolerance)
    used = matched[matched >= 0]
    assert len(set(used)) == len(used)
    assert all(allowed[burst, event] for burst, event in enumerate(matched) if event >= 0)
    largest = 0
    if allowed.size:
        largest = np.count_nonzero(maximum_bipartite_matching(csr_array(allowed), perm_type="column") >= 0)
    assert len(used) == largest


@pytest.mark.parametrize("offset", [(0.0, 0.0), (3.2, -4.1), (-11.0, 9.0)])
def test_cells_are_found_again_under_a_constant_offset(offset):
    rng = np.random.default_rng(3)
    cells = np.array([(y, x) for y in range(20, 480, 40) for x in range(20, 480, 40)], float)
    cells += rng.uniform(-8, 8, cells.shape)
    chosen = rng.permutation(len(cells))[:100]
    rois = cells[chosen] + offset + rng.normal(0, 0.5, (100, 2))
    rois = np.concatenate([rois, [[900.0, 900.0]]])
    cell_of_roi, found = pair_rois(rois, cells, np.full(len(cells), 7.5))
    assert list(cell_of_roi) == [*chosen, -1]
    np.testing.assert_allclose(found, offset, atol=0.3)


def test_a_cell_belongs_to_the_nearest_roi_only():
    cell_of_roi, _ = pair_rois(np.array([[3.0, 0.0], [1.0, 0.0]]), np.zeros((1, 2)), np.array([5.0]))
    assert list(cell_of_roi) == [-1, 0]


def test_nothing_pairs_with_nothing():
    assert list(pair_rois(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))[0]) == []
    assert list(pair_rois(np.zeros((2, 2)), np.zeros((0, 2)), np.zeros(0))[0]) == [-1, -1]


def test_bursts_and_events_outside_the_window_do_not_count_but_do_match():
    # 10 Hz: tolerance and gap are one frame; the burst at 9.9 ends before the window, its event lies inside
    score = score_events(
        np.array([0, 0, -1]),
        np.array([10.5, 50.5, 60.5]),
        np.array([0, 0]),
        np.array([9.9, 50.0]),
        np.array([True]),
        (10.0, 90.0),
        0.1,
    )
    assert (score.n_bursts[0], score.n_hit[0], score.n_events[0], score.n_true[0]) == (1, 1, 2, 2)
    assert score.n_stray_events == 1
    assert list(score.spike_of_event) == [0, 1, -1]


def test_a_cell_that_was_not_found_counts_zero_and_a_silent_one_not_at_all():
    # cells: found and silent; not found but firing; found, firing, no events; not found, silent
    score = score_events(
        np.zeros(0, np.int64),
        np.zeros(0),
        np.array([1, 2]),
        np.array([20.0, 30.0]),
        np.array([True, False, True, False]),
        (0.0, 100.0),
        0.1,
    )
    np.testing.assert_array_equal(recall_by_cell(score), [np.nan, 0, 0, np.nan])
    np.testing.assert_array_equal(precision_by_cell(score), [np.nan, 0, 0, 0])

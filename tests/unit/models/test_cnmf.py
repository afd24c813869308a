"""Spatial and temporal HALS solve their non-negative least squares, and the background takes no cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from rt_engine.models.cnmf import (
    Components,
    components_from_traces,
    update_background,
    update_footprints,
    update_traces,
)
from rt_engine.models.regional_background import RegionalBackground

SHAPE, N_BINS = (20, 20), 80


def overlapping(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Movie, footprints (2, 20, 20) and traces (2, n_bins) of two cells that share pixels."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((2, *SHAPE))
    truth[0, 4:14, 4:12] = 1.0
    truth[1, 6:16, 8:16] = 2.0
    traces = (rng.random((2, N_BINS)) < 0.25) * rng.exponential(3.0, (2, N_BINS))
    movie = np.einsum("kt,kyx->tyx", traces, truth) + noise * rng.normal(size=(N_BINS, *SHAPE))
    return movie.astype(np.float32), truth.astype(np.float32), traces.astype(np.float32)


def components(traces: np.ndarray) -> Components:
    return components_from_traces(SHAPE, traces.astype(np.float32), np.full((len(traces), 2), 10), 10)


def test_footprints_that_overlap_are_told_apart_by_their_traces() -> None:
    movie, truth, traces = overlapping(1, 0.0)
    cells = components(traces)
    update_footprints(movie, cells)
    assert cells.corners.tolist() == [[0, 0], [0, 0]]
    np.testing.assert_allclose(cells.footprints, truth, atol=0.05)


@pytest.mark.parametrize("seed", [2, 3])
def test_converged_footprints_are_the_non_negative_least_squares_solution_of_every_pixel(seed: int) -> None:
    movie, _, traces = overlapping(seed, 1.0)
    cells = components(traces)
    for _ in range(30):
        update_footprints(movie, cells)
    centred = (traces - traces.mean(axis=1, keepdims=True)).astype(np.float64)
    for y, x in [(0, 0), (5, 5), (8, 10), (10, 9), (15, 15), (19, 3)]:
        expected, _ = nnls(centred.T, (movie[:, y, x] - movie[:, y, x].mean()).astype(np.float64))
        np.testing.assert_allclose(cells.footprints[:, y, x], expected, atol=1e-4)


def test_more_sweeps_never_explain_less() -> None:
    movie, _, traces = overlapping(4, 1.0)
    cells = components(traces)
    centred = traces - traces.mean(axis=1, keepdims=True)
    errors = []
    for _ in range(5):
        update_footprints(movie, cells)
        rest = movie - movie.mean(axis=0) - np.einsum("kt,kyx->tyx", centred, cells.footprints)
        errors.append(float(np.sum(rest.astype(np.float64) ** 2)))
    assert all(later <= earlier * (1.0 + 1e-6) for earlier, later in itertools.pairwise(errors))


def test_traces_that_overlap_are_told_apart_by_their_footprints() -> None:
    movie, truth, traces = overlapping(5, 0.2)
    cells = components(np.zeros_like(traces))
    cells.footprints[:] = truth
    for _ in range(3):
        update_traces(movie, cells)
    np.testing.assert_allclose(cells.unclipped, traces, atol=0.15)
    assert np.all(cells.traces >= 0.0)
    assert np.mean(cells.traces[traces == 0.0] == 0.0) > 0.9


def test_the_noise_of_a_trace_is_that_of_the_projection() -> None:
    _, truth, _ = overlapping(6, 1.0)
    alone = np.random.default_rng(6).normal(size=(4000, *SHAPE)).astype(np.float32)
    cells = components(np.zeros((1, 4000)))
    cells.footprints[:] = truth[:1]
    update_traces(alone, cells)
    assert cells.noise[0] == pytest.approx(1.0 / np.sqrt(np.sum(truth[0] ** 2)), rel=0.06)


def test_a_component_without_light_stays_silent() -> None:
    movie, _, _ = overlapping(7, 1.0)
    cells = components(np.zeros((1, N_BINS)))
    update_footprints(movie, cells)
    update_traces(movie, cells)
    assert not cells.footprints.any()
    assert not cells.traces.any()


def neuropil(shape: tuple[int, int], n_bins: int, seed: int) -> tuple[np.ndarray, RegionalBackground]:
    """A movie of the background alone, mean over time 0, and the background it was made from."""
    rng = np.random.default_rng(seed)
    truth = RegionalBackground(shape, 24.0)
    truth.set_weight(1.0 + 0.3 * np.sin(np.arange(shape[1]) / 5.0)[None, :] * np.ones(shape))
    traces = rng.normal(size=(n_bins, *truth.traces.shape[1:]))
    truth.traces = (traces - traces.mean(axis=0)).astype(np.float32)
    movie = np.zeros((n_bins, *shape), np.float32)
    truth.add_to(movie)
    return movie, truth


def fitted(movie: np.ndarray, rounds: int = 3) -> RegionalBackground:
    background = RegionalBackground((movie.shape[1], movie.shape[2]), 24.0)
    for _ in range(rounds):
        background.fit_traces(movie)
        background.fit_weight(movie)
    return background


def test_a_background_of_regions_and_weights_is_taken_out() -> None:
    movie, _ = neuropil((60, 72), 100, 1)
    power = float(np.mean(movie**2))
    fitted(movie).remove_from(movie)
    assert float(np.mean(movie**2)) < 0.01 * power


def test_taking_out_and_putting_back_changes_nothing() -> None:
    movie, truth = neuropil((40, 40), 20, 2)
    before = movie.copy()
    truth.remove_from(movie)
    truth.add_to(movie)
    np.testing.assert_allclose(movie, before, atol=1e-5)


def test_windows_show_what_the_whole_field_shows() -> None:
    _, background = neuropil((40, 50), 5, 3)
    window = np.random.default_rng(3).normal(size=(7, 9)).astype(np.float32)
    image = np.zeros((40, 50), np.float32)
    image[20:27, 30:39] = window
    np.testing.assert_allclose(background.project_window(window, 20, 30), background.project(image), atol=1e-4)
    trace = background.traces[2]
    np.testing.assert_allclose(
        background.blend_window(trace, 20, 30, (7, 9)), background.blend(trace)[20:27, 30:39], atol=1e-6
    )


def test_an_active_cell_does_not_become_background_once_it_is_known() -> None:
    movie, _ = neuropil((60, 60), 120, 4)
    rng = np.random.default_rng(4)
    trace = ((rng.random(120) < 0.2) * 20.0).astype(np.float32)
    footprint = np.zeros((60, 60), np.float32)
    footprint[25:37, 25:37] = 1.0
    movie += (trace - trace.mean())[:, None, None] * footprint
    background = fitted(movie)
    background.remove_from(movie)
    cells = components_from_traces((60, 60), trace[None], np.array([[31, 31]]), 10)
    y, x = cells.corners[0]
    cells.footprints[0] = footprint[y : y + 21, x : x + 21]
    lost = float(np.mean((movie - (trace - trace.mean())[:, None, None] * footprint) ** 2))
    for _ in range(3):
        update_background(movie, cells, background)
    left = float(np.mean((movie - (trace - trace.mean())[:, None, None] * footprint) ** 2))
    assert left < 0.2 * lost


def test_the_weight_of_a_pixel_is_not_that_of_the_cell_in_it() -> None:
    movie, truth = neuropil((60, 60), 150, 5)
    region = truth.traces[:, 1, 1]
    trace = (8.0 * np.maximum(region, 0.0)).astype(np.float32)  # fires with the neuropil around
    footprint = np.zeros((60, 60), np.float32)
    footprint[25:37, 25:37] = 1.0
    movie += (trace - trace.mean())[:, None, None] * footprint
    background = fitted(movie)
    background.remove_from(movie)
    cells = components_from_traces((60, 60), trace[None], np.array([[31, 31]]), 10)
    y, x = cells.corners[0]
    cells.footprints[0] = footprint[y : y + 21, x : x + 21]
    for _ in range(5):
        update_background(movie, cells, background)
    inside, outside = background.weight[28:34, 28:34].mean(), background.weight[10:16, 28:34].mean()
    assert inside == pytest.approx(outside, rel=0.15)


def test_weights_neither_fall_below_zero_nor_follow_a_bright_spot() -> None:
    background = RegionalBackground((48, 48), 24.0)
    image = np.ones((48, 48))
    image[20:24, 20:24] = 50.0
    image[40, 40] = -3.0
    background.set_weight(image)
    assert background.weight.min() == 0.0
    assert background.weight[21, 21] < 10.0
    assert background.weight[5, 40] == 1.0

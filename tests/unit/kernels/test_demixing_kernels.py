"""Demixing is non-negative least squares: the solve, the sweeps, and what comes of missing samples."""

from __future__ import annotations

import numpy as np
import pytest
from naive import demixing as slow
from numpy.typing import NDArray

from rt_engine.kernels.demixing import DemixingState, cholesky, demix, solve_group, sweep_group
from rt_engine.pipeline.demixing import SOMA_HAZE, demixing_structure
from rt_engine.pipeline.masks import PlaneMasks
from rt_engine.pipeline.overlap import Overlap, find_overlap

WIDTH = 64


def plane(cells: list[NDArray], weights: list[NDArray], seed: int = 0, rest: float = 0.0) -> PlaneMasks:
    """Cells with 100 to 400 ring pixels each; reference 0, so that deviations are the values themselves."""
    rng = np.random.default_rng(seed)
    rings = [np.arange(rng.integers(100, 400)) for _ in cells]
    n = len(cells)

    def start(parts: list[NDArray]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)

    return PlaneMasks(
        n_lines=WIDTH, pixels_per_line=WIDTH, offset_counts=0.0, adc_max_counts=np.nan, roi_start=start(cells),
        roi_pixels=np.concatenate(cells).astype(np.uint32), roi_weight=np.concatenate(weights).astype(np.uint8),
        neuropil_start=start(rings), neuropil_pixels=np.concatenate(rings).astype(np.uint32),
        background_loading=rng.uniform(0.5, 1.5, (n, 2)).astype(np.float32),
        reference_roi_counts=np.zeros(n, np.float32), reference_np_counts=np.zeros(n, np.float32),
        rest_counts=np.full(n, rest, np.float32),
    )  # fmt: skip


def crowd(n: int, spread_px: float, seed: int) -> PlaneMasks:
    """Discs with random weights, `spread_px` apart on average."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((WIDTH, WIDTH))
    centres = WIDTH / 2 + rng.uniform(-1, 1, (n, 2)) * spread_px * np.sqrt(n) / 2
    cells = [np.flatnonzero(np.hypot(y - cy, x - cx) < 5.0) for cy, cx in centres]
    return plane(cells, [rng.integers(40, 256, len(cell)) for cell in cells], seed)


def matrix_of(masks: PlaneMasks, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dense footprints, columns in the order of `rows`, scaled as `Overlap` says."""
    out = np.zeros((WIDTH * WIDTH, len(rows)))
    for column, row in enumerate(rows):
        entries = slice(masks.roi_start[row], masks.roi_start[row + 1])
        weight = masks.roi_weight[entries].astype(float)
        out[masks.roi_pixels[entries], column] = weight * weight.sum() / (weight**2).sum()
    return out


def empty_state(n: int) -> DemixingState:
    return DemixingState(np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, np.uint8))


class Group:
    """One group of cells with data, as the kernels and as the twin see it."""

    def __init__(self, masks: PlaneMasks, seed: int, dark: float) -> None:
        self.overlap: Overlap = find_overlap(masks)
        assert len(self.overlap.groups) == 1
        self.rows = self.overlap.groups[0]
        self.structure = demixing_structure(masks, self.overlap)
        footprints = matrix_of(masks, self.rows)
        loading = masks.background_loading[self.rows].astype(float)
        ring_pixels = np.diff(masks.neuropil_start)[self.rows].astype(float)
        self.problem = slow.problem(footprints, loading, ring_pixels, SOMA_HAZE)
        rng = np.random.default_rng(seed)
        light = np.maximum(rng.normal(100 - dark, 100, len(self.rows)), 0.0)
        f = rng.normal(0, 20, 2)
        pixels = footprints @ light + SOMA_HAZE * (footprints > 0) @ loading @ f / 2 + rng.normal(0, 60, WIDTH * WIDTH)
        rings = loading @ f + rng.normal(0, 60, len(light)) / np.sqrt(ring_pixels)
        self.data = np.concatenate([pixels, np.sqrt(ring_pixels) * rings])
        self.state = empty_state(len(light))
        self.state.projection[:] = footprints.T @ pixels
        self.state.haze[:] = rings

    def objective(self) -> float:
        return slow.objective(self.problem, self.data, self.state.light)


@pytest.mark.parametrize(("n", "spread_px"), [(2, 5.0), (5, 4.0), (12, 5.0), (30, 3.5)])
def test_the_solve_is_unbounded_least_squares(n: int, spread_px: float) -> None:
    group = Group(crowd(n, spread_px, n), n, 0.0)
    solve_group(0, group.structure, group.state)
    joint = np.hstack(group.problem)
    expected = np.linalg.lstsq(joint, group.data, rcond=None)[0][: len(group.rows)]
    np.testing.assert_allclose(group.state.light, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "spread_px"), [(2, 5.0), (5, 4.0), (12, 5.0)])
def test_sweeps_converge_to_non_negative_least_squares(n: int, spread_px: float, seed: int) -> None:
    group = Group(crowd(n, spread_px, n), seed, 100.0)
    expected, f = slow.solve(group.problem, group.data)
    assert (expected == 0).any() or n == 2
    sweep_group(0, 3000, group.structure, group.state)
    np.testing.assert_allclose(group.state.light, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max() + 1e-9)
    gradient = group.problem.cells.T @ (
        group.data - group.problem.cells @ group.state.light - group.problem.background @ f
    )
    scale = np.abs(group.state.projection).max()
    assert np.all(gradient <= 1e-6 * scale)
    assert np.all(np.abs(gradient[group.state.light > 0]) <= 1e-6 * scale)


@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_increases_in_a_sweep(seed: int) -> None:
    group = Group(crowd(12, 4.0, seed + 20), seed, 100.0)
    group.state.light[:] = np.random.default_rng(seed).uniform(0, 500, len(group.rows))
    before = group.objective()
    for _ in range(40):
        sweep_group(0, 1, group.structure, group.state)
        now = group.objective()
        assert now <= before * (1 + 1e-9)
        before = now


def test_no_cell_becomes_darker_than_nothing_and_rest_moves_the_bound() -> None:
    group = Group(crowd(6, 4.0, 3), 1, 400.0)
    sweep_group(0, 3, group.structure, group.state)
    assert group.state.light.min() == 0.0
    group.structure.rest[:] = 2.5
    sweep_group(0, 3, group.structure, group.state)
    assert group.state.light.min() == -2.5


def test_cells_that_share_nothing_are_left_as_they_are() -> None:
    y, x = np.indices((WIDTH, WIDTH))
    cells = [np.flatnonzero(np.hypot(y - 20, x - cx) < 4) for cx in (10, 30, 50)]
    masks = plane(cells, [np.full(len(cell), 255) for cell in cells])
    overlap = find_overlap(masks)
    assert overlap.groups == []
    f_roi = np.array([5.0, -3.0, 8.0], np.float32)
    before = f_roi.copy()
    ones = np.ones(3, np.uint8)
    demix(f_roi, f_roi, ones, np.zeros(3, np.uint8), demixing_structure(masks, overlap), empty_state(0))
    assert f_roi.tobytes() == before.tobytes()
    footprints = matrix_of(masks, np.arange(3))
    image = np.random.default_rng(0).normal(100, 20, WIDTH * WIDTH)
    projected = footprints.T @ image / overlap.norm
    one_sweep = [float(image[cell].mean()) for cell in cells]
    np.testing.assert_allclose(projected, one_sweep, rtol=1e-12)


def demixed(masks: PlaneMasks, f_roi: NDArray, f_np: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    overlap = find_overlap(masks)
    structure = demixing_structure(masks, overlap)
    state = empty_state(len(structure.roi))
    out, valid = f_roi.astype(np.float32).copy(), np.isfinite(f_roi).astype(np.uint8)
    demix(out, f_np.astype(np.float32), valid, np.zeros(len(out), np.uint8), structure, state)
    return out, valid, state.light


@pytest.mark.parametrize("seed", range(3))
def test_the_output_is_light_plus_residual(seed: int) -> None:
    masks = crowd(8, 4.5, seed + 40)
    overlap = find_overlap(masks)
    rng = np.random.default_rng(seed)
    f_roi, f_np = rng.normal(150, 60, 8), rng.normal(0, 5, 8)
    out, valid, light = demixed(masks, f_roi, f_np)
    order = np.concatenate([np.zeros(0, int), *overlap.groups])
    whole = np.zeros(8)
    whole[order] = light
    footprints = matrix_of(masks, np.arange(8))
    gram = footprints.T @ footprints
    residual = (np.diag(gram) * f_roi - gram @ whole) / np.diag(gram)
    expected = np.where(np.isin(np.arange(8), order), whole + residual, f_roi)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)
    assert valid.all()


def test_permuting_the_cells_changes_nothing() -> None:
    masks = crowd(10, 4.5, 60)
    rng = np.random.default_rng(5)
    # So bright at rest that nothing is clipped: the solve is exact, sweeps depend on the order until they converge.
    masks.rest_counts[:] = 1000.0
    f_roi, f_np = rng.normal(60, 80, 10), rng.normal(0, 10, 10)
    order = rng.permutation(10)
    parts = [slice(int(masks.roi_start[i]), int(masks.roi_start[i + 1])) for i in order]
    permuted = plane([masks.roi_pixels[part] for part in parts], [masks.roi_weight[part] for part in parts], 60)
    permuted.rest_counts[:] = 1000.0
    object.__setattr__(permuted, "background_loading", masks.background_loading[order])
    sizes = np.diff(masks.neuropil_start)[order]
    object.__setattr__(permuted, "neuropil_start", np.concatenate([[0], np.cumsum(sizes)]))
    out, _, light = demixed(masks, f_roi, f_np)
    again, _, _ = demixed(permuted, f_roi[order], f_np[order])
    assert light.min() > -1000.0
    np.testing.assert_allclose(again, out[order], rtol=1e-5)


def test_a_missing_sample_takes_that_of_its_neighbours_with_it_and_no_other() -> None:
    y, x = np.indices((WIDTH, WIDTH))
    cells = [np.flatnonzero(np.hypot(y - 20, x - cx) < 5) for cx in (10, 17, 24, 31)]
    masks = plane(cells, [np.full(len(cell), 255) for cell in cells])
    overlap = find_overlap(masks)
    structure = demixing_structure(masks, overlap)
    state = empty_state(4)
    for missing in ("valid", "f_roi", "f_np"):
        f_roi, f_np = np.full(4, 100, np.float32), np.zeros(4, np.float32)
        valid, blanked = np.ones(4, np.uint8), np.zeros(4, np.uint8)
        if missing == "valid":
            valid[0] = 0
            blanked[0] = 1
        else:
            {"f_roi": f_roi, "f_np": f_np}[missing][0] = np.nan
        demix(f_roi, f_np, valid, blanked, structure, state)
        assert valid[1:].tolist() == [0, 1, 1]
        assert blanked[1:].tolist() == [int(missing == "valid"), 0, 0]
        assert np.isfinite(f_roi[2:]).all()
        assert np.isfinite(state.light).all()


def test_a_frame_of_nothing_but_nan_leaves_no_trace_in_the_next_one() -> None:
    masks = crowd(8, 4.5, 41)
    structure = demixing_structure(masks, find_overlap(masks))
    rng = np.random.default_rng(2)
    good = rng.normal(150, 40, 8).astype(np.float32), rng.normal(0, 5, 8).astype(np.float32)
    results = []
    for frames in ([good], [(np.full(8, np.nan, np.float32),) * 2, good]):
        state = empty_state(len(structure.roi))
        for f_roi, f_np in frames:
            out, valid, blanked = f_roi.copy(), np.ones(8, np.uint8), np.zeros(8, np.uint8)
            demix(out, f_np, valid, blanked, structure, state)
        results.append(out.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_the_factor_is_that_of_cholesky(n: int) -> None:
    rng = np.random.default_rng(n)
    wide = rng.normal(size=(n, n + 3)) * (np.abs(np.subtract.outer(np.arange(n), np.arange(n + 3))) < 4)
    matrix = np.ascontiguousarray(wide @ wide.T + np.eye(n))
    out = matrix.copy()
    assert cholesky(out, 1e-6) == -1
    np.testing.assert_allclose(np.tril(out), slow.cholesky(matrix), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.tril(out), np.linalg.cholesky(matrix), rtol=1e-10, atol=1e-12)


def test_a_row_that_depends_on_others_is_named() -> None:
    basis = np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0], [0, 0, 1.0]])
    assert cholesky(np.ascontiguousarray(basis @ basis.T), 1e-6) == 2

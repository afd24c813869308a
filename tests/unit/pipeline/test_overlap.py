"""Which cells overlap, how they are ordered, and which are read as one."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.pipeline.masks import PlaneMasks
from rt_engine.pipeline.overlap import INSEPARABLE, find_overlap

WIDTH = 80


def plane(cells: list[np.ndarray], weights: list[np.ndarray] | None = None) -> PlaneMasks:
    start = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])]).astype(np.int64)
    return PlaneMasks(
        n_lines=WIDTH, pixels_per_line=WIDTH, offset_counts=0.0, adc_max_counts=np.nan, roi_start=start,
        roi_pixels=np.concatenate(cells).astype(np.uint32),
        roi_weight=np.zeros(0, np.uint8) if weights is None else np.concatenate(weights).astype(np.uint8),
        neuropil_start=np.zeros(len(cells) + 1, np.int64), neuropil_pixels=np.zeros(0, np.uint32),
    )  # fmt: skip


def disc(y_px: float, x_px: float, radius_px: float = 5.0) -> np.ndarray:
    y, x = np.indices((WIDTH, WIDTH))
    return np.flatnonzero(np.hypot(y - y_px, x - x_px) < radius_px)


def random_discs(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [disc(*rng.uniform(6, WIDTH - 6, 2)) for _ in range(n)]


@pytest.mark.parametrize("seed", range(3))
def test_products_are_those_of_the_scaled_footprints(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = random_discs(15, seed)
    weights = [rng.integers(1, 256, len(cell)) for cell in cells]
    overlap = find_overlap(plane(cells, weights))
    dense = np.zeros((15, WIDTH * WIDTH))
    for row, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
        dense[row, cell] = weight * weight.sum() / (weight.astype(float) ** 2).sum()
    gram = dense @ dense.T
    np.testing.assert_allclose(overlap.norm, np.diag(gram))
    np.testing.assert_allclose(overlap.norm, dense.sum(axis=1))
    expected = np.argwhere(np.triu(gram, 1) > 0)
    np.testing.assert_array_equal(np.stack([overlap.one, overlap.other], axis=1), expected)
    np.testing.assert_allclose(overlap.product, gram[expected[:, 0], expected[:, 1]])
    for group, factor in zip(overlap.groups, overlap.factors, strict=True):
        np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(gram[np.ix_(group, group)]), atol=1e-9)


def test_groups_hold_every_overlapping_cell_once_and_no_other() -> None:
    cells = [disc(10, 10), disc(10, 18), disc(10, 26), disc(50, 50), disc(50, 58), disc(70, 20)]
    overlap = find_overlap(plane(cells))
    assert sorted(sorted(group.tolist()) for group in overlap.groups) == [[0, 1, 2], [3, 4]]
    assert overlap.inseparable() == []


def test_the_condition_number_is_that_of_the_worst_group() -> None:
    overlap = find_overlap(plane([disc(10, 10), disc(10, 14), disc(40, 40), disc(40, 49)]))
    shared = len(np.intersect1d(disc(10, 10), disc(10, 14))) / len(disc(10, 10))
    assert overlap.condition_number() == pytest.approx((1 + shared) / (1 - shared))
    assert find_overlap(plane([disc(10, 10), disc(40, 40)])).condition_number() == 1.0


def test_two_cells_with_the_same_footprint_are_read_as_the_first() -> None:
    overlap = find_overlap(plane([disc(10, 10), disc(40, 40), disc(10, 10), disc(10, 10)]))
    assert overlap.inseparable() == [(0, 2), (0, 3)]
    assert overlap.groups == []


@pytest.mark.parametrize(("apart_px", "as_one"), [(0.5, True), (2.0, False)])
def test_cells_are_read_as_one_above_the_stated_cosine(apart_px: float, as_one: bool) -> None:
    cells = [disc(20, 20), disc(20, 20 + apart_px)]
    cosine = len(np.intersect1d(*cells)) / np.sqrt(len(cells[0]) * len(cells[1]))
    assert (cosine > INSEPARABLE) == as_one
    assert bool(find_overlap(plane(cells)).inseparable()) == as_one


def test_a_footprint_that_is_the_sum_of_two_others_is_read_as_one_of_them() -> None:
    left, right = np.arange(100, 120), np.arange(120, 140)
    overlap = find_overlap(plane([left, right, np.arange(100, 140)]))
    assert len(overlap.inseparable()) == 1
    assert all(np.isfinite(factor).all() for factor in overlap.factors)


def test_footprints_of_nothing_and_of_three_pixels_stand_aside() -> None:
    cells = [disc(10, 10), np.zeros(0, int), np.array([5, 6, 7])]
    overlap = find_overlap(plane(cells))
    assert overlap.groups == []
    assert overlap.norm.tolist() == [len(cells[0]), 0.0, 3.0]

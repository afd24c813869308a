"""Rows of the pixel benchmark for strips, neuropil and cells; nothing here depends on speed."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.bench.cells_found import score
from rt_engine.bench.neuropil_error import neuropil_rows
from rt_engine.models.cells import FoundCells


def test_the_neuropil_row_has_its_bound_and_keeps_it() -> None:
    (row,) = neuropil_rows(2)
    assert row.bound == ("<=", 0.06)
    assert 0 < row.value.median <= 0.06


SIZE_PX = 512


def _found(masks: list[np.ndarray]) -> FoundCells:
    pixels = [mask.astype(np.uint32) for mask in masks]
    weights = [np.full(len(mask), 255, np.uint8) for mask in masks]
    none = np.zeros((len(masks), 5), np.float32)
    return FoundCells(pixels, pixels, weights, np.ones(len(masks), np.float32), none, np.zeros((1, 1), np.float32), 15)


def _disc(cy: int, cx: int) -> np.ndarray:
    y, x = np.indices((SIZE_PX, SIZE_PX))
    return np.flatnonzero(np.hypot(y - cy, x - cx) < 7)


@pytest.mark.parametrize(
    ("places", "f1"),
    [
        ([(50, 50), (100, 100)], 1.0),
        ([(50, 50)], 2 / 3),  # one missed
        ([(50, 50), (100, 100), (300, 300)], 4 / 5),  # one that was never planted
        ([(50, 50), (100, 100), (200, 200)], 1.0),  # a dim planted one is no error
        ([(60, 50), (100, 100)], 1 / 2),  # off its cell: missed and false
    ],
)
def test_f1_counts_what_must_be_found_and_what_was_never_there(places: list[tuple[int, int]], f1: float) -> None:
    planted = [_disc(50, 50), _disc(100, 100), _disc(200, 200)]
    truth = {
        "footprint_start": np.cumsum([0, *(len(pixels) for pixels in planted)]),
        "footprint_pixels": np.concatenate(planted),
        "footprint_weight": np.ones(sum(len(pixels) for pixels in planted), np.float32),
        "a_over_sigma": np.array([6.0, 5.0, 2.0]),
        "spike_cell": np.repeat([0, 1, 2], 20),
    }
    scored = score(_found([_disc(*place) for place in places]), truth, SIZE_PX)
    assert scored.f1() == pytest.approx(f1)
    np.testing.assert_allclose(scored.weighted[scored.found], 1.0)


def test_a_cell_that_hardly_fires_need_not_be_found() -> None:
    pixels = _disc(50, 50)
    truth = {
        "footprint_start": np.array([0, len(pixels)]),
        "footprint_pixels": pixels,
        "footprint_weight": np.ones(len(pixels), np.float32),
        "a_over_sigma": np.array([9.0]),
        "spike_cell": np.zeros(4, np.int64),
    }
    assert not score(_found([]), truth, SIZE_PX).must.any()
    truth["spike_cell"] = np.zeros(5, np.int64)
    assert score(_found([]), truth, SIZE_PX).f1() == 0.0

"""Rows of the pixel benchmark for strips, neuropil and cells; nothing here depends on speed."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.bench import cells_found
from rt_engine.bench.cells_found import Planted, score
from rt_engine.bench.neuropil_error import neuropil_rows
from rt_engine.models.cells import FoundCells


def test_the_neuropil_row_has_its_bound_and_keeps_it() -> None:
    (row,) = neuropil_rows(2)
    assert row.bound == ("<=", 0.06)
    assert 0 < row.value.median <= 0.06


def _found(masks: list[np.ndarray]) -> FoundCells:
    pixels = [mask.astype(np.uint32) for mask in masks]
    weights = [np.full(len(mask), 255, np.uint8) for mask in masks]
    none = np.zeros((len(masks), 5), np.float32)
    return FoundCells(pixels, pixels, weights, np.ones(len(masks), np.float32), none, np.zeros((1, 1), np.float32), 15)


def _disc(cy: int, cx: int) -> np.ndarray:
    y, x = np.indices((cells_found.SIZE_PX, cells_found.SIZE_PX))
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
    truth = Planted(
        np.zeros((1, 1, 1), np.float32), [(pixels, np.ones(len(pixels))) for pixels in planted],
        np.array([6.0, 5.0, 2.0]), np.array([20, 20, 20]),
    )  # fmt: skip
    found, correlation = score(_found([_disc(*place) for place in places]), truth)
    assert found == pytest.approx(f1)
    assert correlation == pytest.approx(1.0)

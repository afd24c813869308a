"""Cells that the calibration does not know are found in the residual; known cells are not found again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.bin_ring import BinRing
from rt_engine.models.new_cells import find_new_cells

SIZE, N_FRAMES, BIN, POOL = 192, 1800, 5, 2
DIAMETER_PX = 12.0 / 0.8
MIN_SPIKES = 5  # a cell that fired less need not be found


@pytest.fixture(scope="module")
def sample() -> VirtualSample:
    """Bright cells, so that what is planted must be found."""
    config = SampleConfig.model_validate({"seed": 3, "n_cells": 24, "cells": {"median_a_over_sigma": 7.0}})
    return VirtualSample(config, SIZE, SIZE, 0.8, 30.0)


@pytest.fixture(scope="module")
def past(sample: VirtualSample) -> tuple[BinRing, NDArray[np.int64]]:
    """The recent past, registered by the truth, and the spikes of every planted cell in it."""
    ring = BinRing((SIZE, SIZE), POOL, BIN, 300)
    frame = np.zeros((SIZE, SIZE), np.uint16)
    n_spikes = np.zeros(len(sample.somata.y_px), np.int64)
    for index in range(N_FRAMES):
        truth = sample.render(index, frame)
        ring.add(frame, truth.shift_y_px, truth.shift_x_px)
        np.add.at(n_spikes, truth.spike_cell, 1)
    return ring, n_spikes


@pytest.fixture(scope="module")
def ring(past: tuple[BinRing, NDArray[np.int64]]) -> BinRing:
    return past[0]


@pytest.fixture(scope="module")
def n_spikes(sample: VirtualSample, past: tuple[BinRing, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Of the cells of `planted`, in the same order."""
    return past[1][[_is_inside(y, x) for y, x in zip(sample.somata.y_px, sample.somata.x_px, strict=True)]]


def _is_inside(y_px: float, x_px: float) -> bool:
    return bool(min(y_px, x_px, SIZE - y_px, SIZE - x_px) > 10)


@pytest.fixture(scope="module")
def planted(sample: VirtualSample) -> list[NDArray[np.uint32]]:
    """Disc of every planted cell that lies well inside."""
    y, x = np.indices((SIZE, SIZE))
    discs = []
    for cy, cx in zip(sample.somata.y_px, sample.somata.x_px, strict=True):
        if _is_inside(cy, cx):
            discs.append(np.flatnonzero(np.hypot(y - cy, x - cx) < DIAMETER_PX / 2).astype(np.uint32))
    return discs


def _found(ring: BinRing, known: list[NDArray[np.uint32]]) -> list[tuple[float, float]]:
    masks = [ring.pooled(pixels, SIZE) for pixels in known]
    wide = [ring.spread(cell.pixels, SIZE) for cell in find_new_cells(ring.movie(), masks, DIAMETER_PX / POOL)]
    return [(float((p // SIZE).mean()), float((p % SIZE).mean())) for p in wide]


def _near(places: list[tuple[float, float]], disc: NDArray[np.uint32]) -> bool:
    y, x = (disc // SIZE).mean(), (disc % SIZE).mean()
    return any(np.hypot(py - y, px - x) < 0.4 * DIAMETER_PX for py, px in places)


def test_every_other_cell_is_found_when_only_the_rest_is_known(
    ring: BinRing, planted: list[NDArray[np.uint32]], n_spikes: NDArray[np.int64]
) -> None:
    known = planted[::2]
    hidden = [disc for disc, n in zip(planted[1::2], n_spikes[1::2], strict=True) if n >= MIN_SPIKES]
    assert len(hidden) >= 5
    places = _found(ring, known)
    assert sum(_near(places, disc) for disc in hidden) >= 0.85 * len(hidden)
    assert not any(_near(places, disc) for disc in known)
    assert all(any(_near([place], disc) for disc in planted) or _at_border(place) for place in places)


def _at_border(place: tuple[float, float]) -> bool:
    return min(*place, SIZE - place[0], SIZE - place[1]) <= 12


def test_nothing_is_found_where_every_cell_is_known(ring: BinRing, planted: list[NDArray[np.uint32]]) -> None:
    assert all(_at_border(place) for place in _found(ring, planted))


def test_noise_alone_gives_no_cell() -> None:
    rng = np.random.default_rng(0)
    movie = (100 + rng.standard_normal((200, 96, 96))).astype(np.float32)
    assert find_new_cells(movie, [], 7.5) == []


def _frames(values: list[int]) -> Iterator[NDArray[np.uint16]]:
    return (np.full((4, 6), value, np.uint16) for value in values)


def test_the_ring_keeps_the_last_bins_in_order_and_leaves_out_what_is_lost() -> None:
    ring = BinRing((4, 6), 2, 2, 3)
    complete = [ring.add(frame) for frame in _frames([1, 3, 5, 7])]
    complete += [ring.add(None), ring.add(None)]  # a bin without a frame
    complete += [ring.add(None), ring.add(next(_frames([9])))]  # one with one frame
    complete += [ring.add(frame) for frame in _frames([20, 40])]
    assert complete == [False, True, False, True, False, False, False, True, False, True]
    np.testing.assert_allclose(ring.movie()[:, 0, 0], [6, 9, 30])
    assert ring.movie().shape == (3, 2, 3)


def test_masks_go_to_the_pooled_movie_and_back() -> None:
    ring = BinRing((8, 10), 2, 1, 1)
    whole = np.array([y * 10 + x for y in (2, 3) for x in (4, 5, 6, 7)], np.uint32)
    pooled = ring.pooled(whole, 10)
    np.testing.assert_array_equal(pooled, [1 * 5 + 2, 1 * 5 + 3])
    np.testing.assert_array_equal(ring.spread(pooled, 10), whole)
    np.testing.assert_array_equal(ring.pooled(np.array([0], np.uint32), 10), [0])

"""Frames read in order unpack each chunk once, and no more is held than a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.microscopes import movie_chunks
from drivers.microscopes.movie_axes import lay_out
from drivers.microscopes.movie_chunks import ChunkedFrames, frames_per_chunk
from drivers.microscopes.movie_frames import MovieRequest

DATA = np.random.default_rng(0).integers(0, 99, (23, 3, 8, 6)).astype(np.uint16)


class Stored:
    """An array that keeps book of what is read of it."""

    dtype = DATA.dtype

    def __init__(self) -> None:
        self.read: list[tuple[Any, ...]] = []

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        self.read.append(index)
        return DATA[index]


def frames(chunk: int) -> tuple[Stored, ChunkedFrames]:
    layout = lay_out("m", "TZYX", DATA.shape, MovieRequest(plane=2))  # type: ignore[arg-type]
    stored = Stored()
    return stored, ChunkedFrames(stored, layout, frames_per_chunk(layout, (chunk, 1, 8, 6)))


@pytest.mark.parametrize("chunk", [1, 5, 23, 40])
def test_in_order_every_chunk_is_read_once(chunk: int) -> None:
    stored, reader = frames(chunk)
    for index in range(23):
        np.testing.assert_array_equal(reader.read(index), DATA[index, 2])
    starts = [index[0].start for index in stored.read]
    assert starts == list(range(0, 23, chunk))
    assert all(index[0].stop <= 23 and index[1] == 2 for index in stored.read)


def test_out_of_order_whole_chunks_are_read() -> None:
    stored, reader = frames(5)
    for index in (22, 0, 4, 21, 7):
        np.testing.assert_array_equal(reader.read(index), DATA[index, 2])
    assert [(index[0].start, index[0].stop) for index in stored.read] == [(20, 23), (0, 5), (20, 23), (5, 10)]


def test_a_chunk_beyond_the_bound_is_read_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie_chunks, "BLOCK_BYTES", 4 * 8 * 6 * 2)
    stored, reader = frames(5)
    for index in range(23):
        np.testing.assert_array_equal(reader.read(index), DATA[index, 2])
    assert all(index[0].stop - index[0].start == 1 for index in stored.read)

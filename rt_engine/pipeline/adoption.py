"""Moving the state of cells from several stages into one that reads them all: cells one stage after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def adopt_cells(out: NDArray[Any], parts: Sequence[NDArray[Any]]) -> None:
    """Overwrite an array whose last axis is that of the cells with what stood in several."""
    np.concatenate(parts, axis=-1, out=out)


def adopt_each(out: Sequence[NDArray[Any]], parts: Sequence[Sequence[NDArray[Any]]]) -> None:
    """The same for several arrays at once, as a state holds them."""
    for place, array in enumerate(out):
        adopt_cells(array, [part[place] for part in parts])


def adopt_rows(out: NDArray[Any], parts: Sequence[NDArray[Any]]) -> None:
    """The same where the first axis is that of the cells."""
    np.concatenate(parts, axis=0, out=out)


def adopt_blocks(out: NDArray[Any], parts: Sequence[NDArray[Any]], sizes: Sequence[int], block: int) -> None:
    """The same for cells in blocks, field after field.

    Parameters
    ----------
    out : ndarray, shape (n_blocks, n_fields * block), overwritten where there are cells
    parts : sequence of ndarray, shape (n_blocks, n_fields * block), read
    sizes : sequence of int
        Cells of each part.
    block : int
        Cells of a block.
    """
    cells = np.concatenate([_by_cell(part, block)[:n] for part, n in zip(parts, sizes, strict=True)])
    at, lane = np.divmod(np.arange(len(cells)), block)
    out.reshape(len(out), -1, block)[at, :, lane] = cells


def _by_cell(blocks: NDArray[Any], block: int) -> NDArray[Any]:
    """Shape (n_blocks * block, n_fields)."""
    by_field = blocks.reshape(len(blocks), -1, block)
    return by_field.swapaxes(1, 2).reshape(len(blocks) * block, -1)

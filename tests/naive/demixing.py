"""Slow twins of demixing: dense matrices, a general solver, no groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls


class Problem(NamedTuple):
    """Rows: pixels of all footprints, then one row a ring, scaled by the root of its pixels. Columns: cells, f."""

    cells: NDArray
    background: NDArray


def problem(footprints: NDArray, loading: NDArray, ring_pixels: NDArray, haze: float) -> Problem:
    """Stacked least squares of one group.

    The background lies in the span of the footprints: the haze on them, as far as they can show it.
    """
    gram = footprints.T @ footprints
    beta = np.linalg.solve(gram, haze * np.diag(gram)[:, None] * loading)
    root = np.sqrt(ring_pixels)[:, None]
    n_cells = footprints.shape[1]
    return Problem(
        np.vstack([footprints, np.zeros((n_cells, n_cells))]), np.vstack([footprints @ beta, root * loading])
    )


def solve(of: Problem, data: NDArray) -> tuple[NDArray, NDArray]:
    """Light of the cells, not negative, and background of any sign (as the difference of two that are not negative)."""
    joint = np.hstack([of.cells, of.background, -of.background])
    found = nnls(joint, data, maxiter=100 * joint.shape[1])[0]
    n, m = of.cells.shape[1], of.background.shape[1]
    return found[:n], found[n : n + m] - found[n + m :]


def objective(of: Problem, data: NDArray, light: NDArray) -> float:
    """Squared residual with the best background for this light."""
    rest = data - of.cells @ light
    f = np.linalg.lstsq(of.background, rest, rcond=None)[0]
    return float(np.sum((rest - of.background @ f) ** 2))


def cholesky(matrix: NDArray) -> NDArray:
    """Lower factor, row by row."""
    n = len(matrix)
    out = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j] - sum(out[i, k] * out[j, k] for k in range(j))
            out[i, j] = np.sqrt(rest) if i == j else rest / out[j, j]
    return out

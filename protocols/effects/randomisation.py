"""Fisher's randomisation test with the mechanism that really drew the arms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 4999
Redraw = Callable[[int, int, np.random.Generator], NDArray[np.int64]]
"""Arms of the first n trials as they might have been, so many times; `running.assignment.Assignment.redraw`."""
_AT_ONCE = 500


def randomisation_p(
    response: NDArray[np.float64],
    draw: NDArray[np.int64],
    arm: NDArray[np.int64],
    pair: tuple[int, int],
    redraw: Redraw,
    seed: int,
    n_draws: int = N_DRAWS,
) -> float | None:
    """Probability of a difference at least as large if light changed nothing for anybody.

    Parameters
    ----------
    response : float64 ndarray, shape (n,), read
        Of the complete trials of any arm.
    draw : int64 ndarray, shape (n,), read
        Position of each in the order of drawing; trials that are void keep their place in that order.
    arm : int64 ndarray, shape (n,), read
        As drawn.
    pair : (int, int)
        Treated arm and control arm.
    redraw : callable
    seed : int
    n_draws : int

    Returns
    -------
    float or None
        ``(1 + #{|T*| >= |T|}) / (1 + n_draws)``, T the difference of means; None where an arm is empty. A draw that
        leaves an arm empty counts against the effect.
    """
    observed = _difference(response, arm, pair)
    if observed is None:
        return None
    random = np.random.Generator(np.random.PCG64([seed, 9]))
    n_drawn = int(draw.max()) + 1
    n_as_large = 0
    for start in range(0, n_draws, _AT_ONCE):
        others = redraw(n_drawn, min(_AT_ONCE, n_draws - start), random)[:, draw]
        differences = _differences(response, others, pair)
        as_large = np.abs(differences) >= abs(observed) * (1 - 1e-12)
        n_as_large += int(np.count_nonzero(as_large | np.isnan(differences)))
    return (1 + n_as_large) / (1 + n_draws)


def _difference(response: NDArray[np.float64], arm: NDArray[np.int64], pair: tuple[int, int]) -> float | None:
    found = float(_differences(response, arm[None], pair)[0])
    return None if np.isnan(found) else found


def _differences(response: NDArray[np.float64], arms: NDArray[np.int64], pair: tuple[int, int]) -> NDArray[np.float64]:
    """Difference of means for every row of arms; NaN where an arm is empty."""
    treated, control = (arms == pair[0]).astype(np.float64), (arms == pair[1]).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(treated @ response / treated.sum(axis=1) - control @ response / control.sum(axis=1))

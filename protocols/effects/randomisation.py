"""Fisher's randomisation test with the mechanism that really drew the arms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 4999
Redraw = Callable[[int, np.random.Generator], NDArray[np.int64]]
"""Arms of the first n trials as they might have been; `running.assignment.Assignment.redraw`."""


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
    for _ in range(n_draws):
        other = _difference(response, redraw(n_drawn, random)[draw], pair)
        n_as_large += other is None or abs(other) >= abs(observed) * (1 - 1e-12)
    return (1 + n_as_large) / (1 + n_draws)


def _difference(response: NDArray[np.float64], arm: NDArray[np.int64], pair: tuple[int, int]) -> float | None:
    treated, control = arm == pair[0], arm == pair[1]
    n_treated, n_control = np.count_nonzero(treated), np.count_nonzero(control)
    if n_treated == 0 or n_control == 0:
        return None
    return float(response @ treated / n_treated - response @ control / n_control)

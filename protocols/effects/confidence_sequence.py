"""An interval that may be looked at after every trial, and stopped at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FIRST_LOOK = 12
"""Units before the first interval: the theory is asymptotic, and its error is largest at the start."""
BEST_AT = 60
"""Units at which the interval is narrowest."""


def interval(scores: NDArray[np.float64], alpha: float) -> tuple[float, float] | None:
    """Bounds of the mean that hold at all times at once with probability 1 - alpha, asymptotically.

    Parameters
    ----------
    scores : float64 ndarray, shape (n,)
        One unbiased estimate a unit, in order.
    alpha : float

    Returns
    -------
    (float, float) or None
        None before `FIRST_LOOK` units.

    Notes
    -----
    Asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (Annals of Statistics 2024,
    theorem 2.2): mean ± s sqrt(2 (n rho² + 1) / (n² rho²) log(sqrt(n rho² + 1) / alpha)), s the standard deviation,
    rho chosen for `BEST_AT` (their equation 22). We take the sample deviation with n - 2 degrees of freedom.
    """
    n = len(scores)
    if n < FIRST_LOOK:
        return None
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / BEST_AT
    spread = float(np.sqrt(np.sum((scores - scores.mean()) ** 2) / (n - 2)))
    half = spread * math.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))
    return float(scores.mean()) - half, float(scores.mean()) + half

"""A bet on the coins: evidence against "light changes nothing" that may be looked at any time, exact in any sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STAKES = np.array([-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8])


def capital(
    is_treated: NDArray[np.bool_], response: NDArray[np.float64], probability: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Capital after every trial of a gambler who knows the responses and bets on which trials were treated.

    Parameters
    ----------
    is_treated : bool ndarray, shape (n,), in order of drawing, read
    response : float64 ndarray, shape (n,), read
    probability : float64 ndarray, shape (n,), read
        Of treatment, just before each draw.

    Returns
    -------
    float64 ndarray, shape (n,)
        From 1. Without any effect its mean stays 1, so it ever reaches 1/alpha with probability at most alpha (Ville),
        whatever the responses are.

    Notes
    -----
    Each trial multiplies by 1 + s (T - p) h, with h = tanh((Y - m) / sd) a score of the response against mean and
    deviation of those before it; the capital is the mean over stakes s of both signs (Shafer 2021; Waudby-Smith &
    Ramdas 2024 on betting). The first two trials, and draws that were certain, are no bet.
    """
    n = np.arange(len(response))
    total = np.concatenate([[0.0], np.cumsum(response)[:-1]])
    square = np.concatenate([[0.0], np.cumsum(response**2)[:-1]])
    mean = total / np.maximum(n, 1)
    variance = np.maximum(square - n * mean**2, 0.0) / np.maximum(n - 1, 1)
    sd = np.where(variance > 0, np.sqrt(variance), 1.0)
    score = np.where(n >= 2, np.tanh((response - mean) / sd), 0.0)
    gain = (is_treated - probability) * score
    return np.asarray(np.exp(np.cumsum(np.log1p(np.multiply.outer(gain, _STAKES)), axis=0)).mean(axis=1))

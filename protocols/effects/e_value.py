"""A bet on the coins: evidence against "light changes nothing" that may be looked at any time, exact in any sample."""

from __future__ import annotations

import math

import numpy as np

_STAKES = np.array([-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8])


class EValue:
    """Capital of a gambler who knows the responses and bets on which trials were treated.

    Attributes
    ----------
    value : float
        Present capital, from 1. Without any effect its mean stays 1, so it ever reaches 1/alpha with probability at
        most alpha (Ville), whatever the responses are.

    Notes
    -----
    Each trial multiplies by 1 + s (T - p) h, with p the probability of treatment just before the draw and h in
    [-1, 1] a score of the response against those before it; the capital is the mean over stakes s of both signs
    (Shafer 2021; Waudby-Smith & Ramdas 2024 on betting). A draw that was certain is no bet.
    """

    def __init__(self) -> None:
        self._log = np.zeros(len(_STAKES))
        self._n, self._mean, self._square = 0, 0.0, 0.0
        self.value = 1.0

    def take(self, is_treated: bool, response: float, probability: float) -> None:
        """One trial, in order of drawing."""
        if self._n >= 2 and 0 < probability < 1:
            sd = math.sqrt(self._square / (self._n - 1)) or 1.0
            score = math.tanh((response - self._mean) / sd)
            self._log += np.log1p(_STAKES * ((1.0 if is_treated else 0.0) - probability) * score)
            self.value = float(np.mean(np.exp(self._log)))
        self._n += 1
        step = response - self._mean
        self._mean += step / self._n
        self._square += step * (response - self._mean)

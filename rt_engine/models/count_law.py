"""Expected number of spikes of a frame, and how far the true one may be from it, from the heads of the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_DISPERSION = 1e-3
COUNT_SCALE = 0.7  # frames next to a spike are told too: without it real neurons sum up to 1.4 times their spikes


def expected_counts(
    probability: NDArray[np.float32], count_head: NDArray[np.float32], dispersion_head: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the count, of the shape of the arguments.

    Parameters
    ----------
    probability : float32 ndarray
        Of at least one spike.
    count_head, dispersion_head : float32 ndarray
        What the network tells.

    Notes
    -----
    Mean 0.7 p (1 + softplus(count)); a negative binomial law has variance mean + dispersion mean^2.
    """
    mean = COUNT_SCALE * probability.astype(np.float64) * (1 + np.logaddexp(0.0, count_head))
    dispersion = np.logaddexp(0.0, dispersion_head) + SMALLEST_DISPERSION
    return mean.astype(np.float32), np.sqrt(mean + dispersion * mean * mean).astype(np.float32)

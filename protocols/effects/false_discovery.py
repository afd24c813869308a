"""Which of many findings to believe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def adjusted_p(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini & Hochberg's adjusted p: those at or below q are believed at a false discovery rate of q.

    Parameters
    ----------
    p : float64 ndarray, shape (n,), read

    Returns
    -------
    float64 ndarray, shape (n,)
    """
    n = len(p)
    order = np.argsort(p)
    scaled = p[order] * n / np.arange(1, n + 1)
    out = np.empty(n)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out

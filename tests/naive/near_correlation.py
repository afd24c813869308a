"""Slow twin of the correlation at a few lags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlate_near(
    binned: NDArray[np.float64], reference: NDArray[np.float64], middle_y: int, middle_x: int
) -> NDArray[np.float64]:
    """Circular correlation at the middle lag, the next and the one before, on both axes; shape (3, 3)."""
    out = np.zeros((3, 3))
    for i, step_y in enumerate((0, 1, -1)):
        for j, step_x in enumerate((0, 1, -1)):
            moved = np.roll(binned, (-(middle_y + step_y), -(middle_x + step_x)), (0, 1))
            out[i, j] = float((moved * reference).sum())
    return out

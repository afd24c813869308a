"""A cell as its pixels, before there is a calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CORE_PART = 0.2
"""Pixels below this part of a footprint's largest weight are its blurred rim, and no part of a binary mask."""


@dataclass(frozen=True, slots=True, eq=False)
class RoiMask:
    """Pixels of one cell and what each contributes.

    Attributes
    ----------
    y, x : int64 ndarray, shape (n_pixels,), pixels of the field
    weight : float32 ndarray, shape (n_pixels,)
        Above 0; all 1 for a mask that is drawn rather than estimated.
    name : str
        What the user's file calls it.
    """

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    weight: NDArray[np.float32]
    name: str

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return len(self.y)

    def core_pixels(self, pixels_per_line: int) -> NDArray[np.uint32]:
        """Flat indices ``y * pixels_per_line + x`` of the binary mask, ascending; see `CORE_PART`."""
        core = self.weight >= CORE_PART * self.weight.max(initial=0.0)
        return np.unique(self.y[core] * pixels_per_line + self.x[core]).astype(np.uint32)

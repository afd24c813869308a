"""What happened in one frame of the virtual rig."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTruth:
    """What happened while one frame was scanned.

    Attributes
    ----------
    frame : int
    shift_y_px, shift_x_px : float
        The frame at [y + shift_y, x + shift_x] shows the sample at [y, x].
    spike_frame : float64 ndarray, ascending
        Times of all spikes in this frame, as fractional frame numbers in [frame, frame + 1).
    spike_cell : int64 ndarray
    evoked : bool ndarray
        True for spikes that light evoked.
    blanked : tuple of (int, int)
        [line0, n_lines] scanned while light was on.
    light_frame : float64 ndarray
        Beginnings of the pulses in this frame, as fractional frame numbers.
    """

    frame: int
    shift_y_px: float
    shift_x_px: float
    spike_frame: NDArray[np.float64]
    spike_cell: NDArray[np.int64]
    evoked: NDArray[np.bool_]
    blanked: tuple[tuple[int, int], ...]
    light_frame: NDArray[np.float64]

"""The neuropil coefficient while the experiment runs: follows slow change, and says when it moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.kernels.neuropil_update import CoefficientState, track_coefficient
from rt_engine.pipeline.adoption import adopt_cells, adopt_each

FORGETTING_S = 600.0
FIRST_CHANGE_S = 60.0
"""Event-free time of a cell before its coefficient may move."""
PACE_PER_MIN = 0.01
TOLD_STEP = 0.02
"""Every change of a cell by this much since it was told last is told."""


class NeuropilUpdate:
    """Recursive least squares of all cells on frames without an event; owns its state.

    Parameters
    ----------
    calibration : Calibration
        Cells whose coefficient is the prior's are left alone.

    Notes
    -----
    It depends on nothing but the frames, so a replay gives the same coefficients to the bit.
    """

    def __init__(self, calibration: Calibration) -> None:
        rate_hz, n = calibration.frame_rate_hz, calibration.n_rois
        self._start = calibration.neuropil_coefficient.astype(np.float64)
        self._f0_counts = calibration.f0_counts.astype(np.float64)
        self._sigma_counts = calibration.sigma_dff.astype(np.float64) * self._f0_counts
        if len(calibration.neuropil_from_prior) == n:
            self._sigma_counts[calibration.neuropil_from_prior == 1] = 0.0
        pace = PACE_PER_MIN / (60.0 * rate_hz)
        self._pace = np.array([1.0 / (FORGETTING_S * rate_hz), FIRST_CHANGE_S * rate_hz, pace])
        self._told = self._start.copy()
        self._state = CoefficientState(*(np.zeros(n) for _ in CoefficientState._fields))
        self.reset(self._start.copy())

    def reset(self, coefficient: NDArray[np.float64]) -> None:
        """Forget all frames and set `coefficient` to that of the calibration."""
        for array in self._state:
            array.fill(0.0)
        self._state.last.fill(np.nan)
        self._state.before_last.fill(np.nan)
        np.copyto(coefficient, self._start)
        np.copyto(self._told, self._start)

    def adopt(self, parts: Sequence[NeuropilUpdate]) -> None:
        """Go on where several were whose cells, one after the other, are those of this one."""
        adopt_each(self._state, [part._state for part in parts])
        adopt_cells(self._told, [part._told for part in parts])

    def process(
        self,
        f_roi: NDArray[np.float32],
        f_np: NDArray[np.float32],
        code: NDArray[np.uint8],
        hold_off: NDArray[np.int64],
        coefficient: NDArray[np.float64],
    ) -> None:
        """Move the coefficients by one frame, in place; see `rt_engine.kernels.neuropil_update.track_coefficient`."""
        track_coefficient(
            f_roi, f_np, code, hold_off, self._sigma_counts, self._f0_counts, self._pace, self._state, coefficient
        )

    def take_report(self, coefficient: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows of the cells whose coefficient has moved by 0.02 since they were told last; they count as told."""
        moved = np.flatnonzero(np.abs(coefficient - self._told) >= TOLD_STEP)
        self._told[moved] = coefficient[moved]
        return moved

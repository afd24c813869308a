"""Kernel that follows the neuropil coefficient of every cell while the experiment runs, at a bounded pace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import GOOD

UPPER_SD, LOWER_SD = 1.2868, -2.7132
"""Limits of the residual about the mean of the frames kept: -3 and +1 SD about the centre, whose mean is -0.2868 SD."""
SMALLEST_RELIABILITY = 0.2
_TAIL = 1.645


class CoefficientState(NamedTuple):
    """float64 ndarrays, shape (n_rois,): weight of the frames seen, running means of ring and footprint, variance of
    the ring and covariance, mean squared change of the ring over one and two frames, and the ring one and two frames
    ago (NaN: not known).
    """

    weight: NDArray[np.float64]
    mean_np: NDArray[np.float64]
    mean_roi: NDArray[np.float64]
    variance: NDArray[np.float64]
    covariance: NDArray[np.float64]
    change_1: NDArray[np.float64]
    change_2: NDArray[np.float64]
    last: NDArray[np.float64]
    before_last: NDArray[np.float64]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I8 = types.Array(types.int64, 1, "C")
_STATE = types.NamedUniTuple(_F8, 9, CoefficientState)


@njit(types.void(_F4, _F4, _U1, _I8, _F8, _F8, _F8, _STATE, _F8), **NO_ALLOCATION)
def track_coefficient(f_roi, f_np, code, hold_off, sigma_counts, f0_counts, pace, state, coefficient_out):
    """Recursive least squares of footprint on ring, with forgetting, on frames without an event.

    Parameters
    ----------
    f_roi, f_np : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read
    code : uint8 ndarray, shape (n_rois,), read
        Only good samples teach.
    hold_off : int64 ndarray, shape (n_rois,), frames, read
        Above 0 while the calcium of an event decays.
    sigma_counts, f0_counts : float64 ndarray, shape (n_rois,), counts, read
        Noise and baseline of the corrected trace; a cell whose noise is 0 is left alone.
    pace : float64 ndarray, shape (3,), read
        Part of the past that a frame replaces, frames before the first change, largest change a frame.
    state : CoefficientState
    coefficient_out : float64 ndarray, shape (n_rois,), read and overwritten

    Notes
    -----
    As in the fit on the baseline only residuals between -3 and +1 SD count, and the noise of the ring is taken out of
    its variance. At most 0.95 of the lowest footprint over the highest ring.
    """
    for n in range(f_roi.shape[0]):
        if code[n] != GOOD or hold_off[n] > 0 or not sigma_counts[n] > 0.0:
            state.before_last[n] = np.nan
            state.last[n] = np.nan
            continue
        x = np.float64(f_np[n])
        y = np.float64(f_roi[n])
        share = max(pace[0], 1.0 / (state.weight[n] + 1.0))
        step_1 = x - state.last[n]
        step_2 = x - state.before_last[n]
        if np.isfinite(step_2):
            state.change_1[n] += share * (step_1 * step_1 - state.change_1[n])
            state.change_2[n] += share * (step_2 * step_2 - state.change_2[n])
        state.before_last[n] = state.last[n]
        state.last[n] = x
        if state.weight[n] == 0.0:
            state.mean_np[n] = x
            state.mean_roi[n] = f0_counts[n]
        dx = x - state.mean_np[n]
        dy = y - state.mean_roi[n]
        residual = dy - coefficient_out[n] * dx
        if residual > UPPER_SD * sigma_counts[n] or residual < LOWER_SD * sigma_counts[n]:
            # A mean that began in the wrong place must still be able to come down to the envelope.
            if state.weight[n] < 1.0 / pace[0]:
                state.mean_roi[n] += 0.05 * min(max(residual, -sigma_counts[n]), sigma_counts[n])
            continue
        state.weight[n] += 1.0
        state.mean_np[n] += share * dx
        state.mean_roi[n] += share * dy
        state.variance[n] = (1.0 - share) * (state.variance[n] + share * dx * dx)
        state.covariance[n] = (1.0 - share) * (state.covariance[n] + share * dx * dy)
        own = state.variance[n] - max(state.change_1[n] - 0.5 * state.change_2[n], 0.0)
        if state.weight[n] < pace[1] or own <= SMALLEST_RELIABILITY * state.variance[n]:
            continue
        change = state.covariance[n] / own - coefficient_out[n]
        wanted = coefficient_out[n] + min(max(change, -pace[2]), pace[2])
        low = f0_counts[n] - _TAIL * sigma_counts[n]
        high = state.mean_np[n] + _TAIL * np.sqrt(state.variance[n])
        limit = 0.95 * low / high if high > 0.0 else wanted
        coefficient_out[n] = max(min(wanted, limit), 0.0)

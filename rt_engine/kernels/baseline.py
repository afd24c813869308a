"""Neuropil subtraction, running baseline F0 and dF/F of all cells, one frame at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import CENSORED, EXPECTED_MISSING, GOOD, MISSING


class BaselineParameters(NamedTuple):
    """Constants of every cell, float64 ndarrays, shape (n_rois,), read.

    ``neuropil_coefficient`` (r), ``neuropil_median_counts``; ``step_up_counts`` and ``step_down_counts``: how far the
    quantile moves for a sample above or below it; ``lift_counts``: from the quantile to the baseline, -sigma
    Phi^-1(q); ``lowest_f0_counts``: F0 never falls below.
    """

    neuropil_coefficient: NDArray[np.float64]
    neuropil_median_counts: NDArray[np.float64]
    step_up_counts: NDArray[np.float64]
    step_down_counts: NDArray[np.float64]
    lift_counts: NDArray[np.float64]
    lowest_f0_counts: NDArray[np.float64]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I8 = types.Array(types.int64, 1, "C")
_PARAMETERS = types.NamedUniTuple(_F8, 6, BaselineParameters)


@njit(types.void(_F4, _F4, _U1, _U1, _PARAMETERS, _F8, _F4, _F4, _U1), **NO_ALLOCATION)
def normalise(f_roi, f_np, valid, censored, parameters, quantile_counts, f0_out, dff_out, code_out):
    """DF/F of all cells against the baseline of the frames before.

    Parameters
    ----------
    f_roi, f_np : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read
    valid : uint8 ndarray, shape (n_rois,), read
        A code of `sample_codes`: 0 missing, 1 good, 2 missing as expected.
    censored : uint8 ndarray, shape (n_rois,), read
        1 where the sample is a lower bound.
    parameters : BaselineParameters, read
    quantile_counts : float64 ndarray, shape (n_rois,), counts, read
        Running low quantile of F_c.
    f0_out : float32 ndarray, shape (n_rois,), counts, overwritten
    dff_out : float32 ndarray, shape (n_rois,), overwritten
        NaN where there is no sample.
    code_out : uint8 ndarray, shape (n_rois,), overwritten
        A code of `sample_codes`; a sample that is not finite is missing.

    Notes
    -----
    F_c = F_roi - r (F_np - median F_np); dff = (F_c - F0) / F0.
    """
    r = parameters.neuropil_coefficient
    median = parameters.neuropil_median_counts
    lift = parameters.lift_counts
    lowest = parameters.lowest_f0_counts
    for n in range(f_roi.shape[0]):
        f0 = max(quantile_counts[n] + lift[n], lowest[n])
        f0_out[n] = f0
        dff = (f_roi[n] - r[n] * (f_np[n] - median[n]) - f0) / f0
        if valid[n] == GOOD and np.isfinite(dff):
            dff_out[n] = dff
            code_out[n] = CENSORED if censored[n] else GOOD
        else:
            dff_out[n] = np.nan
            code_out[n] = EXPECTED_MISSING if valid[n] == EXPECTED_MISSING else MISSING


@njit(types.void(_F4, _F4, _U1, _I8, _PARAMETERS, _F8), **NO_ALLOCATION)
def track_quantile(dff, f0, code, hold_off, parameters, quantile_counts):
    """Move the running quantile of all cells by one sample, except where a cell is active.

    Parameters
    ----------
    dff, f0 : float32 ndarray, shape (n_rois,), read
        Of this frame, from `normalise`.
    code : uint8 ndarray, shape (n_rois,), read
        Only good samples teach.
    hold_off : int64 ndarray, shape (n_rois,), frames, read
        Above 0 while the calcium of an event decays: the baseline stands still.
    parameters : BaselineParameters, read
    quantile_counts : float64 ndarray, shape (n_rois,), counts, overwritten

    Notes
    -----
    b += eta (q - 1[y < b]); the largest slope that this can reach is that of a trace always below, eta (1 - q) per
    frame, so the cap on the slope is a cap on eta. Its standard deviation is sqrt(eta q (1 - q) / (2 f(b))).
    """
    up = parameters.step_up_counts
    down = parameters.step_down_counts
    for n in range(dff.shape[0]):
        if code[n] == GOOD and hold_off[n] <= 0:
            above = dff[n] * f0[n] + f0[n] >= quantile_counts[n]
            quantile_counts[n] += up[n] if above else -down[n]

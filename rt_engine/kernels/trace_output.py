"""What goes out of the traces of a frame: copies and blanks, for all cells at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import CENSORED, GOOD


class TraceOutput(NamedTuple):
    """float32 ndarrays, shape (n_rois,), overwritten.

    ``fluorescence``, ``neuropil`` : counts, of the newest sample; ``calcium``, dF/F, and ``spike``; these four are NaN
    where there was no sample. ``z``, ``probability`` : of the decision. ``valid`` : 1 where there was a sample, else 0.
    """

    fluorescence: NDArray[np.float32]
    neuropil: NDArray[np.float32]
    calcium: NDArray[np.float32]
    spike: NDArray[np.float32]
    z: NDArray[np.float32]
    probability: NDArray[np.float32]
    valid: NDArray[np.float32]


_F4 = types.Array(types.float32, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_OUTPUT = types.NamedUniTuple(_F4, 7, TraceOutput)
_NAN = np.float32(np.nan)


@njit(**NO_ALLOCATION)
def _copy_valid(valid, sample, out):
    for n in range(out.shape[0]):
        out[n] = sample[n] if valid[n] > 0 else _NAN


@njit(**NO_ALLOCATION)
def _blank_undecided(muted, code, out):
    for n in range(out.shape[0]):
        is_decided = (muted[n] != 1) & ((code[n] == GOOD) | (code[n] == CENSORED))
        out[n] = out[n] if is_decided else _NAN


@njit(types.void(types.boolean, _F4, _F4, _F4, _U1, _U1, _OUTPUT), **NO_ALLOCATION)
def publish_traces(blanks_decision, f_roi, f_np, dff, code, muted, output):
    """Fill in what goes out as it came in, and blank what no sample stands behind.

    Parameters
    ----------
    blanks_decision : bool
        Blank `z` and `probability` as well where there may be no decision; else they are left alone.
    f_roi, f_np : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read
    dff : float32 ndarray, shape (n_rois,), read
        Finite where there was a sample.
    code : uint8 ndarray, shape (n_rois,), read
        A code of `sample_codes`: a decision needs a good or a censored sample. Read only with `blanks_decision`, as is
        the next.
    muted : uint8 ndarray, shape (n_rois,), read
        1 where there may be no decision for another reason.
    output : TraceOutput, overwritten
        ``calcium``, ``spike``, ``z`` and ``probability`` keep their values except where they are blanked with NaN.
    """
    valid = output.valid
    for n in range(dff.shape[0]):
        valid[n] = np.float32(1) if np.isfinite(dff[n]) else np.float32(0)
    _copy_valid(valid, f_roi, output.fluorescence)
    _copy_valid(valid, f_np, output.neuropil)
    _copy_valid(valid, output.calcium, output.calcium)
    _copy_valid(valid, output.spike, output.spike)
    if blanks_decision:
        _blank_undecided(muted, code, output.z)
        _blank_undecided(muted, code, output.probability)

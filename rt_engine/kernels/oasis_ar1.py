"""Online OASIS for AR(1) calcium: one step of all cells a frame, in fixed memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION

N_POOLS = 16
_SMALLEST_DECAY = 1e-30  # below it, the past of a pool is forgotten; also keeps denormal numbers out
_LONGEST_GAP = 1_000_000  # frames


class OasisParameters(NamedTuple):
    """Model of every cell, float64 ndarrays, shape (n_rois,), read.

    ``gamma`` is the decay of calcium per frame, ``penalty`` the L1 weight lambda and ``s_min`` the smallest jump
    allowed, both in units of the trace.
    """

    gamma: NDArray[np.float64]
    penalty: NDArray[np.float64]
    s_min: NDArray[np.float64]


class OasisState(NamedTuple):
    """Pools of every cell: a ring of the newest `N_POOLS`, and one number for all older ones.

    ``value``, ``weight``, ``decay`` : float64 ndarrays, shape (n_pools, n_rois): the sums v and w of the pool and
    gamma**length. ``length`` : int32, frames. ``newest``, ``n_kept`` : int32, shape (n_rois,): row of the newest pool
    and how many are kept. ``frozen`` : float64: calcium that the dropped pools predict for the start of the oldest
    kept one, NaN if none was dropped. ``floor_hits`` : int64: how often that number was violated; 0 certifies that
    the answer equals that of unbounded memory.
    """

    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    decay: NDArray[np.float64]
    length: NDArray[np.int32]
    newest: NDArray[np.int32]
    n_kept: NDArray[np.int32]
    frozen: NDArray[np.float64]
    floor_hits: NDArray[np.int64]


def empty_state(n_rois: int, n_pools: int = N_POOLS) -> OasisState:
    """State before the first sample."""
    return OasisState(
        value=np.zeros((n_pools, n_rois)),
        weight=np.ones((n_pools, n_rois)),
        decay=np.zeros((n_pools, n_rois)),
        length=np.zeros((n_pools, n_rois), np.int32),
        newest=np.zeros(n_rois, np.int32),
        n_kept=np.zeros(n_rois, np.int32),
        frozen=np.full(n_rois, np.nan),
        floor_hits=np.zeros(n_rois, np.int64),
    )


_MATRIX = types.Array(types.float64, 2, "C")
_COUNTS = types.Array(types.int32, 1, "C")
_VECTOR = types.Array(types.float64, 1, "C")
_PARAMETERS = types.NamedUniTuple(_VECTOR, 3, OasisParameters)
_STATE = types.NamedTuple(
    (
        _MATRIX,
        _MATRIX,
        _MATRIX,
        types.Array(types.int32, 2, "C"),
        _COUNTS,
        _COUNTS,
        _VECTOR,
        types.Array(types.int64, 1, "C"),
    ),
    OasisState,
)


def _signature(trace: types.Type) -> Signature:
    samples = types.Array(trace, 1, "C")
    flags = types.Array(types.uint8, 1, "C")
    return types.void(samples, flags, types.int64, types.int64, _PARAMETERS, _STATE, samples, samples)


@njit(**NO_ALLOCATION)
def _add_sample(y, n, gamma, penalty, s_min, pool_value, pool_weight, pool_decay, pool_length, newest, kept, frozen):
    """Push a pool of one sample, merge backwards while a jump is below `s_min`; True on a floor hit."""
    n_pools = pool_value.shape[0]
    value = y - penalty * (1.0 - gamma)
    weight = 1.0
    decay = gamma
    length = np.int32(1)
    n_kept = kept[n]
    slot = newest[n]
    while n_kept > 0:
        before = pool_decay[slot, n]
        if pool_value[slot, n] / pool_weight[slot, n] * before + s_min <= value / weight:
            break
        value = pool_value[slot, n] + before * value
        weight = pool_weight[slot, n] + before * before * weight
        decay = before * decay
        if decay < _SMALLEST_DECAY:
            decay = 0.0
        length += pool_length[slot, n]
        n_kept -= 1
        slot = slot - 1 if slot > 0 else n_pools - 1
    floor_hit = n_kept == 0 and frozen[n] + s_min > value / weight  # False for NaN
    if floor_hit:
        frozen[n] = np.nan
    slot = slot + 1 if slot + 1 < n_pools else 0
    if n_kept == n_pools:
        frozen[n] = pool_value[slot, n] / pool_weight[slot, n] * pool_decay[slot, n]
        n_kept -= 1
    pool_value[slot, n] = value
    pool_weight[slot, n] = weight
    pool_decay[slot, n] = decay
    pool_length[slot, n] = length
    newest[n] = slot
    kept[n] = n_kept + 1
    return floor_hit


@njit(**NO_ALLOCATION)
def _calcium_at_start(fit, smallest):
    """Calcium that a pool starts with: its least-squares fit, or nothing where that is below the bound."""
    return fit if fit >= smallest else 0.0


@njit(**NO_ALLOCATION)
def _estimate(hold, n, gamma, penalty, s_min, pool_value, pool_weight, pool_decay, pool_length, newest, kept, frozen):
    """Calcium now, and the jump that stands `hold` frames ago, of the best fit to all samples so far.

    The last sample of a fit carries the whole L1 penalty; the merges that this makes due are done on copies, because
    the next sample undoes them.
    """
    n_kept = kept[n]
    if n_kept == 0:
        return 0.0, 0.0
    n_pools = pool_value.shape[0]
    slot = newest[n]
    decay = pool_decay[slot, n]
    value = pool_value[slot, n] - penalty * decay
    weight = pool_weight[slot, n]
    age = np.int64(pool_length[slot, n])
    n_kept -= 1
    slot = slot - 1 if slot > 0 else n_pools - 1
    if penalty > 0.0:
        while n_kept > 0:
            before = pool_decay[slot, n]
            if pool_value[slot, n] / pool_weight[slot, n] * before + s_min <= value / weight:
                break
            value = pool_value[slot, n] + before * value
            weight = pool_weight[slot, n] + before * before * weight
            decay = before * decay
            age += pool_length[slot, n]
            n_kept -= 1
            slot = slot - 1 if slot > 0 else n_pools - 1
    first = n_kept == 0 and np.isnan(frozen[n])
    start = _calcium_at_start(value / weight, 0.0 if first else s_min)
    calcium = start * decay / gamma
    while age <= hold and n_kept > 0:
        n_kept -= 1
        first = n_kept == 0 and np.isnan(frozen[n])
        start = _calcium_at_start(pool_value[slot, n] / pool_weight[slot, n], 0.0 if first else s_min)
        age += pool_length[slot, n]
        slot = slot - 1 if slot > 0 else n_pools - 1
    if first or age != hold + 1:
        return calcium, 0.0
    before = frozen[n]
    if n_kept > 0:
        first = n_kept == 1 and np.isnan(frozen[n])
        before = pool_value[slot, n] / pool_weight[slot, n]
        before = _calcium_at_start(before, 0.0 if first else s_min) * pool_decay[slot, n]
    return calcium, max(start - max(before, 0.0), 0.0)


@njit([_signature(types.float32), _signature(types.float64)], **NO_ALLOCATION)
def oasis_step(y, usable, n_gap, hold, parameters, state, calcium_out, jump_out):
    """Advance the deconvolution of all cells by one frame.

    Parameters
    ----------
    y : float32 or float64 ndarray, shape (n_rois,), dF/F, read
        Where `usable` is 0 it is not looked at.
    usable : uint8 ndarray, shape (n_rois,), read
        1 where there is a sample; elsewhere calcium decays over the frame without data.
    n_gap : int
        Frames lost before this one.
    hold : int
        Age, in frames, of the jump that is reported.
    parameters : OasisParameters, read
    state : OasisState, overwritten
    calcium_out : ndarray of y's dtype, shape (n_rois,), dF/F, overwritten
        Calcium of this frame in the best fit to all samples so far.
    jump_out : ndarray of y's dtype, shape (n_rois,), dF/F, overwritten
        s of the frame `hold` ago in the same fit; the calcium that the first pool starts with is no jump.

    Notes
    -----
    min 1/2 sum (y_t - c_t)^2 + lambda sum s_t, s_t = c_t - gamma c_{t-1} in {0} or >= s_min: Friedrich, Zhou, Paninski,
    PLoS Comput. Biol. 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423. Here with K pools, powers of gamma kept
    multiplicatively, and a count of the merges that the bound on memory made impossible.
    """
    gamma, penalty, s_min = parameters
    value, weight, decay, length, newest, kept, frozen, floor_hits = state
    for n in range(y.shape[0]):
        n_missing = n_gap if usable[n] == 1 else n_gap + 1
        if n_missing > 0 and kept[n] > 0:
            slot = newest[n]
            shrunk = decay[slot, n] * gamma[n] ** n_missing
            decay[slot, n] = shrunk if shrunk >= _SMALLEST_DECAY else 0.0
            length[slot, n] += np.int32(min(n_missing, _LONGEST_GAP))
        if usable[n] == 1:
            floor_hits[n] += _add_sample(
                np.float64(y[n]),
                n,
                gamma[n],
                penalty[n],
                s_min[n],
                value,
                weight,
                decay,
                length,
                newest,
                kept,
                frozen,
            )
        # The last sample of a fit carries the whole penalty; a frame without one does not.
        calcium, jump = _estimate(
            hold,
            n,
            gamma[n],
            penalty[n] if usable[n] == 1 else 0.0,
            s_min[n],
            value,
            weight,
            decay,
            length,
            newest,
            kept,
            frozen,
        )
        calcium_out[n] = calcium
        jump_out[n] = jump

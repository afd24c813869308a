"""Online OASIS for AR(2) calcium (finite rise): one step of all cells a frame, in fixed memory, without history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.pool_history import (
    N_POOLS,
    SMALLEST_DECAY,
    count_later,
    note_starts,
    select_flagged,
    select_started,
    shift_starts,
)

BLOCK = 128
"""Cells that are worked on together, so that the passes over them stay in the innermost cache."""
SMALLEST_RISE = 0.05
"""Decay of the rise per frame below which its shape is not seen and the model is AR(1)."""
LARGEST_RISE = 0.98
"""Of the slow decay: closer roots make the sums of the pools cancel."""

# Fields of the newest pool; the first of them, in this order, are also what is kept of older ones.
_N_RECORD = 10
_START, _SLOW_SUM, _FAST_SUM, _SLOW, _FAST, _SS, _SF, _FF, _LAST_BELOW, _BELOW = (BLOCK * k for k in range(_N_RECORD))
_SAMPLE, _FORECAST, _LAST, _FLAG = (BLOCK * k for k in range(_N_RECORD, _N_RECORD + 4))
_N_FIELDS = _N_RECORD + 4
_R_START, _R_BELOW = 0, 9


class Ar2Parameters(NamedTuple):
    """Model of every cell, float64 ndarrays, shape (n_rois,), read.

    ``slow`` (d) and ``fast`` (r) are the roots: decays per frame of the calcium and of its rise, r from
    `resolved_rise` (0 makes the cell AR(1)). ``penalty`` is the L1 weight lambda and ``s_min`` the smallest jump
    allowed, both in units of the trace.
    """

    slow: NDArray[np.float64]
    fast: NDArray[np.float64]
    penalty: NDArray[np.float64]
    s_min: NDArray[np.float64]


def resolved_rise(slow: NDArray[np.float64], fast: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decay of the rise that the deconvolution can use.

    Parameters
    ----------
    slow, fast : float64 ndarray, shape (n_rois,), per frame, read
        exp(-1 / (tau f)) for the decay time and the rise time of calcium.

    Returns
    -------
    float64 ndarray, shape (n_rois,)
        0 where the rise is not resolved (below `SMALLEST_RISE`): such a cell is AR(1). At most `LARGEST_RISE` of
        `slow`.
    """
    return np.where(fast < SMALLEST_RISE, 0.0, np.minimum(fast, LARGEST_RISE * slow))


class Ar2State(NamedTuple):
    """Pools of every cell: the newest, a stack of older ones, and two numbers for all that were dropped.

    ``newest`` : float64 ndarray, shape (n_blocks, 14 * BLOCK): of the newest pool of the cells of a block, field after
    field: calcium v at its start; sums U_d = sum d^j y_j and U_r; d^age and r^age of its first frame; sums of d^2j,
    (dr)^j and r^2j over its samples; the last calcium of the pool below, and what that predicts for the start (-inf
    for the first pool, NaN where the pool below was dropped and violated); four fields of scratch.
    ``older`` : float64, shape (n_rois, 10 * (n_pools - 1)): the pools below, oldest first: the same ten numbers, age
    being the length. ``depth`` : uint32, shape (n_rois,): how many of them there are. ``starts`` : uint64, shape
    (n_rois,): bit k is set where a pool begins k frames ago. ``selected`` : uint32, shape (BLOCK,): scratch.
    ``floor_hits`` : int64, shape (n_rois,): how often the dropped pools were violated; 0 certifies that the answer
    equals that of unbounded memory.
    """

    newest: NDArray[np.float64]
    older: NDArray[np.float64]
    depth: NDArray[np.uint32]
    starts: NDArray[np.uint64]
    selected: NDArray[np.uint32]
    floor_hits: NDArray[np.int64]


def empty_state(n_rois: int, n_pools: int = N_POOLS) -> Ar2State:
    """State before the first sample."""
    n_blocks = -(-n_rois // BLOCK)
    newest = np.zeros((n_blocks, _N_FIELDS, BLOCK))
    newest[:, [_START // BLOCK, _BELOW // BLOCK]] = -np.inf  # any sample is a jump from there
    newest[:, [field // BLOCK for field in (_SLOW, _FAST, _SS, _SF, _FF)]] = 1.0
    return Ar2State(
        newest=newest.reshape(n_blocks, _N_FIELDS * BLOCK),
        older=np.zeros((n_rois, _N_RECORD * (n_pools - 1))),
        depth=np.zeros(n_rois, np.uint32),
        starts=np.zeros(n_rois, np.uint64),
        selected=np.zeros(BLOCK, np.uint32),
        floor_hits=np.zeros(n_rois, np.int64),
    )


_MATRIX = types.Array(types.float64, 2, "C")
_COUNTS = types.Array(types.uint32, 1, "C")
_PARAMETERS = (types.Array(types.float64, 1, "C"),) * 4
_STATE = (_MATRIX, _MATRIX, _COUNTS, types.Array(types.uint64, 1, "C"), _COUNTS, types.Array(types.int64, 1, "C"))


def _signature(trace: types.Type) -> Signature:
    samples = types.Array(trace, 1, "C")
    flags = types.Array(types.uint8, 1, "C")
    return types.void(samples, flags, types.int64, types.int64, *_PARAMETERS, *_STATE, samples, samples)


@njit(**NO_ALLOCATION)
def _pass_gap(n_gap, d, r, top):
    """Calcium goes its way over frames that were lost."""
    for i in range(d.shape[0]):
        top[_SLOW + i] = max(top[_SLOW + i] * d[i] ** n_gap, SMALLEST_DECAY)
        top[_FAST + i] = max(top[_FAST + i] * r[i] ** n_gap, SMALLEST_DECAY)


@njit(**NO_ALLOCATION)
def _forecast(y, usable, d, r, penalty, s_min, top):
    """What the newest pool predicts for this frame; flag the cells whose sample begins a new pool."""
    for i in range(y.shape[0]):
        slow_before, fast_before = top[_SLOW + i], top[_FAST + i]
        slow = max(slow_before * d[i], SMALLEST_DECAY)
        fast = max(fast_before * r[i], SMALLEST_DECAY)
        start = top[_START + i]
        gain = 1.0 / (d[i] - r[i])
        pulled = -d[i] * r[i] * top[_LAST_BELOW + i]  # gamma_2 w of the pool below
        last = ((d[i] * slow_before - r[i] * fast_before) * start + (slow_before - fast_before) * pulled) * gain
        forecast = ((d[i] * slow - r[i] * fast) * start + (slow - fast) * pulled) * gain
        is_first = top[_BELOW + i] == -np.inf
        forecast = start * slow if is_first else forecast
        sample = np.float64(y[i]) - penalty[i] * (1.0 - d[i]) * (1.0 - r[i])
        begins = (forecast + s_min[i] <= sample) & (usable[i] == 1)
        top[_SLOW + i] = slow
        top[_FAST + i] = fast
        top[_LAST + i] = start * slow_before if is_first else last
        top[_FORECAST + i] = forecast
        top[_SAMPLE + i] = sample
        top[_FLAG + i] = 1.0 if begins else 0.0


@njit(**NO_ALLOCATION)
def _store_newest(n_selected, selected, top, older, depth):
    """Put the newest pool of the selected cells on their stacks; a full stack drops its oldest."""
    n_slots = older.shape[1] // _N_RECORD
    for k in range(n_selected):
        i = np.int64(selected[k])
        if top[_FORECAST + i] == -np.inf:  # there is none yet
            continue
        stack = older[i]
        slot = np.int64(depth[i])
        if slot == n_slots:
            slot -= 1
            for moved in range(slot * _N_RECORD):
                stack[moved] = stack[moved + _N_RECORD]
        at = np.uint64(slot) * np.uint64(_N_RECORD)  # unsigned: no check for indices from the end
        for field in range(_N_RECORD):
            stack[at + np.uint64(field)] = top[field * BLOCK + i]
        depth[i] = slot + 1


@njit(**NO_ALLOCATION)
def _fitted_start(slow_sum, fast_sum, ss, sf, ff, last_below, d, r):
    """Least-squares calcium at the start of a pool that is not the first, given the last calcium of the one below.

    Calcium in the pool is h_j v + gamma_2 h_{j-1} w, h_j = (d^(j+1) - r^(j+1)) / (d - r); the sums of h_j^2, of
    h_j gamma_2 h_{j-1} and of h_j y_j are combinations of five sums of powers, so no sample has to be kept.
    """
    gap = d - r
    h_y = (d * slow_sum - r * fast_sum) * gap
    h_h = d * d * ss - 2.0 * d * r * sf + r * r * ff
    h_k = -d * r * (d * ss - (d + r) * sf + r * ff)
    return (h_y - h_k * last_below) / h_h


@njit(**NO_ALLOCATION)
def _take_samples(usable, d, r, s_min, top):
    """Begin a pool or merge into the newest; flag the cells where that pool has sunk into the one below."""
    for i in range(usable.shape[0]):
        begins = top[_FLAG + i] > 0.0
        merges = usable[i] == 1
        sample = top[_SAMPLE + i]
        forecast = top[_FORECAST + i]
        slow, fast = top[_SLOW + i], top[_FAST + i]
        slow_sum = sample if begins else top[_SLOW_SUM + i] + (slow * sample if merges else 0.0)
        fast_sum = sample if begins else top[_FAST_SUM + i] + (fast * sample if merges else 0.0)
        ss = 1.0 if begins else top[_SS + i] + (slow * slow if merges else 0.0)
        sf = 1.0 if begins else top[_SF + i] + (slow * fast if merges else 0.0)
        ff = 1.0 if begins else top[_FF + i] + (fast * fast if merges else 0.0)
        below = forecast if begins else top[_BELOW + i]
        is_first = below == -np.inf
        last_below = top[_LAST + i] if begins else top[_LAST_BELOW + i]
        last_below = 0.0 if is_first else last_below
        fit = _fitted_start(slow_sum, fast_sum, ss, sf, ff, last_below, d[i], r[i])
        fit = max(0.0, slow_sum / ss) if is_first else (sample if begins else fit)
        fit = fit if merges else top[_START + i]
        top[_START + i] = fit
        top[_SLOW_SUM + i] = slow_sum
        top[_FAST_SUM + i] = fast_sum
        top[_SLOW + i] = 1.0 if begins else slow
        top[_FAST + i] = 1.0 if begins else fast
        top[_SS + i] = ss
        top[_SF + i] = sf
        top[_FF + i] = ff
        top[_LAST_BELOW + i] = last_below
        top[_BELOW + i] = below
        top[_FLAG + i] = 1.0 if (below + s_min[i] > fit) & (not begins) else 0.0


@njit(**NO_ALLOCATION)
def _merge_one(i, slot, stack, d, r, top):
    """Put the stored pool in `slot` and the newest pool of a cell together."""
    at = np.uint64(slot) * np.uint64(_N_RECORD)
    _, slow_sum, fast_sum, slow, fast, ss, sf, ff, last_below, below = stack[at : at + np.uint64(_N_RECORD)]
    slow_sum += slow * top[_SLOW_SUM + i]
    fast_sum += fast * top[_FAST_SUM + i]
    ss += slow * slow * top[_SS + i]
    sf += slow * fast * top[_SF + i]
    ff += fast * fast * top[_FF + i]
    start = max(0.0, slow_sum / ss)
    if below != -np.inf:
        start = _fitted_start(slow_sum, fast_sum, ss, sf, ff, last_below, d, r)
    top[_START + i] = start
    top[_SLOW_SUM + i] = slow_sum
    top[_FAST_SUM + i] = fast_sum
    top[_SLOW + i] = max(top[_SLOW + i] * slow, SMALLEST_DECAY)
    top[_FAST + i] = max(top[_FAST + i] * fast, SMALLEST_DECAY)
    top[_SS + i] = ss
    top[_SF + i] = sf
    top[_FF + i] = ff
    top[_LAST_BELOW + i] = last_below
    top[_BELOW + i] = below


@njit(**NO_ALLOCATION)
def _merge_down(n_selected, selected, d, r, s_min, top, older, depth, starts, floor_hits):
    """Merge the newest pool of the selected cells backwards until no jump is too small."""
    for k in range(n_selected):
        i = np.int64(selected[k])
        slot = np.int64(depth[i])
        while top[_BELOW + i] + s_min[i] > top[_START + i]:
            if slot == 0:
                floor_hits[i] += 1
                top[_BELOW + i] = np.nan
                break
            slot -= 1
            _merge_one(i, slot, older[i], d[i], r[i], top)
            starts[i] &= starts[i] - np.uint64(1)
        depth[i] = slot


@njit(**NO_ALLOCATION)
def _report(hold, d, r, top, older, depth, starts, selected, calcium_out, jump_out):
    """Calcium now, and the jump `hold` frames ago, of the fit to all samples so far."""
    for i in range(d.shape[0]):
        slow, fast = top[_SLOW + i], top[_FAST + i]
        start = top[_START + i]
        pulled = -d[i] * r[i] * top[_LAST_BELOW + i]
        calcium = ((d[i] * slow - r[i] * fast) * start + (slow - fast) * pulled) / (d[i] - r[i])
        calcium = start * slow if top[_BELOW + i] == -np.inf else calcium
        calcium_out[i] = calcium if calcium > 0.0 else 0.0
    jump_out[:] = 0.0
    for k in range(select_started(hold, starts, selected)):
        n = np.int64(selected[k])
        n_later = count_later(starts[n], hold)
        at = (np.int64(depth[n]) - n_later) * _N_RECORD
        if at < 0:  # dropped
            continue
        start, below = top[_START + n], top[_BELOW + n]
        if n_later > 0:
            start, below = older[n, at + _R_START], older[n, at + _R_BELOW]
        jump_out[n] = start - below if (below > -np.inf) & (start > below) else 0.0


@njit([_signature(types.float32), _signature(types.float64)], **NO_ALLOCATION)
def _step(
    y,
    usable,
    n_gap,
    hold,
    all_slow,
    all_fast,
    all_penalty,
    all_s_min,
    newest,
    all_older,
    all_depth,
    all_starts,
    selected,
    all_floor_hits,
    calcium_out,
    jump_out,
):
    for block in range(newest.shape[0]):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, y.shape[0]))
        top, older, depth, starts = newest[block], all_older[here], all_depth[here], all_starts[here]
        d, r, s_min = all_slow[here], all_fast[here], all_s_min[here]
        flags, count = top[_FLAG : _FLAG + BLOCK], d.shape[0]
        if n_gap > 0:
            _pass_gap(n_gap, d, r, top)
            shift_starts(n_gap, starts)
        _forecast(y[here], usable[here], d, r, all_penalty[here], s_min, top)
        note_starts(flags, starts)
        _store_newest(select_flagged(count, flags, selected), selected, top, older, depth)
        _take_samples(usable[here], d, r, s_min, top)
        n_selected = select_flagged(count, flags, selected)
        _merge_down(n_selected, selected, d, r, s_min, top, older, depth, starts, all_floor_hits[here])
        _report(hold, d, r, top, older, depth, starts, selected, calcium_out[here], jump_out[here])


def oasis_ar2_step(
    y: NDArray[np.floating],
    usable: NDArray[np.uint8],
    n_gap: int,
    hold: int,
    parameters: Ar2Parameters,
    state: Ar2State,
    calcium_out: NDArray[np.floating],
    jump_out: NDArray[np.floating],
) -> None:
    """Advance the deconvolution of all cells by one frame.

    Parameters
    ----------
    y : float32 or float64 ndarray, shape (n_rois,), dF/F, read
        Where `usable` is 0 it is not looked at.
    usable : uint8 ndarray, shape (n_rois,), read
        1 where there is a sample; elsewhere calcium goes its way over the frame without data.
    n_gap : int
        Frames lost before this one.
    hold : int
        Age of the jump that is reported, 0 to `pool_history.LARGEST_HOLD` frames.
    parameters : Ar2Parameters, read
    state : Ar2State, overwritten
    calcium_out : ndarray of y's dtype, shape (n_rois,), dF/F, overwritten
        Calcium of this frame in the fit to all samples so far.
    jump_out : ndarray of y's dtype, shape (n_rois,), dF/F, overwritten
        s of the frame `hold` ago in the same fit; the calcium that the first pool starts with is no jump.

    Raises
    ------
    TypeError
        An array of another dtype.

    Notes
    -----
    min 1/2 sum (y_t - c_t)^2 + lambda sum s_t, s_t = c_t - (d + r) c_{t-1} + d r c_{t-2} in {0} or >= s_min: the greedy
    method of Friedrich, Zhou, Paninski, PLoS Comput. Biol. 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423: an
    approximation, about 1 % above the smallest objective. There a merge costs the length of the pool and y is kept;
    here the kernel is a difference of two exponentials, so two sums of y and three of powers say all. The L1 penalty
    is that of the interior, lambda (1 - d)(1 - r), also for the last two samples. The first pool decays with d alone.
    """
    # One by one: a named tuple costs more at the border of compiled code than a step of a hundred cells.
    _step(y, usable, n_gap, hold, *parameters, *state, calcium_out, jump_out)

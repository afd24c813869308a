"""Online OASIS for AR(1) calcium: one step of all cells a frame, in fixed memory."""

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
    shift_starts,
)

BLOCK = 512
"""Cells that are worked on together, so that the passes over them stay in the innermost cache."""

_FIT, _WEIGHT, _DECAY, _BELOW, _SAMPLE, _FORECAST, _FLAG = (BLOCK * field for field in range(7))
_N_FIELDS = 7
_R_FIT, _R_WEIGHT, _R_DECAY, _R_BELOW, _N_RECORD = range(5)


class OasisParameters(NamedTuple):
    """Model of every cell, float64 ndarrays, shape (n_rois,), read.

    ``gamma`` is the decay of calcium per frame, ``penalty`` the L1 weight lambda and ``s_min`` the smallest jump
    allowed, both in units of the trace.
    """

    gamma: NDArray[np.float64]
    penalty: NDArray[np.float64]
    s_min: NDArray[np.float64]


class OasisState(NamedTuple):
    """Pools of every cell: the newest, a stack of older ones, and one number for all that were dropped.

    ``newest`` : float64 ndarray, shape (n_blocks, 7 * BLOCK): of the newest pool of the cells of a block, field after
    field: its fit v/w (calcium at its start), weight w, decay gamma^(age of its first frame), calcium that the pool
    below predicts for its start (-inf where there is none), and three fields of scratch. One array, fields at constant
    distances: so the compiler can prove that they do not overlap and work on several cells at once.
    ``older`` : float64, shape (n_rois, 4 * (n_pools - 1)): the pools below, each as fit, weight, gamma^length and
    prediction of the pool below; the prediction of the oldest one is what is left of dropped pools. A ring: the next
    pool after the last slot stands in the first. ``depth``, ``head`` : uint32, shape (n_rois,): how many of them there
    are, and the slot of the newest of them (unsigned, so that no index needs a check).
    ``starts`` : uint64, shape (n_rois,): bit k is set where a pool begins k frames ago. ``selected`` : uint32, shape
    (BLOCK,): scratch. ``floor_hits`` : int64, shape (n_rois,): how often the prediction of the dropped pools was
    violated; 0 certifies that the answer equals that of unbounded memory.
    """

    newest: NDArray[np.float64]
    older: NDArray[np.float64]
    depth: NDArray[np.uint32]
    head: NDArray[np.uint32]
    starts: NDArray[np.uint64]
    selected: NDArray[np.uint32]
    floor_hits: NDArray[np.int64]


def empty_state(n_rois: int, n_pools: int = N_POOLS) -> OasisState:
    """State before the first sample."""
    n_blocks = -(-n_rois // BLOCK)
    newest = np.zeros((n_blocks, _N_FIELDS, BLOCK))
    newest[:, [_FIT // BLOCK, _BELOW // BLOCK]] = -np.inf  # any sample is a jump from there
    newest[:, [_WEIGHT // BLOCK, _DECAY // BLOCK]] = 1.0
    return OasisState(
        newest=newest.reshape(n_blocks, _N_FIELDS * BLOCK),
        older=np.zeros((n_rois, _N_RECORD * (n_pools - 1))),
        depth=np.zeros(n_rois, np.uint32),
        head=np.zeros(n_rois, np.uint32),
        starts=np.zeros(n_rois, np.uint64),
        selected=np.zeros(BLOCK, np.uint32),
        floor_hits=np.zeros(n_rois, np.int64),
    )


_MATRIX = types.Array(types.float64, 2, "C")
_COUNTS = types.Array(types.uint32, 1, "C")
_VECTOR = types.Array(types.float64, 1, "C")
_PARAMETERS = (_VECTOR,) * 3
_STATE = (
    _MATRIX,
    _MATRIX,
    _COUNTS,
    _COUNTS,
    types.Array(types.uint64, 1, "C"),
    _COUNTS,
    types.Array(types.int64, 1, "C"),
)


def _signature(trace: types.Type) -> Signature:
    samples = types.Array(trace, 1, "C")
    flags = types.Array(types.uint8, 1, "C")
    return types.void(samples, flags, types.int64, types.int64, *_PARAMETERS, *_STATE, samples, samples)


@njit(**NO_ALLOCATION)
def _pass_gap(n_gap, gamma, top):
    """Calcium decays over frames that were lost."""
    for i in range(gamma.shape[0]):
        top[_DECAY + i] = max(top[_DECAY + i] * gamma[i] ** n_gap, SMALLEST_DECAY)


@njit(**NO_ALLOCATION)
def _forecast(y, usable, gamma, penalty, s_min, top):
    """What the newest pool predicts for this frame; flag the cells whose sample begins a new pool.

    Tells whether any cell has a penalty.
    """
    is_penalised = False
    for i in range(y.shape[0]):
        decay = max(top[_DECAY + i] * gamma[i], SMALLEST_DECAY)
        forecast = top[_FIT + i] * decay
        sample = np.float64(y[i]) - penalty[i] * (1.0 - gamma[i])
        begins = (forecast + s_min[i] <= sample) & (usable[i] == 1)
        top[_DECAY + i] = decay
        top[_FORECAST + i] = forecast
        top[_SAMPLE + i] = sample
        top[_FLAG + i] = 1.0 if begins else 0.0
        is_penalised |= penalty[i] != 0.0
    return is_penalised


@njit(**NO_ALLOCATION)
def _store_newest(n_selected, selected, top, older, depth, head):
    """Put the newest pool of the selected cells on their stacks; in a full one it takes the place of the oldest."""
    n_slots = np.int64(older.shape[1] // _N_RECORD)
    for k in range(n_selected):
        i = np.int64(selected[k])
        exists = top[_FORECAST + i] > -np.inf  # before the first sample there is no pool
        above = np.int64(head[i]) + 1
        slot = above if above < n_slots else np.int64(0)
        stack = older[i]
        at = np.uint64(slot) * np.uint64(_N_RECORD)  # unsigned: no check for indices from the end
        fit, weight, decay, below = top[_FIT + i], top[_WEIGHT + i], top[_DECAY + i], top[_BELOW + i]
        stack[at] = fit
        stack[at + np.uint64(_R_WEIGHT)] = weight
        stack[at + np.uint64(_R_DECAY)] = decay
        stack[at + np.uint64(_R_BELOW)] = below
        head[i] = slot
        depth[i] = min(np.int64(depth[i]) + exists, n_slots)


@njit(**NO_ALLOCATION)
def _take_samples(usable, s_min, top):
    """Begin a pool or merge into the newest; flag the cells where that pool has sunk into the one below."""
    for i in range(usable.shape[0]):
        begins = top[_FLAG + i] > 0.0
        merges = usable[i] == 1
        sample = top[_SAMPLE + i]
        forecast = top[_FORECAST + i]
        decay = top[_DECAY + i]
        weight = top[_WEIGHT + i]
        fit = top[_FIT + i]
        merged = weight + decay * decay
        fit_merged = fit + decay / merged * (sample - forecast)
        fit = sample if begins else (fit_merged if merges else fit)
        below = forecast if begins else top[_BELOW + i]
        top[_FIT + i] = fit
        top[_WEIGHT + i] = 1.0 if begins else (merged if merges else weight)
        top[_DECAY + i] = 1.0 if begins else decay
        top[_BELOW + i] = below
        top[_FLAG + i] = 1.0 if (below + s_min[i] > fit) & (not begins) else 0.0


@njit(**NO_ALLOCATION)
def _older_slot(head, n_back, n_slots):
    """Slot of the pool `n_back` before the one in `head`."""
    slot = head - n_back
    return slot + n_slots if slot < 0 else slot


@njit(**NO_ALLOCATION)
def _merge_down(n_selected, selected, s_min, top, older, depth, head, starts, floor_hits):
    """Merge the newest pool of the selected cells backwards until no jump is too small.

    One merge of every cell listed, then of those still listed: the number of merges of a cell cannot be guessed, and
    cells after one another do not wait for each other.
    """
    n_slots = np.int64(older.shape[1] // _N_RECORD)
    while n_selected > 0:
        n_left = np.uint64(0)
        for k in range(n_selected):
            i = np.int64(selected[k])
            if depth[i] == 0:
                floor_hits[i] += 1
                top[_BELOW + i] = -np.inf
                continue
            slot = np.int64(head[i])
            fit, weight, decay, below = _join(older[i], slot, top[_FIT + i], top[_WEIGHT + i], top[_DECAY + i])
            top[_FIT + i] = fit
            top[_WEIGHT + i] = weight
            top[_DECAY + i] = decay
            top[_BELOW + i] = below
            depth[i] -= np.uint32(1)
            head[i] = _older_slot(slot, 1, n_slots)
            starts[i] &= starts[i] - np.uint64(1)
            selected[n_left] = i
            n_left += np.uint64(below + s_min[i] > fit)
        n_selected = np.int64(n_left)


@njit(**NO_ALLOCATION)
def _join(stack, slot, fit, weight, decay):
    """Fit, weight, decay and prediction from below of a stored pool and the one above it together."""
    at = slot * _N_RECORD
    length_decay = stack[at + _R_DECAY]
    joined = stack[at + _R_WEIGHT] + length_decay * length_decay * weight
    start = stack[at + _R_FIT]
    start += length_decay * weight / joined * (fit - start * length_decay)
    return start, joined, max(decay * length_decay, SMALLEST_DECAY), stack[at + _R_BELOW]


@njit(**NO_ALLOCATION)
def _calcium_at_start(fit, below, s_min):
    """Calcium that a pool starts with: its least-squares fit, or nothing where that is below the bound."""
    return fit if fit >= (0.0 if below == -np.inf else s_min) else 0.0


@njit(**NO_ALLOCATION)
def _jump(fit, below, depth, head, starts, hold, s_min, stack):
    """Jump that stands `hold` frames ago, given that a pool starts there."""
    n_slots = stack.shape[0] // _N_RECORD
    n_later = count_later(starts, hold)
    if n_later > depth:  # dropped
        return 0.0
    if n_later > 0:
        at = _older_slot(head, n_later - 1, n_slots) * _N_RECORD
        fit, below = stack[at + _R_FIT], stack[at + _R_BELOW]
    before = below
    if s_min > 0.0 and depth > n_later:
        at = _older_slot(head, n_later, n_slots) * _N_RECORD
        before = _calcium_at_start(stack[at + _R_FIT], stack[at + _R_BELOW], s_min) * stack[at + _R_DECAY]
    jump = max((fit if fit >= s_min else 0.0) - max(before, 0.0), 0.0)
    return 0.0 if below == -np.inf else jump


@njit(**NO_ALLOCATION)
def _report(hold, s_min, top, older, depth, head, starts, selected, calcium_out, jump_out):
    """Calcium now, and the jump `hold` frames ago, of the best fit to all samples so far."""
    begun = np.uint64(1) << np.uint64(hold)
    recent = begun | (begun - np.uint64(1))
    for i in range(s_min.shape[0]):
        fit, below = top[_FIT + i], top[_BELOW + i]
        is_first = below == -np.inf
        calcium = fit if fit >= (0.0 if is_first else s_min[i]) else 0.0
        calcium_out[i] = calcium * top[_DECAY + i]
        bits = starts[i] & recent
        is_newest = (bits == begun) & (not is_first)
        jump_out[i] = max(calcium - max(below, 0.0), 0.0) if is_newest else 0.0
        top[_FLAG + i] = 1.0 if (bits >= begun) & ((bits != begun) | (s_min[i] > 0.0)) else 0.0
    n_selected = select_flagged(s_min.shape[0], top[_FLAG : _FLAG + BLOCK], selected)
    for k in range(n_selected):
        n = np.int64(selected[k])
        slot = np.int64(depth[n])
        jump_out[n] = _jump(
            top[_FIT + n], top[_BELOW + n], slot, np.int64(head[n]), starts[n], hold, s_min[n], older[n]
        )


@njit(**NO_ALLOCATION)
def _report_penalised(usable, hold, parameters, top, older, depth, head, starts, calcium_out, jump_out):
    """The last sample of a fit carries the whole L1 penalty.

    The merges that this makes due are done on copies, because the next sample undoes them.
    """
    gamma, penalty, s_min = parameters
    n_slots = older.shape[1] // _N_RECORD
    for i in range(usable.shape[0]):
        fit, weight, decay, below = top[_FIT + i], top[_WEIGHT + i], top[_DECAY + i], top[_BELOW + i]
        begun = starts[i]
        slot, place = np.int64(depth[i]), np.int64(head[i])
        if usable[i] == 1:
            fit -= penalty[i] * gamma[i] * decay / weight
        while below + s_min[i] > fit and slot > 0:
            slot -= 1
            fit, weight, decay, below = _join(older[i], place, fit, weight, decay)
            place = _older_slot(place, 1, n_slots)
            begun &= begun - np.uint64(1)
        calcium_out[i] = _calcium_at_start(fit, below, s_min[i]) * decay
        begins = (begun >> np.uint64(hold)) & np.uint64(1)
        jump_out[i] = _jump(fit, below, slot, place, begun, hold, s_min[i], older[i]) if begins else 0.0


@njit([_signature(types.float32), _signature(types.float64)], **NO_ALLOCATION)
def _step(
    y,
    usable,
    n_gap,
    hold,
    all_gamma,
    all_penalty,
    all_s_min,
    newest,
    all_older,
    all_depth,
    all_head,
    all_starts,
    selected,
    all_floor_hits,
    calcium_out,
    jump_out,
):
    for block in range(newest.shape[0]):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, y.shape[0]))
        top, older, depth, head, starts = (
            newest[block],
            all_older[here],
            all_depth[here],
            all_head[here],
            all_starts[here],
        )
        gamma, penalty, s_min = all_gamma[here], all_penalty[here], all_s_min[here]
        flags, count = top[_FLAG : _FLAG + BLOCK], gamma.shape[0]
        if n_gap > 0:
            _pass_gap(n_gap, gamma, top)
            shift_starts(n_gap, starts)
        is_penalised = _forecast(y[here], usable[here], gamma, penalty, s_min, top)
        note_starts(flags, starts)
        _store_newest(select_flagged(count, flags, selected), selected, top, older, depth, head)
        _take_samples(usable[here], s_min, top)
        n_selected = select_flagged(count, flags, selected)
        _merge_down(n_selected, selected, s_min, top, older, depth, head, starts, all_floor_hits[here])
        model, calcium, jump = (gamma, penalty, s_min), calcium_out[here], jump_out[here]
        if is_penalised:
            _report_penalised(usable[here], hold, model, top, older, depth, head, starts, calcium, jump)
        else:
            _report(hold, s_min, top, older, depth, head, starts, selected, calcium, jump)


def oasis_step(
    y: NDArray[np.floating],
    usable: NDArray[np.uint8],
    n_gap: int,
    hold: int,
    parameters: OasisParameters,
    state: OasisState,
    calcium_out: NDArray[np.floating],
    jump_out: NDArray[np.floating],
) -> None:
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
        Age of the jump that is reported, 0 to `pool_history.LARGEST_HOLD` frames.
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
    multiplicatively, and a count of the merges that the bound on memory made impossible. About half of all noisy
    samples begin a pool and a fifth merge deeper: guessing which costs more than the arithmetic, so the first level is
    done for all cells alike, and only listed cells touch their stacks.
    """
    # One by one: a named tuple costs more at the border of compiled code than a step of a hundred cells.
    _step(y, usable, n_gap, hold, *parameters, *state, calcium_out, jump_out)

"""Fixed-lag Kalman smoother of the drive: how much every cell's calcium was pushed, a few frames ago."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION

BLOCK = 64
"""Cells that are worked on together, so that the passes over them stay in the innermost cache."""


class DriveParameters(NamedTuple):
    """Model of every cell, float64 ndarrays, shape (n_rois,), read.

    dF/F is u - v + b + noise: ``decay`` and ``rise`` are what u and v keep per frame, ``step_decay`` and ``step_rise``
    what a drive of 1 (a spike of unit peak) adds to them; ``noise_variance`` of a frame, ``drive_variance`` of the
    drive and ``baseline_variance`` of the step of b per frame, all in (dF/F)^2.
    """

    decay: NDArray[np.float64]
    rise: NDArray[np.float64]
    step_decay: NDArray[np.float64]
    step_rise: NDArray[np.float64]
    noise_variance: NDArray[np.float64]
    drive_variance: NDArray[np.float64]
    baseline_variance: NDArray[np.float64]


_DECAY, _RISE, _STEP_DECAY, _STEP_RISE, _NOISE, _DRIVE, _BASELINE = (BLOCK * field for field in range(7))
_U, _V, _B, _UU, _UV, _UB, _VV, _VB, _BB = (BLOCK * field for field in range(7, 16))
_GAIN_U, _GAIN_V, _GAIN_B, _INNOVATION, _PRECISION = (BLOCK * field for field in range(16, 21))
_N_FIELDS = 21
CALCIUM_FIELDS, BASELINE_FIELD = (_U, _V), _B
"""Where in the state of a block u and v, and b, stand."""
_CROSS, _LAG = BLOCK * _N_FIELDS, BLOCK * 3  # where the covariances with the drives begin, and how far apart they are


class DriveState(NamedTuple):
    """What the smoother knows, float64.

    ``cells`` : (n_blocks, (21 + 3 n_lags) BLOCK), of the cells of a block, field after field: the seven constants;
    mean of u, v, b; covariance uu, uv, ub, vv, vb, bb; gains of u, v, b, innovation and one over its variance (0
    without a sample); then for every lag the covariance of u, v, b with the drive so many frames ago. One array, fields
    at constant distances: so the compiler can prove that they do not overlap and work on several cells at once.
    ``drive`` : (n_lags, n_rois): drive of the frame `lag` ago, dF/F. ``evidence`` : (n_rois,): log likelihood of the
    samples that `drive_run` was given.
    """

    cells: NDArray[np.float64]
    drive: NDArray[np.float64]
    evidence: NDArray[np.float64]


FIRST_BASELINE_SPREAD = 2.0  # noise standard deviations: what is known of the baseline before the first sample


def empty_drive_state(n_rois: int, n_lags: int, parameters: DriveParameters) -> DriveState:
    """State before the first sample: no calcium, baseline 0 give or take two standard deviations of the noise."""
    n_blocks = -(-n_rois // BLOCK)
    by_field = np.zeros((_N_FIELDS + 3 * n_lags, n_blocks * BLOCK))
    by_field[: len(parameters), :n_rois] = parameters
    by_field[_UU // BLOCK] = by_field[_DRIVE // BLOCK]
    by_field[_BB // BLOCK] = FIRST_BASELINE_SPREAD**2 * by_field[_NOISE // BLOCK]
    cells = by_field.reshape(len(by_field), n_blocks, BLOCK).swapaxes(0, 1).reshape(n_blocks, -1)
    return DriveState(np.ascontiguousarray(cells), np.zeros((n_lags, n_rois)), np.zeros(n_rois))


_F4 = types.Array(types.float32, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_VECTOR = types.Array(types.float64, 1, "C")
_MATRIX = types.Array(types.float64, 2, "C")
DRIVE_STATE = types.NamedTuple((_MATRIX, _MATRIX, _VECTOR), DriveState)


@njit(**NO_ALLOCATION)
def _filter(y, usable, cell):
    """One Kalman step of u, v, b of a block of cells."""
    for n in range(y.shape[0]):
        d, r = cell[_DECAY + n], cell[_RISE + n]
        gu, gv, q = cell[_STEP_DECAY + n], cell[_STEP_RISE + n], cell[_DRIVE + n]
        u, v, b = d * cell[_U + n], r * cell[_V + n], cell[_B + n]
        uu = d * d * cell[_UU + n] + q * gu * gu
        uv = d * r * cell[_UV + n] + q * gu * gv
        ub = d * cell[_UB + n]
        vv = r * r * cell[_VV + n] + q * gv * gv
        vb = r * cell[_VB + n]
        bb = cell[_BB + n] + cell[_BASELINE + n]
        hu, hv, hb = uu - uv + ub, uv - vv + vb, ub - vb + bb
        is_there = usable[n] == 1
        innovation = np.float64(y[n]) - (u - v + b) if is_there else 0.0
        precision = 1.0 / (hu - hv + hb + cell[_NOISE + n]) if is_there else 0.0
        ku, kv, kb = hu * precision, hv * precision, hb * precision
        cell[_U + n] = u + ku * innovation
        cell[_V + n] = v + kv * innovation
        cell[_B + n] = b + kb * innovation
        cell[_UU + n] = uu - ku * hu
        cell[_UV + n] = uv - ku * hv
        cell[_UB + n] = ub - ku * hb
        cell[_VV + n] = vv - kv * hv
        cell[_VB + n] = vb - kv * hb
        cell[_BB + n] = bb - kb * hb
        cell[_GAIN_U + n], cell[_GAIN_V + n], cell[_GAIN_B + n] = ku, kv, kb
        cell[_INNOVATION + n], cell[_PRECISION + n] = innovation, precision


@njit(**NO_ALLOCATION)
def _begin_drive(cell, drive):
    """What the newest sample says of the drive of its own frame."""
    for n in range(drive.shape[0]):
        cu = cell[_DRIVE + n] * cell[_STEP_DECAY + n]
        cv = cell[_DRIVE + n] * cell[_STEP_RISE + n]
        seen = cu - cv
        drive[n] = seen * (cell[_INNOVATION + n] * cell[_PRECISION + n])
        cell[_CROSS + n] = cu - cell[_GAIN_U + n] * seen
        cell[_CROSS + BLOCK + n] = cv - cell[_GAIN_V + n] * seen
        cell[_CROSS + 2 * BLOCK + n] = -cell[_GAIN_B + n] * seen


@njit(**NO_ALLOCATION)
def _age_drive(cell, before, younger, after, drive):
    """Let a drive grow older by a frame, and the newest sample correct it."""
    for n in range(drive.shape[0]):
        cu = cell[_DECAY + n] * before[n]
        cv = cell[_RISE + n] * before[BLOCK + n]
        cb = before[2 * BLOCK + n]
        seen = cu - cv + cb
        drive[n] = younger[n] + seen * (cell[_INNOVATION + n] * cell[_PRECISION + n])
        after[n] = cu - cell[_GAIN_U + n] * seen
        after[BLOCK + n] = cv - cell[_GAIN_V + n] * seen
        after[2 * BLOCK + n] = cb - cell[_GAIN_B + n] * seen


@njit(types.void(_F4, _U1, _MATRIX, _MATRIX), **NO_ALLOCATION)
def _step(y, usable, cells, drive):
    for block in range(cells.shape[0]):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, y.shape[0]))
        cell = cells[block]
        _filter(y[here], usable[here], cell)
        for lag in range(drive.shape[0] - 1, 0, -1):
            at = _CROSS + lag * _LAG
            _age_drive(cell, cell[at - _LAG : at], drive[lag - 1, here], cell[at:], drive[lag, here])
        _begin_drive(cell, drive[0, here])


def drive_step(y: NDArray[np.float32], usable: NDArray[np.uint8], state: DriveState) -> None:
    """Advance the smoother of all cells by one frame.

    Parameters
    ----------
    y : float32 ndarray, shape (n_rois,), dF/F, read
        Where `usable` is 0 it is not looked at.
    usable : uint8 ndarray, shape (n_rois,), read
        1 where there is a sample; elsewhere the state advances by its dynamics.
    state : DriveState, overwritten
        ``drive[d]`` is the mean of the drive d frames ago given all samples so far. The evidence is left alone.

    Notes
    -----
    x_t = F x_{t-1} + g w_t, w ~ N(0, q); y = u - v + b + noise. Kalman filter with the delayed drives as further,
    never written out, components of the state: their means move by Cov(w_{t-k}, y_t) e / S, and that covariance
    follows x. Anderson and Moore, Optimal Filtering (1979), chapter 7, for the disturbance instead of the state. The
    covariances are computed anew every frame, so that missing samples need no special case.
    """
    # One by one: a named tuple costs as much at the border of compiled code as a hundred cells.
    _step(y, usable, state.cells, state.drive)


@njit(**NO_ALLOCATION)
def _add_evidence(cells, evidence):
    """Log likelihood of the newest samples."""
    for n in range(evidence.shape[0]):
        cell = cells[n // BLOCK]
        precision = cell[_PRECISION + n % BLOCK]
        if precision > 0.0:
            innovation = cell[_INNOVATION + n % BLOCK]
            evidence[n] -= 0.5 * (innovation * innovation * precision - np.log(precision))


@njit(
    types.void(
        types.Array(types.float32, 2, "C"),
        types.Array(types.uint8, 2, "C"),
        types.int64,
        DRIVE_STATE,
        types.Array(types.float32, 2, "C"),
    ),
    **NO_ALLOCATION,
)
def drive_run(y, usable, lag, state, drive_out):
    """`drive_step` over a whole recording, for calibration.

    Parameters
    ----------
    y : float32 ndarray, shape (n_frames, n_rois), dF/F, read
    usable : uint8 ndarray, shape (n_frames, n_rois), read
    lag : int
        Frames.
    state : DriveState, overwritten
    drive_out : float32 ndarray, shape (n_frames, n_rois), dF/F, overwritten
        Drive of the frame `lag` before each.
    """
    cells, drive, evidence = state
    for t in range(y.shape[0]):
        _step(y[t], usable[t], cells, drive)
        _add_evidence(cells, evidence)
        for n in range(y.shape[1]):
            drive_out[t, n] = drive[lag, n]

"""Fixed-lag Kalman smoother of the drive: how much every cell's calcium was pushed, a few frames ago."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION


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


class DriveState(NamedTuple):
    """What the smoother knows, float64.

    ``mean`` : shape (3, n_rois): u, v, b. ``covariance`` : (6, n_rois): uu, uv, ub, vv, vb, bb. ``drive`` :
    (n_lags, n_rois): drive of the frame `lag` ago, dF/F. ``cross`` : (3 n_lags, n_rois): covariance of u, v, b with
    that drive. ``gain`` : (4, n_rois), scratch. ``evidence`` : (n_rois,): log likelihood of all samples so far.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    drive: NDArray[np.float64]
    cross: NDArray[np.float64]
    gain: NDArray[np.float64]
    evidence: NDArray[np.float64]


FIRST_BASELINE_SPREAD = 2.0  # noise standard deviations: what is known of the baseline before the first sample


def empty_drive_state(n_rois: int, n_lags: int, parameters: DriveParameters) -> DriveState:
    """State before the first sample: no calcium, baseline 0 give or take two standard deviations of the noise."""
    state = DriveState(
        mean=np.zeros((3, n_rois)),
        covariance=np.zeros((6, n_rois)),
        drive=np.zeros((n_lags, n_rois)),
        cross=np.zeros((3 * n_lags, n_rois)),
        gain=np.zeros((4, n_rois)),
        evidence=np.zeros(n_rois),
    )
    state.covariance[5] = FIRST_BASELINE_SPREAD**2 * parameters.noise_variance
    state.covariance[0] = parameters.drive_variance
    return state


_F4 = types.Array(types.float32, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_VECTOR = types.Array(types.float64, 1, "C")
_MATRIX = types.Array(types.float64, 2, "C")
DRIVE_PARAMETERS = types.NamedUniTuple(_VECTOR, 7, DriveParameters)
DRIVE_STATE = types.NamedTuple((_MATRIX, _MATRIX, _MATRIX, _MATRIX, _MATRIX, _VECTOR), DriveState)


@njit(**NO_ALLOCATION)
def _filter(y, usable, parameters, mean, covariance, gain, evidence):
    """One Kalman step of u, v, b; ``gain`` becomes K and the innovation over its variance, 0 without a sample."""
    decay, rise, step_decay, step_rise, noise, drive_variance, baseline_variance = parameters
    for n in range(y.shape[0]):
        d, r = decay[n], rise[n]
        gu, gv, q = step_decay[n], step_rise[n], drive_variance[n]
        u, v, b = d * mean[0, n], r * mean[1, n], mean[2, n]
        uu = d * d * covariance[0, n] + q * gu * gu
        uv = d * r * covariance[1, n] + q * gu * gv
        ub = d * covariance[2, n]
        vv = r * r * covariance[3, n] + q * gv * gv
        vb = r * covariance[4, n]
        bb = covariance[5, n] + baseline_variance[n]
        hu, hv, hb = uu - uv + ub, uv - vv + vb, ub - vb + bb
        variance = hu - hv + hb + noise[n]
        e = 0.0
        ku = kv = kb = 0.0
        if usable[n] == 1:
            ku, kv, kb = hu / variance, hv / variance, hb / variance
            innovation = np.float64(y[n]) - (u - v + b)
            e = innovation / variance
            evidence[n] -= 0.5 * (innovation * e + np.log(variance))
        mean[0, n] = u + ku * variance * e
        mean[1, n] = v + kv * variance * e
        mean[2, n] = b + kb * variance * e
        covariance[0, n] = uu - ku * hu
        covariance[1, n] = uv - ku * hv
        covariance[2, n] = ub - ku * hb
        covariance[3, n] = vv - kv * hv
        covariance[4, n] = vb - kv * hb
        covariance[5, n] = bb - kb * hb
        gain[0, n], gain[1, n], gain[2, n], gain[3, n] = ku, kv, kb, e


@njit(**NO_ALLOCATION)
def _smooth(parameters, drive, cross, gain):
    """Shift the drives by one frame, add the newest, and let the innovation correct them all."""
    n_lags, n_rois = drive.shape
    for k in range(n_lags - 1, -1, -1):
        at, before = 3 * k, 3 * (k - 1)
        for n in range(n_rois):
            if k > 0:
                w = drive[k - 1, n]
                cu = parameters.decay[n] * cross[before, n]
                cv = parameters.rise[n] * cross[before + 1, n]
                cb = cross[before + 2, n]
            else:
                w = 0.0
                cu = parameters.drive_variance[n] * parameters.step_decay[n]
                cv = parameters.drive_variance[n] * parameters.step_rise[n]
                cb = 0.0
            seen = cu - cv + cb
            drive[k, n] = w + seen * gain[3, n]
            cross[at, n] = cu - gain[0, n] * seen
            cross[at + 1, n] = cv - gain[1, n] * seen
            cross[at + 2, n] = cb - gain[2, n] * seen


@njit(types.void(_F4, _U1, DRIVE_PARAMETERS, DRIVE_STATE), **NO_ALLOCATION)
def drive_step(y, usable, parameters, state):
    """Advance the smoother of all cells by one frame.

    Parameters
    ----------
    y : float32 ndarray, shape (n_rois,), dF/F, read
        Where `usable` is 0 it is not looked at.
    usable : uint8 ndarray, shape (n_rois,), read
        1 where there is a sample; elsewhere the state advances by its dynamics.
    parameters : DriveParameters, read
    state : DriveState, overwritten
        ``drive[d]`` is the mean of the drive d frames ago given all samples so far.

    Notes
    -----
    x_t = F x_{t-1} + g w_t, w ~ N(0, q); y = u - v + b + noise. Kalman filter with the delayed drives as further,
    never written out, components of the state: their means move by Cov(w_{t-k}, y_t) e / S, and that covariance
    follows x. Anderson and Moore, Optimal Filtering (1979), chapter 7, for the disturbance instead of the state.
    """
    mean, covariance, drive, cross, gain, evidence = state
    _filter(y, usable, parameters, mean, covariance, gain, evidence)
    _smooth(parameters, drive, cross, gain)


@njit(
    types.void(
        types.Array(types.float32, 2, "C"),
        types.Array(types.uint8, 2, "C"),
        types.int64,
        DRIVE_PARAMETERS,
        DRIVE_STATE,
        types.Array(types.float32, 2, "C"),
    ),
    **NO_ALLOCATION,
)
def drive_run(y, usable, lag, parameters, state, drive_out):
    """`drive_step` over a whole recording, for calibration.

    Parameters
    ----------
    y : float32 ndarray, shape (n_frames, n_rois), dF/F, read
    usable : uint8 ndarray, shape (n_frames, n_rois), read
    lag : int
        Frames.
    parameters : DriveParameters, read
    state : DriveState, overwritten
    drive_out : float32 ndarray, shape (n_frames, n_rois), dF/F, overwritten
        Drive of the frame `lag` before each.
    """
    mean, covariance, drive, cross, gain, evidence = state
    for t in range(y.shape[0]):
        _filter(y[t], usable[t], parameters, mean, covariance, gain, evidence)
        _smooth(parameters, drive, cross, gain)
        for n in range(y.shape[1]):
            drive_out[t, n] = drive[lag, n]

"""Constants of the drive smoother of every cell, from its own past under the priors of the indicator library."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import EVENT_RATE_HZ, DriveConstants
from rt_engine.kernels.drive_smoother import DriveParameters, drive_run, empty_drive_state
from rt_engine.models.detection import event_threshold
from rt_engine.models.indicators import Indicator
from rt_engine.models.kinetics_fit import CERTAIN_Z, IsolatedEvents, fit_amplitude
from rt_engine.models.probability_table import probability_tables
from rt_engine.pipeline.template_bank import spike_template

FloatArray = NDArray[np.float64]

DECAY_FACTORS = (1.25, 2.5, 5.0)  # of the library's decay of one spike: trains decay more slowly
DRIVE_RATIOS = (0.01, 0.03, 0.1, 0.3)  # variance of the drive of a frame at 30 Hz over that of the noise
BASELINE_STEP = 0.03  # of the noise: random walk of the baseline per frame at 30 Hz
N_FITTED = 6  # frames of the template that the kernel of two exponentials is fitted to
REFRACTORY_S = 0.1
USUAL_FALSE_ALARMS_PER_MIN = 0.1
SMALLEST_PROBABILITY = 0.35  # of an event where no rate of false ones is asked for
SMALLEST_VOTED = 0.25  # where a network votes: it tells smaller probabilities of what it has not seen
SIGMA_ERROR = 1.3  # standard error of `step_sigma`, relative, times the root of the number of frames
HOLD_OFF_DECAYS = 3.0  # decay times of one spike for which the baseline stands still after an event
MIN_FRAMES = 12
N_TAPS = 100  # samples after which the smoother has forgotten all but the baseline
_MAD_TO_SIGMA = 1.4826022185056018
SMALLEST_SIGMA = 1e-4  # dF/F


def drive_kernel(tau_rise_s: float, tau_s: float, frame_rate_hz: float) -> tuple[float, float, float, float]:
    """What u and v keep per frame, and what one spike of unit peak adds to them, spike and scan phase averaged.

    Returns
    -------
    decay, rise, step_decay, step_rise : float
    """
    template = spike_template(tau_rise_s, tau_s, frame_rate_hz, N_FITTED)
    decay, rise = np.exp(-1 / (tau_s * frame_rate_hz)), np.exp(-1 / (tau_rise_s * frame_rate_hz))
    frames = np.arange(N_FITTED)
    columns = np.stack([decay**frames, -(rise**frames)], axis=1)
    step_decay, step_rise = np.linalg.lstsq(columns, template, rcond=None)[0]
    return float(decay), float(rise), float(step_decay), float(step_rise)


def step_sigma(dff: NDArray[np.float32], usable: NDArray[np.bool_]) -> FloatArray:
    """Noise of a frame from the median absolute deviation of first differences, shape (n_rois,)."""
    sigma = np.empty(dff.shape[1])
    for n in range(dff.shape[1]):
        step = np.diff(dff[usable[:, n], n].astype(np.float64))
        sigma[n] = _MAD_TO_SIGMA * np.median(np.abs(step - np.median(step))) / np.sqrt(2) if len(step) else 0.0
    return np.maximum(sigma, SMALLEST_SIGMA)


class DriveFit(NamedTuple):
    """``constants``; ``taps`` : float64 ndarray, shape (N_TAPS, n_rois), newest sample last: what the settled smoother
    makes of dF/F in noise standard deviations, in those of its output (unit norm); ``rho`` : float64 ndarray, shape
    (n_rois,), lag-1 correlation of its output under white noise.
    """

    constants: DriveConstants
    taps: FloatArray
    rho: FloatArray


def fit_drive(
    dff: NDArray[np.float32],
    usable: NDArray[np.bool_],
    *,
    frame_rate_hz: float,
    prior: Indicator,
    hold_frames: int,
    false_alarms_per_min: float | None,
    sigma_dff: FloatArray | None = None,
    false_event_cost: float | None = None,
    voted: bool = False,
) -> DriveFit:
    """Fit every cell by itself.

    Parameters
    ----------
    dff : float32 ndarray, shape (n_frames, n_rois), read
    usable : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float
    prior : Indicator
    hold_frames : int
    false_alarms_per_min : float or None
        Per cell; None: events are told by their probability instead, but with a hold of 0 at the usual rate.

    sigma_dff : float64 ndarray, shape (n_rois,), optional
        Noise of a frame, if known better than first differences tell it.
    false_event_cost : float, optional
        Of a false event, in units of that of a missed one: an event's probability must reach cost / (1 + cost), where
        the expected costs of telling and of not telling are the same. None: `SMALLEST_PROBABILITY` where no rate of
        false events is asked for, else any.
    voted : bool
        A network votes: `SMALLEST_VOTED` is meant above.

    Returns
    -------
    DriveFit

    Notes
    -----
    Decay time and variance of the drive are those of the largest marginal likelihood on a grid; the noise of the
    smoothed drive is that of white noise through the filter. The threshold is raised by what a noise measured on so few
    frames may be wrong. Spike size as in `kinetics_fit.fit_amplitude`.
    """
    sigma = step_sigma(dff, usable) if sigma_dff is None else sigma_dff
    y = np.ascontiguousarray(dff, np.float32)
    flags = np.ascontiguousarray(usable, np.uint8)
    n_rois = y.shape[1]
    best = np.full(n_rois, -np.inf)
    chosen = np.zeros(n_rois, np.int64)
    kernel_of: list[tuple[DriveParameters, SettledFilter]] = []
    drive = np.zeros_like(y)
    kept = np.zeros_like(y)
    for factor in DECAY_FACTORS:
        for ratio in DRIVE_RATIOS:
            parameters = _smoother(sigma, prior.tau_rise_s, prior.tau_s * factor, ratio, frame_rate_hz)
            state = empty_drive_state(n_rois, hold_frames + 1, parameters)
            drive_run(y, flags, hold_frames, state, drive)
            better = state.evidence > best
            best[better] = state.evidence[better]
            chosen[better] = len(kernel_of)
            kept[:, better] = drive[:, better]
            found = settled_filter(prior.tau_rise_s, prior.tau_s * factor, ratio, frame_rate_hz, hold_frames)
            kernel_of.append((parameters, found))
    smoother = {
        f: np.array([getattr(kernel_of[c][0], f)[n] for n, c in enumerate(chosen)]) for f in DriveParameters._fields
    }
    noise, gain, rho = (np.array([getattr(kernel_of[c][1], f) for c in chosen]) for f in ("noise", "gain", "rho"))
    noise_dff = noise * sigma
    amplitude = _amplitude(kept, usable, noise_dff, gain, prior)
    tables, calibration = probability_tables(hold_frames)
    # Without a frame to wait for, the probability seldom knows which frame a spike is in.
    if false_alarms_per_min is None and false_event_cost is None and hold_frames == 0:
        false_alarms_per_min = USUAL_FALSE_ALARMS_PER_MIN
    usual = SMALLEST_VOTED if voted else SMALLEST_PROBABILITY
    smallest = usual if false_alarms_per_min is None else 0.0
    if false_event_cost is not None:
        smallest = false_event_cost / (1 + false_event_cost)
    constants = DriveConstants(
        **smoother,
        noise_dff=noise_dff,
        threshold=_thresholds(false_alarms_per_min, frame_rate_hz, rho, usable),
        smallest_probability=np.full(n_rois, smallest),
        unit_dff=prior.amplitude_dff * gain,
        response=gain,
        gain=amplitude * gain / noise_dff,
        log_prior=np.full(n_rois, np.log(EVENT_RATE_HZ / frame_rate_hz)),
        refractory_frames=np.full(n_rois, int(REFRACTORY_S * frame_rate_hz + 1e-6), np.int64),
        hold_off_frames=np.full(n_rois, int(np.ceil(HOLD_OFF_DECAYS * prior.tau_s * frame_rate_hz)), np.int64),
        tables=tables,
        calibration=calibration,
    )
    impulse = np.stack([kernel_of[c][1].impulse for c in chosen], axis=1)
    return DriveFit(constants, np.ascontiguousarray(impulse[::-1] / noise), rho)


def _smoother(
    sigma: FloatArray, tau_rise_s: float, tau_s: float, ratio: float, frame_rate_hz: float
) -> DriveParameters:
    decay, rise, step_decay, step_rise = drive_kernel(tau_rise_s, tau_s, frame_rate_hz)
    ones = np.ones(len(sigma))
    return DriveParameters(
        decay=decay * ones,
        rise=rise * ones,
        step_decay=step_decay * ones,
        step_rise=step_rise * ones,
        noise_variance=sigma**2,
        drive_variance=ratio * sigma**2,
        baseline_variance=BASELINE_STEP**2 * (30.0 / frame_rate_hz) * sigma**2,
    )


class SettledFilter(NamedTuple):
    """Of the smoother long after its start, for noise of unit variance: standard deviation of the drive under noise
    alone, mean drive told for a spike of unit peak, lag-1 correlation of the drive under noise; ``impulse`` : float64
    ndarray, shape (N_TAPS,), drive told after a sample of 1.
    """

    noise: float
    gain: float
    rho: float
    impulse: FloatArray


@lru_cache(maxsize=512)
def settled_filter(
    tau_rise_s: float, tau_s: float, ratio: float, frame_rate_hz: float, hold_frames: int
) -> SettledFilter:
    """Response of the smoother to an impulse and to a spike."""
    parameters = _smoother(np.ones(2), tau_rise_s, tau_s, ratio, frame_rate_hz)
    state = empty_drive_state(2, hold_frames + 1, parameters)
    n_settle, n_after = 400, 400
    y = np.zeros((n_settle + n_after, 2), np.float32)
    y[n_settle, 0] = 1.0
    y[n_settle:, 1] = spike_template(tau_rise_s, tau_s, frame_rate_hz, n_after)
    out = np.zeros_like(y)
    drive_run(y, np.ones(y.shape, np.uint8), hold_frames, state, out)
    impulse = out[n_settle:, 0].astype(np.float64)
    variance = float(impulse @ impulse)
    rho = float(impulse[1:] @ impulse[:-1]) / variance
    return SettledFilter(np.sqrt(variance), float(out[n_settle + hold_frames, 1]), rho, impulse[:N_TAPS])


def _thresholds(
    false_alarms_per_min: float | None, frame_rate_hz: float, rho: FloatArray, usable: NDArray[np.bool_]
) -> FloatArray:
    """Of z, of every cell; cells of one filter and about as many frames share one."""
    if false_alarms_per_min is None:
        return np.zeros(len(rho))  # the probability decides
    error = SIGMA_ERROR / np.sqrt(np.maximum(usable.sum(axis=0), MIN_FRAMES))
    pairs = np.stack([rho, np.round(error, 4)], axis=1)
    alike, which = np.unique(pairs, axis=0, return_inverse=True)
    found = event_threshold(false_alarms_per_min, frame_rate_hz, alike[:, 0], relative_error=alike[:, 1])
    return np.asarray(found[which.ravel()])


def _amplitude(
    drive: NDArray[np.float32], usable: NDArray[np.bool_], noise: FloatArray, gain: FloatArray, prior: Indicator
) -> FloatArray:
    """Peak dF/F of one spike of every cell, from the crests of its drive that noise cannot make."""
    z = np.where(usable, drive, 0.0) / noise
    crest = np.zeros(z.shape, np.bool_)
    crest[1:-1] = (z[1:-1] >= CERTAIN_Z) & (z[1:-1] > z[:-2]) & (z[1:-1] >= z[2:])
    error = noise / gain
    found = np.empty(len(noise))
    for n in range(len(noise)):  # one by one: what one cell is told must not depend on the rows beside it
        size = drive[crest[:, n], n] / gain[n]
        events = IsolatedEvents(np.zeros(len(size), np.int64), np.zeros((len(size), 1)))
        alone = error[n : n + 1]
        found[n] = fit_amplitude(events, size, np.full(len(size), error[n]), CERTAIN_Z * alone, prior.amplitude_dff)[0]
    return found

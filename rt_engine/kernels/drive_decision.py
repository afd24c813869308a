"""From the smoothed drive to spike rate, probability and events, for all cells of a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import CENSORED, GOOD

RATE_FLOOR = 1.2  # noise standard deviations of drive that are taken for noise
FIRST_BURST, BURST_RATIO = 0.6, 0.4  # prior of one spike in a frame with any, and of each more
LARGEST_BURST = 6
ONSET_SPAN = 2  # frames after the one decided on among which the spike may stand
LOG_FIRST, LOG_RATIO, LOG_2 = np.log(FIRST_BURST), np.log(BURST_RATIO), np.log(2.0)
NO_ODDS = -1e3
N_KNOTS = 13
_FIRST_ODDS, _FIRST_Z, _ODDS_PER_KNOT = -10.0, -3.0, 0.5
KNOT_FIRST = np.array([_FIRST_ODDS, _FIRST_Z, _FIRST_Z, _FIRST_Z])  # of the tables of odds, z, z after, z before
KNOT_STEP = np.array([1.0 / _ODDS_PER_KNOT, 1.0, 1.0, 1.0])


class DriveDecisionParameters(NamedTuple):
    """Constants of every cell, read.

    float64 ndarrays, shape (n_rois,): ``noise_dff`` (standard deviation of the smoothed drive under noise alone),
    ``threshold`` (of z) and ``smallest_probability``: an event needs both; ``unit_dff`` (drive that the rate takes for
    one spike: of the library, lest it change while amplitudes are learned), ``response`` (drive told for a spike of
    unit peak), ``gain`` (mean z of one spike), ``log_prior`` (of an event in a frame). int64: ``refractory_frames``,
    and ``hold_off_frames`` that the baseline stands still after an event. ``tables`` : float64, shape (4, N_KNOTS):
    what the odds of the frame, z, and z of the frames after and before add to the log odds; ``calibration`` : float64,
    shape (2, n_knots): log odds, ascending, and the probability that they are worth. ``roi_id`` : uint32, shape
    (n_rois,).
    """

    noise_dff: NDArray[np.float64]
    threshold: NDArray[np.float64]
    smallest_probability: NDArray[np.float64]
    unit_dff: NDArray[np.float64]
    response: NDArray[np.float64]
    gain: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    refractory_frames: NDArray[np.int64]
    hold_off_frames: NDArray[np.int64]
    tables: NDArray[np.float64]
    calibration: NDArray[np.float64]
    roi_id: NDArray[np.uint32]


class DriveDecisionState(NamedTuple):
    """``armed`` : uint8 ndarray, shape (n_rois,), 1 after there was no reason for an event. ``since_event`` : int64,
    frames since the last event. ``hold_off`` : int64, frames for which the baseline still stands still.
    ``log_odds_before``, ``z_before`` : float64, of a spike in the frame before, and z then.
    """

    armed: NDArray[np.uint8]
    since_event: NDArray[np.int64]
    hold_off: NDArray[np.int64]
    log_odds_before: NDArray[np.float64]
    z_before: NDArray[np.float64]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_F8_MATRIX = types.Array(types.float64, 2, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I8 = types.Array(types.int64, 1, "C")
_U4 = types.Array(types.uint32, 1, "C")
_PARAMETERS = types.NamedTuple(
    (_F8, _F8, _F8, _F8, _F8, _F8, _F8, _I8, _I8, _F8_MATRIX, _F8_MATRIX, _U4), DriveDecisionParameters
)
_STATE = types.NamedTuple((_U1, _I8, _I8, _F8, _F8), DriveDecisionState)
_EVENTS = types.Array(from_dtype(EVENT_DTYPE), 1, "C")
EVENT_CENSORED = np.uint32(EventFlag.CENSORED.value)


def empty_decision_state(n_rois: int) -> DriveDecisionState:
    """State before the first sample."""
    return DriveDecisionState(
        armed=np.ones(n_rois, np.uint8),
        since_event=np.full(n_rois, 1 << 30, np.int64),
        hold_off=np.zeros(n_rois, np.int64),
        log_odds_before=np.full(n_rois, NO_ODDS),
        z_before=np.zeros(n_rois),
    )


@njit(**NO_ALLOCATION)
def log_evidence(z, gain):
    """Logarithm of the likelihood ratio against no spike of the best number of spikes, given z.

    A parabola in the number: the best is one of the two next to its crest.
    """
    per_gain = 1.0 / gain
    crest = (z + LOG_RATIO * per_gain) * per_gain
    n = np.floor(max(1.0, min(crest, LARGEST_BURST - 1.0)))
    fewer = n * (LOG_RATIO + gain * (z - 0.5 * n * gain))
    n += 1.0
    more = n * (LOG_RATIO + gain * (z - 0.5 * n * gain))
    return LOG_FIRST - LOG_RATIO + max(fewer, more)


@njit(**NO_ALLOCATION)
def _features(n, hold, drive, parameters, state):
    """Odds of the frame against its neighbours', z, z after and z before of a cell; remembers what the next needs."""
    gain, log_prior = parameters.gain[n], parameters.log_prior[n]
    per_noise = 1.0 / parameters.noise_dff[n]
    z = drive[hold, n] * per_noise
    here = log_prior + log_evidence(z, gain)
    z_after, after = z, here - LOG_2
    if hold > 0:
        z_after = drive[hold - 1, n] * per_noise
        # No number of spikes has more evidence than z^2 / 2: mostly too little to be worth working out.
        may_compete = 0.5 * z_after * z_after + log_prior > 0.0
        after = log_prior + log_evidence(z_after, gain) if may_compete else 0.0
    odds = here - max(0.0, state.log_odds_before[n], after)
    z_before = state.z_before[n]
    state.log_odds_before[n] = here
    state.z_before[n] = z
    return odds, z, z_after, z_before


@njit(types.void(types.int64, _F8_MATRIX, _PARAMETERS, _STATE, _F8_MATRIX), **NO_ALLOCATION)
def decision_features(hold, drive, parameters, state, features_out):
    """What the probability is made of, for its fit.

    Parameters
    ----------
    hold : int
    drive : float64 ndarray, shape (hold + 1, n_rois), dF/F, read
    parameters : DriveDecisionParameters, read
    state : DriveDecisionState, overwritten
    features_out : float64 ndarray, shape (n_rois, 4), overwritten
        Log odds of the frame against its neighbours, z, z of the frame after, z of the frame before.
    """
    for n in range(drive.shape[1]):
        odds, z, z_after, z_before = _features(n, hold, drive, parameters, state)
        features_out[n, 0] = odds
        features_out[n, 1] = z
        features_out[n, 2] = z_after
        features_out[n, 3] = z_before


@njit(**NO_ALLOCATION)
def _look_up(at, table):
    """Value of a table `at` knots from its first, constant beyond its ends."""
    at = min(max(at, 0.0), N_KNOTS - 1.0)
    left = int(min(at, N_KNOTS - 2.0))
    return table[left] + (at - left) * (table[left + 1] - table[left])


@njit(**NO_ALLOCATION)
def _score(odds, z, z_after, z_before, tables):
    """What the four tables add to the log odds of the prior."""
    score = _look_up((odds - _FIRST_ODDS) * _ODDS_PER_KNOT, tables[0]) + _look_up(z - _FIRST_Z, tables[1])
    return score + _look_up(z_after - _FIRST_Z, tables[2]) + _look_up(z_before - _FIRST_Z, tables[3])


@njit(**NO_ALLOCATION)
def _onset(n, hold, drive):
    """How many frames ago the drive was largest, at most `ONSET_SPAN` frames after the oldest.

    The longer the hold, the more of a spike the smoother sees in the frames before it.
    """
    best = hold
    for k in range(hold - 1, max(-1, hold - ONSET_SPAN - 1), -1):
        if drive[k, n] > drive[best, n]:
            best = k
    return best


@njit(**NO_ALLOCATION)
def interpolate(x, knots):
    """Value at `x` of the line through the knots (x in row 0, ascending, value in row 1), constant beyond its ends."""
    last = knots.shape[1] - 1
    if x <= knots[0, 0]:
        return knots[1, 0]
    for k in range(1, last + 1):
        if x < knots[0, k]:
            share = (x - knots[0, k - 1]) / (knots[0, k] - knots[0, k - 1])
            return knots[1, k - 1] + share * (knots[1, k] - knots[1, k - 1])
    return knots[1, last]


@njit(
    types.int64(types.int64, types.int64, types.int64, _F8_MATRIX, _U1, _PARAMETERS, _STATE, _F4, _F4, _F4, _EVENTS),
    **NO_ALLOCATION,
)
def decide_drive(frame, hold, flags, drive, code, parameters, state, rate_out, z_out, probability_out, events_out):
    """Rates, probabilities and events of a frame.

    Parameters
    ----------
    frame : int
        Number of this frame.
    hold : int
        Frames between a spike and the decision.
    flags : int
        `EventFlag` bits that every event of this frame carries.
    drive : float64 ndarray, shape (hold + 1, n_rois), dF/F, read
        Drive of the frame `lag` ago, from the smoother.
    code : uint8 ndarray, shape (n_rois,), read
        Of the newest sample; without one there is no event.
    parameters : DriveDecisionParameters, read
    state : DriveDecisionState, overwritten
    rate_out : float32 ndarray, shape (n_rois,), overwritten
        Spikes in the frame `hold` ago: geometric mean of the probability and of what the drive exceeds noise by, in
        spikes. The root also because indicators answer bursts more than linearly.
    z_out : float32 ndarray, shape (n_rois,), overwritten
        Drive in noise standard deviations.
    probability_out : float32 ndarray, shape (n_rois,), overwritten
        Of a spike in the frame `hold` ago.
    events_out : EVENT_DTYPE ndarray, shape (n_rois,), overwritten
        All fields but the time.

    Returns
    -------
    int
        Number of events: the first so many records are written.

    Notes
    -----
    An event begins where z reaches the threshold and the probability its smallest, having been below one of the two. It
    stands, and is as large as the drive is, where the drive is largest, there or up to two frames later. One spike
    lights neighbouring frames, so a frame's own likelihood ratio overstates that the spike was in it: the frames
    before and after compete for it. The logarithm of the odds is the sum of what four tables say of that ratio and of
    the three z, recalibrated.
    """
    n_events = 0
    for n in range(drive.shape[1]):
        odds, z, z_after, z_before = _features(n, hold, drive, parameters, state)
        z_out[n] = z
        score = parameters.log_prior[n] + _score(odds, z, z_after, z_before, parameters.tables)
        probability = interpolate(score, parameters.calibration)
        probability_out[n] = probability
        excess = (z - RATE_FLOOR) * parameters.noise_dff[n] / parameters.unit_dff[n]
        rate_out[n] = np.sqrt(max(0.0, excess) * probability)
        state.since_event[n] += 1
        state.hold_off[n] -= 1
        if z < parameters.threshold[n] or probability < parameters.smallest_probability[n]:
            state.armed[n] = 1
            continue
        sampled = code[n] == GOOD or code[n] == CENSORED
        if not sampled or state.armed[n] == 0 or state.since_event[n] <= parameters.refractory_frames[n]:
            continue
        state.armed[n] = 0
        state.since_event[n] = 0
        state.hold_off[n] = parameters.hold_off_frames[n]
        event = events_out[n_events]
        event.roi_id = parameters.roi_id[n]
        event.flags = flags | (EVENT_CENSORED if code[n] == CENSORED else np.uint32(0))
        onset = _onset(n, hold, drive)
        event.event_frame = frame - onset
        event.t_event_ns = 0
        event.n_spikes = max(1.0, np.round(drive[onset, n] / parameters.noise_dff[n] / parameters.gain[n]))
        event.probability = probability
        event.amplitude = drive[onset, n] / parameters.response[n]
        event.z = z
        n_events += 1
    return n_events

"""From the smoothed drive to spike rate, probability and events, for all cells of a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels import drive_evidence as evidence
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.pool_history import select_flagged
from rt_engine.kernels.sample_codes import CENSORED, GOOD

ONSET_SPAN = 2  # frames after the one decided on among which the spike may stand
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
    shape (2, n_knots >= 2): log odds, strictly ascending, and the probability that they are worth. ``roi_id`` :
    uint32, shape (n_rois,).
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
    ``log_odds_before``, ``z_before`` : float64, of a spike in the frame before, and z then. ``cell``, ``selected`` :
    scratch of `drive_evidence`. ``vote`` : float32, shape (2, n_rois): what the odds and the rate of the frame are
    to be multiplied by, of the network; shape (0, n_rois) without one.
    """

    armed: NDArray[np.uint8]
    since_event: NDArray[np.int64]
    hold_off: NDArray[np.int64]
    log_odds_before: NDArray[np.float64]
    z_before: NDArray[np.float64]
    cell: NDArray[np.float64]
    selected: NDArray[np.uint32]
    vote: NDArray[np.float32]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_F8_MATRIX = types.Array(types.float64, 2, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I8 = types.Array(types.int64, 1, "C")
_U4 = types.Array(types.uint32, 1, "C")
_PARAMETERS = types.NamedTuple(
    (_F8, _F8, _F8, _F8, _F8, _F8, _F8, _I8, _I8, _F8_MATRIX, _F8_MATRIX, _U4), DriveDecisionParameters
)
_F4_MATRIX = types.Array(types.float32, 2, "C")
_STATE = types.NamedTuple((_U1, _I8, _I8, _F8, _F8, _F8, _U4, _F4_MATRIX), DriveDecisionState)
_EVENTS = types.Array(from_dtype(EVENT_DTYPE), 1, "C")
EVENT_CENSORED = np.uint32(EventFlag.CENSORED.value)


def empty_decision_state(n_rois: int, *, votes: bool = False) -> DriveDecisionState:
    """State before the first sample; `votes`: with the vote of a network."""
    return DriveDecisionState(
        armed=np.ones(n_rois, np.uint8),
        since_event=np.full(n_rois, 1 << 30, np.int64),
        hold_off=np.zeros(n_rois, np.int64),
        log_odds_before=np.full(n_rois, NO_ODDS),
        z_before=np.zeros(n_rois),
        cell=np.zeros(evidence.N_FIELDS * evidence.BLOCK),
        selected=np.zeros(evidence.BLOCK, np.uint32),
        vote=np.ones((2 if votes else 0, n_rois), np.float32),
    )


@njit(**NO_ALLOCATION)
def _weigh(hold, here, drive, parameters, state):
    """Features of a block of cells, left in the scratch; remembers what the next frame needs."""
    noise, cell = parameters.noise_dff[here], state.cell
    evidence.in_noise(drive[hold, here], drive[max(hold - 1, 0), here], noise, cell)
    evidence.weigh(hold > 0, parameters.gain[here], parameters.log_prior[here], cell)
    evidence.compete(state.log_odds_before[here], state.z_before[here], cell)


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
    cell = state.cell
    for first in range(0, drive.shape[1], evidence.BLOCK):
        here = slice(first, min(first + evidence.BLOCK, drive.shape[1]))
        _weigh(hold, here, drive, parameters, state)
        told = features_out[here]
        for n in range(told.shape[0]):
            told[n, 0] = cell[evidence.ODDS + n]
            told[n, 1] = cell[evidence.Z + n]
            told[n, 2] = cell[evidence.Z_AFTER + n]
            told[n, 3] = cell[evidence.Z_BEFORE + n]


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
def _begin_event(n, frame, hold, flags, drive, code, parameters, state, event):
    """Write all fields but z, probability and time, and let the baseline stand still."""
    state.armed[n] = 0
    state.since_event[n] = 0
    state.hold_off[n] = parameters.hold_off_frames[n]
    event.roi_id = parameters.roi_id[n]
    event.flags = flags | (EVENT_CENSORED if code[n] == CENSORED else np.uint32(0))
    onset = _onset(n, hold, drive)
    event.event_frame = frame - onset
    event.t_event_ns = 0
    event.n_spikes = max(1.0, np.round(drive[onset, n] / parameters.noise_dff[n] / parameters.gain[n]))
    event.amplitude = drive[onset, n] / parameters.response[n]


@njit(**NO_ALLOCATION)
def _count_frame(since_event, hold_off):
    for n in range(since_event.shape[0]):
        since_event[n] += 1
    for n in range(hold_off.shape[0]):
        hold_off[n] -= 1


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
    the three z, recalibrated, and of the network's vote if there is one; with it the floor of the rate is rounded off
    and the rate multiplied by the network's. A drive that is not a number has rate, z and probability NaN, and no
    event.
    """
    n_events, n_rois = 0, drive.shape[1]
    noise, unit, cell = parameters.noise_dff, parameters.unit_dff, state.cell
    threshold, smallest = parameters.threshold, parameters.smallest_probability
    _count_frame(state.since_event, state.hold_off)
    for first in range(0, n_rois, evidence.BLOCK):
        here = slice(first, min(first + evidence.BLOCK, n_rois))
        _weigh(hold, here, drive, parameters, state)
        evidence.add_tables(_FIRST_ODDS, _ODDS_PER_KNOT, _FIRST_Z, parameters.tables, cell)
        evidence.calibrate(parameters.log_prior[here], parameters.calibration, cell)
        if state.vote.shape[0] == 2:
            evidence.vote(state.vote[0, here], cell)
            evidence.tell(noise[here], unit[here], cell, rate_out[here], z_out[here], probability_out[here])
            evidence.vote_rate(noise[here], unit[here], state.vote[1, here], cell, rate_out[here])
        else:
            evidence.tell(noise[here], unit[here], cell, rate_out[here], z_out[here], probability_out[here])
        evidence.find_reasons(threshold[here], smallest[here], cell, state.armed[here])
        for k in range(select_flagged(noise[here].shape[0], cell[evidence.HAS_REASON :], state.selected)):
            i = np.int64(state.selected[k])
            n = first + i
            sampled = code[n] == GOOD or code[n] == CENSORED
            if not sampled or state.armed[n] == 0 or state.since_event[n] <= parameters.refractory_frames[n]:
                continue
            event = events_out[n_events]
            _begin_event(n, frame, hold, flags, drive, code, parameters, state, event)
            event.z, event.probability = cell[evidence.Z + i], cell[evidence.PROBABILITY + i]
            n_events += 1
    return n_events

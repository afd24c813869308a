"""From the smoothed drive to spike rate, probability and events, for all cells of a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import CENSORED, GOOD

RATE_FLOOR = 1.1  # noise standard deviations of drive that are taken for noise
RATE_POWER = 0.7  # spikes grow so with drive: indicators answer bursts more than linearly
FIRST_BURST, BURST_RATIO = 0.6, 0.4  # prior of one spike in a frame with any, and of each more
LARGEST_BURST = 6


class DriveDecisionParameters(NamedTuple):
    """Constants of every cell, read.

    float64 ndarrays, shape (n_rois,): ``noise_dff`` (standard deviation of the smoothed drive under noise alone),
    ``threshold`` (of z), ``unit_dff`` (drive that the rate takes for one spike: of the library, lest it change while
    amplitudes are learned), ``gain`` (mean z of one spike), ``prior`` (expected events a frame). int64:
    ``refractory_frames``, and ``hold_off_frames`` that the baseline stands still after an event. ``calibration`` :
    float64, shape (2,): offset and slope that make the logit of the probability a calibrated one. ``roi_id`` :
    uint32, shape (n_rois,).
    """

    noise_dff: NDArray[np.float64]
    threshold: NDArray[np.float64]
    unit_dff: NDArray[np.float64]
    gain: NDArray[np.float64]
    prior: NDArray[np.float64]
    refractory_frames: NDArray[np.int64]
    hold_off_frames: NDArray[np.int64]
    calibration: NDArray[np.float64]
    roi_id: NDArray[np.uint32]


class DriveDecisionState(NamedTuple):
    """``armed`` : uint8 ndarray, shape (n_rois,), 1 after z has been below the threshold. ``since_event`` : int64,
    frames since the last event. ``hold_off`` : int64, frames for which the baseline still stands still.
    ``evidence_before`` : float64, likelihood ratio of the frame before.
    """

    armed: NDArray[np.uint8]
    since_event: NDArray[np.int64]
    hold_off: NDArray[np.int64]
    evidence_before: NDArray[np.float64]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I8 = types.Array(types.int64, 1, "C")
_U4 = types.Array(types.uint32, 1, "C")
_PARAMETERS = types.NamedTuple((_F8, _F8, _F8, _F8, _F8, _I8, _I8, _F8, _U4), DriveDecisionParameters)
_STATE = types.NamedTuple((_U1, _I8, _I8, _F8), DriveDecisionState)
_EVENTS = types.Array(from_dtype(EVENT_DTYPE), 1, "C")
EVENT_CENSORED = np.uint32(EventFlag.CENSORED.value)


def empty_decision_state(n_rois: int) -> DriveDecisionState:
    """State before the first sample."""
    return DriveDecisionState(
        armed=np.ones(n_rois, np.uint8),
        since_event=np.full(n_rois, 1 << 30, np.int64),
        hold_off=np.zeros(n_rois, np.int64),
        evidence_before=np.zeros(n_rois),
    )


@njit(**NO_ALLOCATION)
def burst_evidence(z, gain):
    """Likelihood ratio of one or more spikes against none, given z."""
    total = 0.0
    share = FIRST_BURST
    for n in range(1, LARGEST_BURST + 1):
        total += share * np.exp(min(n * gain * (z - 0.5 * n * gain), 60.0))
        share *= BURST_RATIO
    return total


@njit(
    types.int64(types.int64, types.int64, types.int64, _F8, _U1, _PARAMETERS, _STATE, _F4, _F4, _F4, _EVENTS),
    **NO_ALLOCATION,
)
def decide_drive(frame, hold, flags, drive, code, parameters, state, rate_out, z_out, probability_out, events_out):
    """Rates, probabilities and events of a frame.

    Parameters
    ----------
    frame : int
        Number of this frame.
    hold : int
        Age of `drive`, frames.
    flags : int
        `EventFlag` bits that every event of this frame carries.
    drive : float64 ndarray, shape (n_rois,), dF/F, read
        Drive of the frame `hold` ago.
    code : uint8 ndarray, shape (n_rois,), read
        Of the newest sample; without one there is no event.
    parameters : DriveDecisionParameters, read
    state : DriveDecisionState, overwritten
    rate_out : float32 ndarray, shape (n_rois,), overwritten
        Spikes in the frame `hold` ago.
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
    An event is an upward crossing of the threshold. The frame before, and by symmetry the one after, compete for a
    spike in the denominator of the probability, as in `decision.decide`.
    """
    n_events = 0
    offset, slope = parameters.calibration[0], parameters.calibration[1]
    for n in range(drive.shape[0]):
        z = drive[n] / parameters.noise_dff[n]
        excess = (z - RATE_FLOOR) * parameters.noise_dff[n] / parameters.unit_dff[n]
        rate_out[n] = excess**RATE_POWER if excess > 0.0 else 0.0
        z_out[n] = z
        evidence = burst_evidence(z, parameters.gain[n])
        odds = parameters.prior[n] * evidence
        odds /= 1.0 + 0.5 * odds + parameters.prior[n] * state.evidence_before[n]
        odds = np.exp(min(offset + slope * np.log(max(odds, 1e-30)), 40.0))
        probability = odds / (1.0 + odds)
        probability_out[n] = probability
        state.evidence_before[n] = evidence
        state.since_event[n] += 1
        state.hold_off[n] -= 1
        if z < parameters.threshold[n]:
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
        event.event_frame = frame - hold
        event.t_event_ns = 0
        event.n_spikes = max(1.0, np.round(z / parameters.gain[n]))
        event.probability = probability
        event.amplitude = drive[n]
        event.z = z
        n_events += 1
    return n_events

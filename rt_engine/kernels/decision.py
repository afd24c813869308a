"""From the output of the matched filter to z, probability and events, for all cells of a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.filter_bank import BANK_TYPE as _BANK
from rt_engine.kernels.filter_bank import ask_bank
from rt_engine.kernels.matched_filter import RING_TYPE as _RING
from rt_engine.kernels.power_of_e import power_of_e
from rt_engine.kernels.sample_codes import CENSORED, GOOD

SMALLEST_ENERGY = 0.5  # share of the template that lost samples must leave
SMALLEST_ENERGY_OPEN = 0.2  # the same while the window is still short after an event
BURST_SHARES = (0.6, 0.25, 0.15)  # of events, that are one, two, three spikes
LARGEST_UNEXPLAINED = 0.1  # share of unannounced losses in the window above which a cell is muted


class DecisionParameters(NamedTuple):
    """Constants of every cell, float32 ndarrays, shape (n_rois,), read.

    ``sigma_dff`` at ``f0_counts``, ``gain`` (mean z of one spike), ``threshold``, ``prior``
    (expected spikes a frame), ``gamma``; ``hold_off_frames`` (int64): frames that the baseline stands still after an
    event;
    ``roi_id`` (uint32).
    """

    sigma_dff: NDArray[np.float32]
    f0_counts: NDArray[np.float32]
    gain: NDArray[np.float32]
    threshold: NDArray[np.float32]
    prior: NDArray[np.float32]
    gamma: NDArray[np.float32]
    hold_off_frames: NDArray[np.int64]
    roi_id: NDArray[np.uint32]


class DecisionState(NamedTuple):
    """``hold_off`` : int64 ndarray, shape (n_rois,), frames for which the baseline still stands still (0 or less: it
    moves). ``evidence_before`` : float32 ndarray, shape (n_rois,), likelihood ratio of the frame before.
    """

    hold_off: NDArray[np.int64]
    evidence_before: NDArray[np.float32]


_F4 = types.Array(types.float32, 1, "C")
_F4_MATRIX = types.Array(types.float32, 2, "C")
_U1 = types.Array(types.uint8, 1, "C")
_U1_MATRIX = types.Array(types.uint8, 2, "C")
_I8 = types.Array(types.int64, 1, "C")
_I4 = types.Array(types.int32, 1, "C")
_PARAMETERS = types.NamedTuple(
    (_F4, _F4, _F4, _F4, _F4, _F4, _I8, types.Array(types.uint32, 1, "C")), DecisionParameters
)
_STATE = types.NamedTuple((_I8, _F4), DecisionState)
_EVENTS = types.Array(from_dtype(EVENT_DTYPE), 1, "C")
EVENT_CENSORED = np.uint32(EventFlag.CENSORED.value)


@njit(types.void(types.int64, _F4, _F4, _F4, _U1, _RING, _PARAMETERS, _F4), **NO_ALLOCATION)
def standardise(n_before, energy, mean_before, f0, code, ring, parameters, z):
    """Divide the filter's output by the noise of the window; NaN where there may be no decision.

    Parameters
    ----------
    n_before : int
        Samples of the window before the event.
    energy, mean_before : float32 ndarray, shape (n_rois,), read
        From `matched_filter.apply_filter`.
    f0 : float32 ndarray, shape (n_rois,), counts, read
    code : uint8 ndarray, shape (n_rois,), read
        Of the newest sample: without one there is no decision.
    ring : SampleRing, read
    parameters : DecisionParameters, read
    z : float32 ndarray, shape (n_rois,), overwritten
        In: the filter's output in dF/F; out: in noise standard deviations.

    Notes
    -----
    Photon counts of mean F have variance proportional to F, so the standard deviation of dF/F is sigma sqrt(F F0cal) /
    F0 for sigma measured at F0cal. F is that before the event, and counts only where it is significantly above F0.
    """
    n_taps = ring.dff.shape[0]
    root_n = np.sqrt(np.float32(n_before))
    for n in range(z.shape[0]):
        enough = SMALLEST_ENERGY if ring.age[n] >= n_taps else SMALLEST_ENERGY_OPEN
        sampled = code[n] == GOOD or code[n] == CENSORED
        if not sampled or energy[n] < enough or ring.n_unexplained[n] > LARGEST_UNEXPLAINED * n_taps:
            z[n] = np.nan
            continue
        sigma = parameters.sigma_dff[n] * np.sqrt(parameters.f0_counts[n] / f0[n])
        brightness = max(np.float32(1.0), np.float32(1.0) + mean_before[n] - np.float32(2.0) * sigma / root_n)
        z[n] /= sigma * np.sqrt(brightness)


@njit(**NO_ALLOCATION)
def _is_censored(n, row, lag, codes):
    """Whether a sample of the last `lag` + 1 is a lower bound."""
    n_taps = codes.shape[0]
    censored = False
    for k in range(lag + 1):
        censored = censored or codes[(row + n_taps - 1 - k) % n_taps, n] == CENSORED
    return censored


@njit(**NO_ALLOCATION)
def _evidence(z, gain):
    """Likelihood ratio of one, two or three spikes against none, given z; see `BURST_SHARES`."""
    x = gain * z
    half = 0.5 * gain * gain
    return (
        BURST_SHARES[0] * power_of_e(min(x - half, 60.0))
        + BURST_SHARES[1] * power_of_e(min(2.0 * x - 4.0 * half, 60.0))
        + BURST_SHARES[2] * power_of_e(min(3.0 * x - 9.0 * half, 60.0))
    )


@njit(**NO_ALLOCATION)
def _tell_event(n, frame, row, flags, z, ring, bank, parameters, event):
    """Write all fields of the event of one cell but the time, and open its window anew."""
    event.n_spikes, lag, event.probability, event.amplitude = ask_bank(n, row, np.float64(z[n]), ring, bank)
    event.event_frame = frame - np.int64(lag)
    event.roi_id = parameters.roi_id[n]
    event.flags = flags | (EVENT_CENSORED if _is_censored(n, row, np.int64(lag), ring.code) else np.uint32(0))
    event.t_event_ns = 0
    event.z = z[n]
    ring.age[n] = 0


@njit(
    types.int64(types.int64, types.int64, types.uint32, _F4, _F4, _RING, _BANK, _PARAMETERS, _STATE, _F4, _EVENTS),
    **NO_ALLOCATION,
)
def decide(frame, row, flags, z, energy, ring, bank, parameters, state, probability_out, events_out):
    """Events and spike probabilities of a frame.

    Parameters
    ----------
    frame : int
        Number of this frame.
    row : int
        Row of the oldest sample of the ring.
    flags : int
        `EventFlag` bits that every event of this frame carries.
    z, energy : float32 ndarray, shape (n_rois,), read
        z is NaN where there may be no decision.
    ring : SampleRing
        Read, but for ``age``: 0 where z reaches the threshold, because what an event has lit is no evidence for the
        next one.
    bank : TemplateBank, read
        Asked for size, frame and probability of the event where z reaches the threshold.
    parameters : DecisionParameters, read
    state : DecisionState, overwritten
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
    One spike lights neighbouring frames, so a frame's own likelihood ratio overstates that the spike was in it: the
    frame before and, by symmetry, the frame after compete for it in the denominator.
    """
    n_events = 0
    for n in range(z.shape[0]):
        state.hold_off[n] -= 1
        prior = parameters.prior[n]
        if np.isnan(z[n]):
            newest = ring.code[(row + ring.code.shape[0] - 1) % ring.code.shape[0], n]
            probability_out[n] = prior if newest == GOOD and ring.n_unexplained[n] == 0 else np.nan
            state.evidence_before[n] = 0.0
            continue
        gain = parameters.gain[n] * np.sqrt(energy[n])
        evidence = _evidence(z[n], gain)
        odds = prior * evidence
        probability_out[n] = odds / (1.0 + 1.5 * odds + prior * state.evidence_before[n])
        state.evidence_before[n] = evidence
        if z[n] < parameters.threshold[n]:
            continue
        state.hold_off[n] = parameters.hold_off_frames[n]
        _tell_event(n, frame, row, flags, z, ring, bank, parameters, events_out[n_events])
        n_events += 1
    return n_events

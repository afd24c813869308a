"""Against the truth of the virtual rig: which cell is which, and which events were real."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BURST_GAP_S = 0.1
TOLERANCE_S = 0.1
_LARGEST_OFFSET_PX = 24.0
_FEWEST_PAIRS = 3
_EDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class TruthScore:
    """Counts for every planted cell, arrays of shape (n_cells,), and of the events of no planted cell.

    Attributes
    ----------
    found : bool
        A ROI belongs to the cell.
    n_bursts, n_hit : int
        Planted bursts in the scored window, and those of them that an event matches.
    n_events, n_true : int
        Events of the cell's ROI in the scored window, and those of them that match a burst.
    n_stray_events : int
        Events in the window, of ROIs that are no planted cell.
    spike_of_event : int64, shape (n_events,)
        For every event given to `score_events`: index of the truth spike nearest to it in time within the matched
        burst, -1 where the event matches none.
    """

    found: NDArray[np.bool_]
    n_bursts: I64
    n_hit: I64
    n_events: I64
    n_true: I64
    n_stray_events: int
    spike_of_event: I64


def merge_bursts(spike_frame: F64, max_gap_frames: float) -> tuple[I64, I64]:
    """Runs of spikes no more than `max_gap_frames` apart.

    Parameters
    ----------
    spike_frame : float64 ndarray, shape (n_spikes,), frames, ascending
    max_gap_frames : float

    Returns
    -------
    first, last : int64 ndarray, shape (n_bursts,)
        Indices of the first and last spike of every burst.
    """
    if len(spike_frame) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    breaks = np.flatnonzero(np.diff(spike_frame) > max_gap_frames + _EDGE)
    return np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [len(spike_frame) - 1]))


def match_bursts(first_frame: F64, last_frame: F64, event_frame: F64, tolerance_frames: float) -> I64:
    """Match bursts and events one to one, as many as possible.

    An event can match a burst from `tolerance_frames` before its first to `tolerance_frames` after its last spike.
    Bursts follow one another, so taking for each the earliest free event is a largest matching.

    Parameters
    ----------
    first_frame, last_frame : float64 ndarray, shape (n_bursts,), frames, ascending
    event_frame : float64 ndarray, shape (n_events,), frames, ascending
    tolerance_frames : float

    Returns
    -------
    int64 ndarray, shape (n_bursts,)
        Index of the event of every burst, -1 for none.
    """
    matched = np.full(len(first_frame), -1, np.int64)
    event = 0
    for burst in range(len(first_frame)):
        while event < len(event_frame) and event_frame[event] < first_frame[burst] - tolerance_frames - _EDGE:
            event += 1
        if event < len(event_frame) and event_frame[event] <= last_frame[burst] + tolerance_frames + _EDGE:
            matched[burst] = event
            event += 1
    return matched


def pair_rois(roi_yx_px: F64, cell_yx_px: F64, radius_px: F64) -> tuple[I64, F64]:
    """Which planted cell every ROI is.

    Pairs are made nearest first, one to one, within the cell's radius, after a constant offset between template and
    sample (ROI minus cell) has been taken out. The offset is the most frequent difference, refined by the median of
    the pairs it gives.

    Parameters
    ----------
    roi_yx_px : float64 ndarray, shape (n_rois, 2), pixels
    cell_yx_px : float64 ndarray, shape (n_cells, 2), pixels
    radius_px : float64 ndarray, shape (n_cells,), pixels

    Returns
    -------
    cell_of_roi : int64 ndarray, shape (n_rois,)
        Index of the cell, -1 for none.
    offset_yx_px : float64 ndarray, shape (2,)
    """
    offset = _most_frequent_offset(roi_yx_px, cell_yx_px)
    cell_of_roi = _pair_nearest_first(roi_yx_px - offset, cell_yx_px, radius_px)
    paired = cell_of_roi >= 0
    if np.count_nonzero(paired) >= _FEWEST_PAIRS:
        offset = np.median(roi_yx_px[paired] - cell_yx_px[cell_of_roi[paired]], axis=0)
        cell_of_roi = _pair_nearest_first(roi_yx_px - offset, cell_yx_px, radius_px)
    return cell_of_roi, offset


def _most_frequent_offset(roi_yx_px: F64, cell_yx_px: F64) -> F64:
    """Difference that most pairs share within 1 px; no offset where too few agree on one, or none beats zero."""
    differences = (roi_yx_px[:, None, :] - cell_yx_px[None, :, :]).reshape(-1, 2)
    differences = differences[np.abs(differences).max(axis=1, initial=0.0) <= _LARGEST_OFFSET_PX]
    if len(differences) < _FEWEST_PAIRS:
        return np.zeros(2)
    tree = cKDTree(differences)
    near = tree.query_ball_point(differences, 1.0, p=np.inf, return_length=True)
    near_zero = tree.query_ball_point(np.zeros(2), 1.0, p=np.inf, return_length=True)
    if near.max() < _FEWEST_PAIRS or near.max() <= near_zero:
        return np.zeros(2)
    members = tree.query_ball_point(differences[near.argmax()], 1.0, p=np.inf)
    return np.asarray(np.median(differences[members], axis=0))


def _pair_nearest_first(roi_yx_px: F64, cell_yx_px: F64, radius_px: F64) -> I64:
    cell_of_roi = np.full(len(roi_yx_px), -1, np.int64)
    if not len(roi_yx_px) or not len(cell_yx_px):
        return cell_of_roi
    distance = np.hypot(*(roi_yx_px[:, None, :] - cell_yx_px[None, :, :]).transpose(2, 0, 1))
    taken = np.zeros(len(cell_yx_px), bool)
    rois, cells = np.nonzero(distance <= radius_px)
    for pair in np.argsort(distance[rois, cells], kind="stable"):
        roi, cell = rois[pair], cells[pair]
        if cell_of_roi[roi] < 0 and not taken[cell]:
            cell_of_roi[roi] = cell
            taken[cell] = True
    return cell_of_roi


def score_events(
    event_cell: I64,
    event_frame: F64,
    spike_cell: I64,
    spike_frame: F64,
    found: NDArray[np.bool_],
    window_frames: tuple[float, float],
    frame_period_s: float,
) -> TruthScore:
    """Count hits and false events of every planted cell.

    Parameters
    ----------
    event_cell : int64 ndarray, shape (n_events,)
        Index of the planted cell, -1 for an event of a ROI that is none.
    event_frame : float64 ndarray, shape (n_events,), frames
        Middle of the frame in which the spike was.
    spike_cell : int64 ndarray, shape (n_spikes,)
    spike_frame : float64 ndarray, shape (n_spikes,), frames
    found : bool ndarray, shape (n_cells,)
    window_frames : (float, float)
        Bursts wholly inside, and events inside, are counted; matching looks beyond.
    frame_period_s : float

    Returns
    -------
    TruthScore
    """
    n_cells = len(found)
    n_bursts, n_hit, n_events, n_true = (np.zeros(n_cells, np.int64) for _ in range(4))
    spike_of_event = np.full(len(event_cell), -1, np.int64)
    begin, end = window_frames
    event_counts = (event_frame >= begin) & (event_frame <= end)
    for cell in range(n_cells):
        spikes = _indices_in_time_order(spike_cell == cell, spike_frame)
        events = _indices_in_time_order(event_cell == cell, event_frame)
        times = spike_frame[spikes]
        first, last = merge_bursts(times, BURST_GAP_S / frame_period_s)
        matched = match_bursts(times[first], times[last], event_frame[events], TOLERANCE_S / frame_period_s)
        counted = (times[first] >= begin) & (times[last] <= end)
        n_bursts[cell] = np.count_nonzero(counted)
        n_hit[cell] = np.count_nonzero(counted & (matched >= 0))
        n_events[cell] = np.count_nonzero(event_counts[events])
        for burst in np.flatnonzero(matched >= 0):
            event = events[matched[burst]]
            n_true[cell] += event_counts[event]
            members = spikes[first[burst] : last[burst] + 1]
            spike_of_event[event] = members[np.argmin(np.abs(spike_frame[members] - event_frame[event]))]
    stray = int(np.count_nonzero((event_cell < 0) & event_counts))
    return TruthScore(found, n_bursts, n_hit, n_events, n_true, stray, spike_of_event)


def _indices_in_time_order(chosen: NDArray[np.bool_], time: F64) -> I64:
    indices = np.flatnonzero(chosen)
    return indices[np.argsort(time[indices], kind="stable")]


def recall_by_cell(score: TruthScore) -> F64:
    """Matched fraction of the bursts of every cell, NaN for a cell without a burst; 0 for one not found."""
    recall = np.full(len(score.found), np.nan)
    np.divide(score.n_hit, score.n_bursts, out=recall, where=score.n_bursts > 0)
    return recall


def precision_by_cell(score: TruthScore) -> F64:
    """Matched fraction of the events of every cell.

    0 for a cell that fired and has no event, found or not; NaN for a found cell that neither fired nor has an event.
    """
    precision = np.where(score.found & (score.n_bursts == 0), np.nan, 0.0)
    np.divide(score.n_true, score.n_events, out=precision, where=score.n_events > 0)
    return precision

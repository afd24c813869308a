"""Latency intervals of a session, each with the name that `docs/reference/session.md` gives it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.recording.session_tables import SessionTables
from rt_engine.recording.truth_matching import TruthScore

INTERVALS = (
    "scan_to_receive",
    "receive_to_decision",
    "decision_to_command",
    "scan_to_command",
    "scan_to_output",
    "spike_to_command",
    "spike_to_output",
)
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}

LatencyTable = dict[str, NDArray[np.float64]]


def latency_intervals_ms(tables: SessionTables, scores: dict[int, TruthScore]) -> LatencyTable:
    """Every measured interval, milliseconds; an empty array where nothing was measured.

    Parameters
    ----------
    tables : SessionTables
    scores : dict of int to TruthScore
        By plane; empty without a truth.
    """
    ns: dict[str, list[int]] = {name: [] for name in INTERVALS}
    for plane in tables.planes.values():
        ns["scan_to_receive"].extend(plane.scan_to_receive_ns)
        ns["receive_to_decision"].extend(plane.receive_to_decision_ns)
    triggers = _triggering_spikes(tables, scores)
    for decision in tables.decisions.values():
        if not decision.has_trigger:
            continue
        scan_ns, decided_ns = decision.first.t_scan_ns, decision.first.t_decided_ns
        t_spike_ns = _spike_time(triggers, decision.first.plane, decision.first.frame, decision.first.roi_ids)
        if decision.t_command_ns is not None:
            ns["decision_to_command"].append(decision.t_command_ns - decided_ns)
            ns["scan_to_command"].append(decision.t_command_ns - scan_ns)
            if t_spike_ns is not None:
                ns["spike_to_command"].append(decision.t_command_ns - t_spike_ns)
        if decision.t_output_ns is not None:
            ns["scan_to_output"].append(decision.t_output_ns - scan_ns)
            if t_spike_ns is not None:
                ns["spike_to_output"].append(decision.t_output_ns - t_spike_ns)
    return {name: np.array(values, np.float64) / NS_PER_MS for name, values in ns.items()}


def summarize_ms(values_ms: NDArray[np.float64]) -> dict[str, float] | None:
    """p50, p99, p999, max and count of one interval; None where nothing was measured."""
    if not len(values_ms):
        return None
    figures: dict[str, float] = {name: float(np.quantile(values_ms, q)) for name, q in _QUANTILES.items()}
    return figures | {"max": float(values_ms.max()), "n": len(values_ms)}


Triggers = dict[tuple[int, int], list[tuple[int, int]]]


def _triggering_spikes(tables: SessionTables, scores: dict[int, TruthScore]) -> Triggers:
    """(plane, frame of decision) -> (roi_id, time of the matched truth spike) of the events decided there."""
    found: Triggers = {}
    for plane, score in scores.items():
        t_spike_ns = tables.truth[plane].t_ns
        roi_id = tables.planes[plane].events["roi_id"]
        for event in np.flatnonzero(score.spike_of_event >= 0):
            key = (plane, tables.planes[plane].decided_frame[int(event)])
            found.setdefault(key, []).append((int(roi_id[event]), t_spike_ns[int(score.spike_of_event[event])]))
    return found


def _spike_time(triggers: Triggers, plane: int, frame: int, roi_ids: Iterable[int]) -> int | None:
    """The earliest matched spike among the events that were decided with this frame."""
    spikes = triggers.get((plane, frame), [])
    named = set(roi_ids)
    own = [t_ns for roi_id, t_ns in spikes if roi_id in named] or [t_ns for _, t_ns in spikes]
    return min(own, default=None)

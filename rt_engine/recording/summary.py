"""summary.json: the figures of a session, from one pass over its journal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_planes import load_planes
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import CalibrationError, RecordingError
from rt_engine.interfaces.events import EventFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import Outcome
from rt_engine.recording.latency_table import LatencyTable, latency_intervals_ms, summarize_ms
from rt_engine.recording.reader import Session, open_session
from rt_engine.recording.session_tables import Observer, SessionTables, TruthTable, collect
from rt_engine.recording.truth_matching import TruthScore, pair_rois, precision_by_cell, recall_by_cell, score_events

SUMMARY_VERSION = 1
VISIBLE_A_OVER_SIGMA = 4.0
"""Cells of the headline recall and precision."""
_COMPLETE_BASELINE_FRAMES = 3000


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """One session, read and scored: what the summary and the report are made of.

    Attributes
    ----------
    session : Session
    tables : SessionTables
    calibrations : dict of int to Calibration
        By plane; empty where there is none that can be read.
    scores : dict of int to TruthScore
        By plane; empty without a truth.
    offsets_yx_px : dict of int to float64 ndarray, shape (2,)
        Template minus sample, by plane.
    latency_ms : dict of str to float64 ndarray
    """

    session: Session
    tables: SessionTables
    calibrations: dict[int, Calibration]
    scores: dict[int, TruthScore]
    offsets_yx_px: dict[int, NDArray[np.float64]]
    latency_ms: LatencyTable

    @property
    def calibration(self) -> Calibration | None:
        """Of the first plane."""
        return next(iter(self.calibrations.values()), None)


def analyse(session: Session, observers: Iterable[Observer] = ()) -> Analysis:
    """Read the journal once and score it against the truth, if there is one.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    tables = collect(session, observers)
    calibrations = _calibrations(session)
    period_s = frame_period_s(tables, next(iter(calibrations.values()), None))
    scores: dict[int, TruthScore] = {}
    offsets: dict[int, NDArray[np.float64]] = {}
    for plane, truth in tables.truth.items():
        if truth.sample and tables.plane(plane).first_live is not None and period_s is not None:
            scores[plane], offsets[plane] = _score_plane(tables, plane, truth, calibrations.get(plane), period_s)
    return Analysis(session, tables, calibrations, scores, offsets, latency_intervals_ms(tables, scores))


def summarize(session: Session) -> dict[str, Any]:
    """Figures of a session, as ``summary.json`` holds them.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    return summary_of(analyse(session))


def write_summary(folder: Path, summary: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write ``summary.json`` into a session folder; without `summary` it is made from the journal.

    Raises
    ------
    RecordingError
        There is no journal, or the file cannot be written.
    """
    figures = summarize(open_session(folder)) if summary is None else summary
    try:
        (folder / "summary.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecordingError(f"{folder / 'summary.json'}: cannot be written: {error.strerror}") from error
    return figures


def _duration_s(analysis: Analysis) -> float:
    """Length of the live part in the time of the sample, which is not that of the clock at `max` speed."""
    period_s = frame_period_s(analysis.tables, analysis.calibration)
    lengths = [0.0]
    for plane in analysis.tables.planes.values():
        if plane.first_live is None:
            continue
        wall_s = (plane.t_last_live_ns - plane.t_first_live_ns) / NS_PER_S
        lengths.append(wall_s if period_s is None else plane.n_counts_live * period_s)
    return max(lengths)


def summary_of(analysis: Analysis) -> dict[str, Any]:
    """Figures of an analysed session, as ``summary.json`` holds them."""
    tables, header = analysis.tables, analysis.tables.session
    planes = tables.planes.values()
    return {
        "summary_version": SUMMARY_VERSION,
        "session": header.session if header else None,
        "rig": header.rig if header else None,
        "protocol": header.protocol if header else None,
        "subject": header.subject if header else None,
        "started_utc": header.wall_time_utc if header else None,
        "duration_s": _duration_s(analysis),
        "frame_period_s": frame_period_s(tables, analysis.calibration),
        "frames": sum(p.n_frames for p in planes),
        "frames_lost": sum(p.n_lost for p in planes),
        "fates": _fates(tables),
        "spikes": sum(len(p.decided_frame) for p in planes),
        "cells": _n_cells(analysis),
        "hold_frames": max((p.hold_frames for p in planes), default=None),
        "stim": _outcomes(tables),
        "stim_unfinished": sum(decision.outcome is None for decision in tables.decisions.values()),
        "latency_ms": {name: summarize_ms(values) for name, values in analysis.latency_ms.items()},
        "provisional": _is_provisional(analysis),
        **_accuracy(analysis),
        "trips": tables.trips,
        "services": _services(tables),
        "journal": _journal(analysis),
        "versions": header.versions if header else {},
        "device_versions": tables.device_versions,
        "input_clocks": tables.input_clocks,
        "git_hash": header.git_hash if header else None,
        "seeds": header.seeds if header else {},
        "replay": header.config.get("replay") if header else None,
    }


def frame_period_s(tables: SessionTables, calibration: Calibration | None) -> float | None:
    """Nominal time from one number of the frame counter to the next, seconds; None if unknown.

    From the calibration, which knows how often a plane is scanned, else from the frames.
    """
    if calibration is not None and calibration.frame_rate_hz > 0:
        counts = max((plane.frames_per_index for plane in tables.planes.values()), default=1)
        return float(1 / calibration.frame_rate_hz / counts)
    return tables.frame_period_ns / NS_PER_S if tables.frame_period_ns else None


def roi_positions(
    tables: SessionTables, calibration: Calibration | None, plane: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """ROI identities and centroids in the template.

    Returns
    -------
    roi_id : int64 ndarray, shape (n_rois,)
    centroid_yx_px : float64 ndarray, shape (n_rois, 2), pixels
    """
    if plane in tables.footprints and tables.rois[plane].pixels_per_line > 0:
        start, pixels = tables.footprints[plane]
        rois = tables.rois[plane]
        if len(rois.rois) == len(start) - 1:
            y, x = np.divmod(pixels.astype(np.float64), rois.pixels_per_line)
            filled = [
                (roi.roi_id, slice(a, b)) for roi, (a, b) in zip(rois.rois, pairwise(start), strict=True) if b > a
            ]
            ids = [roi_id for roi_id, _ in filled]
            centres = [(y[piece].mean(), x[piece].mean()) for _, piece in filled]
            return np.array(ids, np.int64), np.array(centres, np.float64).reshape(-1, 2)
    if calibration is not None and calibration.plane == plane:
        return calibration.roi_id.astype(np.int64), calibration.centroids_yx_px()
    return np.zeros(0, np.int64), np.zeros((0, 2))


def _calibrations(session: Session) -> dict[int, Calibration]:
    if session.calibration_path is None:
        return {}
    try:
        return load_planes(session.calibration_path)
    except CalibrationError:
        return {}


def _score_plane(
    tables: SessionTables, plane: int, truth: TruthTable, calibration: Calibration | None, period_s: float
) -> tuple[TruthScore, NDArray[np.float64]]:
    table, sample = tables.planes[plane], truth.sample
    roi_id, roi_yx_px = roi_positions(tables, calibration, plane)
    cell_yx_px = np.stack([np.array(sample["y_px"], np.float64), np.array(sample["x_px"], np.float64)], axis=1)
    cell_of_roi, offset = pair_rois(roi_yx_px, cell_yx_px, np.array(sample["radius_px"], np.float64))
    row_of_cell = {int(cell): row for row, cell in enumerate(sample["cell"])}
    cell_of_id = {int(i): int(cell) for i, cell in zip(roi_id, cell_of_roi, strict=True)}
    found = np.zeros(len(cell_yx_px), bool)
    found[cell_of_roi[cell_of_roi >= 0]] = True
    events = table.events
    margin = table.hold_frames
    score = score_events(
        np.array([cell_of_id.get(int(i), -1) for i in events["roi_id"]], np.int64),
        table.middle_of(events["event_frame"]),
        np.array([row_of_cell.get(cell, -1) for cell in truth.cell], np.int64),
        np.array(truth.frame, np.float64),
        found,
        ((table.first_live or 0) + margin, table.last_live + 1 - margin),
        period_s,
    )
    return score, offset


def _accuracy(analysis: Analysis) -> dict[str, Any]:
    names = ("recall", "precision", "recall_all", "precision_all")
    if not analysis.scores:
        return dict.fromkeys(names) | {"truth": None}
    visible, recalls, precisions = [], [], []
    for plane, score in analysis.scores.items():
        visible.append(np.array(analysis.tables.truth[plane].sample["a_over_sigma"]) >= VISIBLE_A_OVER_SIGMA)
        recalls.append(recall_by_cell(score))
        precisions.append(precision_by_cell(score))
    chosen = np.concatenate(visible)
    scores = analysis.scores.values()
    n_bursts, n_hit = sum(int(s.n_bursts.sum()) for s in scores), sum(int(s.n_hit.sum()) for s in scores)
    n_true = sum(int(s.n_true.sum()) for s in scores)
    n_events = sum(int(s.n_events.sum()) + s.n_stray_events for s in scores)
    return {
        "recall": _median(np.concatenate(recalls)[chosen]),
        "precision": _median(np.concatenate(precisions)[chosen]),
        "recall_all": n_hit / n_bursts if n_bursts else None,
        "precision_all": n_true / n_events if n_events else None,
        "truth": {
            "cells": len(chosen),
            "cells_found": sum(int(s.found.sum()) for s in scores),
            "visible_cells": int(chosen.sum()),
            "visible_cells_found": int(np.concatenate([s.found for s in scores])[chosen].sum()),
            "bursts": n_bursts,
            "events": n_events,
            "template_offset_yx_px": {str(p): [float(v) for v in o] for p, o in analysis.offsets_yx_px.items()},
        },
    }


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _outcomes(tables: SessionTables) -> dict[str, int]:
    counts = {outcome.value: 0 for outcome in Outcome}
    for decision in tables.decisions.values():
        if decision.outcome is not None:
            counts[decision.outcome] += 1
    return counts


def _n_cells(analysis: Analysis) -> int | None:
    if analysis.tables.rois:
        return sum(len(rois.rois) for rois in analysis.tables.rois.values())
    calibrations = analysis.calibrations.values()
    return sum(one.n_rois for one in calibrations) if calibrations else None


def _is_provisional(analysis: Analysis) -> bool:
    if analysis.calibrations:
        return any(one.n_baseline_frames < _COMPLETE_BASELINE_FRAMES for one in analysis.calibrations.values())
    planes = analysis.tables.planes.values()
    return any(bool(np.any(plane.events["flags"] & EventFlag.PROVISIONAL)) for plane in planes)


def _fates(tables: SessionTables) -> dict[str, dict[str, int]]:
    """What became of frames, by plane: those decided have one `activity` message each, the others were told."""
    planes: dict[str, dict[str, int]] = {}
    for plane in sorted({*tables.fates, *tables.planes}):
        decided = tables.n_messages.get(f"activity.{plane}", 0)
        planes[str(plane)] = ({Fate.DECIDED.value: decided} if decided else {}) | tables.fates.get(plane, {})
    return {plane: counts for plane, counts in planes.items() if counts}


def _services(tables: SessionTables) -> dict[str, dict[str, int]]:
    """Losses by service, added over its starts."""
    services: dict[str, dict[str, int]] = {}
    for (source, _), health in tables.health.items():
        row = services.setdefault(source, {"starts": 0, "dropped": 0, "gaps": 0, "late": 0, "rss_bytes": 0})
        row["starts"] += 1
        row["dropped"] += health.dropped
        row["gaps"] += health.gaps
        row["late"] += health.late
        row["rss_bytes"] = max(row["rss_bytes"], health.rss_bytes)
    return services


def _journal(analysis: Analysis) -> dict[str, Any]:
    """What the journal holds and lacks."""
    session, tables = analysis.session, analysis.tables
    lost, recovery = session.lost, session.recovery
    # What was destroyed on the disk is missing by the numbers of its sender, too: it did reach the recorder.
    never = {topic: n - lost.get(topic, 0) for topic, n in tables.n_gaps.items() if n > lost.get(topic, 0)}
    return {
        "files": [file.name for file in session.files],
        "complete": session.is_complete,
        "damage": [str(damage) for damage in session.damage],
        "lost_messages": lost,
        "gaps": never,
        "malformed": tables.n_malformed,
        "messages": tables.n_messages,
        "recovery": None if recovery is None else msgspec.to_builtins(recovery),
    }

"""`spikeloop score`: a method, or a file of predictions, against simultaneous electrophysiology."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError, RecordingError
from rt_engine.interfaces.network_weights import NetworkWeights
from rt_engine.interfaces.numpy_files import why_unreadable
from rt_engine.models.ground_truth import View, load_recordings, view
from rt_engine.models.indicators import indicator as find_indicator
from rt_engine.models.spike_scoring import METRICS, Prediction, Row, medians_by, score, summarise
from rt_engine.models.trace_inference import Inference, InferenceSettings, Method, TraceKind, infer_traces
from rt_engine.recording.accuracy_figure import save_accuracy_figure
from rt_engine.services.run_view import RunView
from rt_engine.services.trace_job import chosen_weights

SHORTEST_S = 1.0


def run_score(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score, print the table, draw the figure.

    Raises
    ------
    ConfigError
        The folder holds no ground truth, or a file is wrong.
    RecordingError
        The figure cannot be written.
    """
    raw = bool(arguments.raw)
    if raw and arguments.nu:
        raise ConfigError("raises the noise of dF/F, not of raw fluorescence", "leave out --nu or --raw", key="--nu")
    views = load_views(Path(arguments.truth), arguments.fs, arguments.nu, raw=raw)
    if arguments.pred:
        predictions = read_predictions(Path(arguments.pred), views)
        label = Path(arguments.pred).name
    else:
        method = Method(arguments.method)
        weights = chosen_weights(method, arguments.weights)
        predictions = predict(views, method, arguments.hold, raw=raw, weights=weights)
        label = f"{arguments.method}, hold {arguments.hold}"
    rows = score(views, predictions)
    table = summarise(rows)
    indicator_of = {(v.recording.dataset, v.recording.neuron): v.recording.indicator for v in views}
    by_indicator = medians_by(rows, [indicator_of[row.dataset, row.neuron] for row in rows])
    RunView().say(format_table(table))
    RunView().say(format_table(by_indicator, "indicator"))
    if raw:
        label += ", raw fluorescence"
    if arguments.nu:
        label += f", noise {arguments.nu:g}"
    try:
        save_accuracy_figure(Path(arguments.output), table, rows, label, noisy=bool(arguments.nu))
    except OSError as error:
        raise RecordingError(f"{arguments.output}: cannot be written: {error.strerror}") from error
    return {"label": label, "table": table, "by_indicator": by_indicator, "neurons": [_as_dict(row) for row in rows]}


def _as_dict(row: Row) -> dict[str, Any]:
    return {"dataset": row.dataset, "neuron": row.neuron, **row.metrics}


def load_views(folder: Path, frame_rate_hz: float, noise: float | None, *, raw: bool = False) -> list[View]:
    """All recordings of at least a second in a folder, in order of file and record; with `raw`, the fluorescence of
    those that have it, in detector counts.

    Raises
    ------
    ConfigError
        There is none.
    """
    recordings = [one for path in sorted(folder.glob("*.npz")) for one in load_recordings(path)]
    long = [r for r in recordings if len(r.dff) / r.frame_rate_hz >= SHORTEST_S]
    if not long:
        raise ConfigError("holds no ground-truth .npz file", "see docs/how-to/infer.md", file=str(folder))
    if not raw:
        return [view(r, frame_rate_hz, noise) for r in long]
    with_raw = [r for r in long if r.f_roi is not None and r.f_np is not None]
    if not with_raw:
        raise ConfigError("holds no raw fluorescence", "score dF/F: leave out --raw", file=str(folder))
    return [view(r, frame_rate_hz, None, "f_roi") for r in with_raw]


def predict(
    views: list[View],
    method: Method,
    hold_frames: int,
    *,
    raw: bool = False,
    weights: NetworkWeights | None = None,
) -> list[Prediction]:
    """Infer every recording; those of one data set go together, as rows of one file would. With `raw` the views are
    fluorescence in counts, and the neuropil of the same recordings goes with them.
    """
    found: dict[int, Prediction] = {}
    for key in sorted({(v.recording.dataset, v.recording.indicator) for v in views}):
        rows = [i for i, v in enumerate(views) if (v.recording.dataset, v.recording.indicator) == key]
        settings = InferenceSettings(
            indicator=find_indicator(key[1]),
            kind=TraceKind.COUNTS if raw else TraceKind.DFF,
            method=method,
            hold_frames=hold_frames,
            network=weights,
        )
        rates = np.array([1 / views[i].dt_s for i in rows])
        traces = as_rows([views[i] for i in rows])
        neuropil = as_rows([view(views[i].recording, 1 / views[i].dt_s, None, "f_np") for i in rows]) if raw else None
        result = infer_traces(traces, rates, settings, neuropil)
        for row, i in enumerate(rows):
            found[i] = as_prediction(views[i], result, row, hold_frames)
    return [found[i] for i in range(len(views))]


def as_rows(views: list[View]) -> NDArray[np.float32]:
    """Traces of the views, float32, shape (n_views, most frames), NaN beyond the end of each."""
    rows = np.full((len(views), max(len(v.y) for v in views)), np.nan, np.float32)
    for row, v in zip(rows, views, strict=True):
        row[: len(v.y)] = v.y
    return rows


def as_prediction(v: View, result: Inference, row: int, hold_frames: int) -> Prediction:
    """Rate at the frame it speaks of; events in the middle of their frame, reported when the last frame was there."""
    n = len(v.t_s)
    rate = np.zeros(n)
    rate[: max(n - hold_frames, 0)] = result.spike_rate[row, hold_frames:n]
    e = result.events[(result.events["roi_index"] == row) & (result.events["decided_frame"] < n)]
    events = np.stack(
        [
            v.t_s[e["event_frame"]] + v.dt_s / 2,
            v.t_s[e["decided_frame"]] + v.dt_s,
            np.maximum(1, np.round(e["n_spikes"])),
        ],
        axis=1,
    )
    return Prediction(rate, hold_frames * v.dt_s, events)


def read_predictions(path: Path, views: list[View]) -> list[Prediction]:
    """Predictions of a file: ``rate_<dataset>_<i>``, ``events_<dataset>_<i>``, ``lag`` (s).

    Raises
    ------
    ConfigError
        The file is missing, or a rate has another number of frames than the recording.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ConfigError(f"is no .npz file of plain arrays ({why_unreadable(error)})", file=str(path)) from error
    lag_s = float(content.get("lag", np.zeros(())))
    out = []
    for v in views:
        name = f"{v.recording.dataset}_{v.recording.position}"
        rate, events = content.get(f"rate_{name}"), content.get(f"events_{name}")
        if rate is not None and rate.shape != v.t_s.shape:
            raise ConfigError(f"has shape {rate.shape}, not {v.t_s.shape}", file=str(path), key=f"rate_{name}")
        if rate is None and events is None:
            rate = np.zeros(len(v.t_s))
        out.append(Prediction(rate, lag_s, events))
    return out


def format_table(table: dict[str, dict[str, float]], heading: str = "data set") -> str:
    """Plain text, one line a data set or whatever `heading` says."""
    lines = [f"{heading:14s} {'n':>4s} " + " ".join(f"{m:>14s}" for m in METRICS)]
    for name, values in table.items():
        lines.append(f"{name:14s} {values['n']:4.0f} " + " ".join(f"{values[m]:14.3f}" for m in METRICS))
    return "\n".join(lines)

"""`spikeloop score`: a method, or a file of predictions, against simultaneous electrophysiology."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError, RecordingError
from rt_engine.models.ground_truth import View, load_recordings, view
from rt_engine.models.indicators import indicator as find_indicator
from rt_engine.models.spike_scoring import METRICS, Prediction, Row, score, summarise
from rt_engine.models.trace_inference import Inference, InferenceSettings, Method, infer_traces
from rt_engine.recording.accuracy_figure import save_accuracy_figure
from rt_engine.services.run_view import RunView

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
    views = load_views(Path(arguments.truth), arguments.fs, arguments.nu)
    if arguments.pred:
        predictions = read_predictions(Path(arguments.pred), views)
        label = Path(arguments.pred).name
    else:
        predictions = predict(views, Method(arguments.method), arguments.hold)
        label = f"{arguments.method}, hold {arguments.hold}"
    rows = score(views, predictions)
    table = summarise(rows)
    RunView().say(format_table(table))
    if arguments.nu:
        label += f", noise {arguments.nu:g}"
    try:
        save_accuracy_figure(Path(arguments.output), table, rows, label, noisy=bool(arguments.nu))
    except OSError as error:
        raise RecordingError(f"{arguments.output}: cannot be written: {error.strerror}") from error
    return {"label": label, "table": table, "neurons": [_as_dict(row) for row in rows]}


def _as_dict(row: Row) -> dict[str, Any]:
    return {"dataset": row.dataset, "neuron": row.neuron, **row.metrics}


def load_views(folder: Path, frame_rate_hz: float, noise: float | None) -> list[View]:
    """All recordings of at least a second in a folder, in order of file and record.

    Raises
    ------
    ConfigError
        There is none.
    """
    recordings = [one for path in sorted(folder.glob("*.npz")) for one in load_recordings(path)]
    long = [r for r in recordings if len(r.dff) / r.frame_rate_hz >= SHORTEST_S]
    if not long:
        raise ConfigError("holds no ground-truth .npz file", "see docs/how-to/infer.md", file=str(folder))
    return [view(r, frame_rate_hz, noise) for r in long]


def predict(views: list[View], method: Method, hold_frames: int) -> list[Prediction]:
    """Infer every recording; those of one data set go together, as rows of one file would."""
    found: dict[int, Prediction] = {}
    for key in sorted({(v.recording.dataset, v.recording.indicator) for v in views}):
        rows = [i for i, v in enumerate(views) if (v.recording.dataset, v.recording.indicator) == key]
        traces = np.full((len(rows), max(len(views[i].y) for i in rows)), np.nan, np.float32)
        for row, i in enumerate(rows):
            traces[row, : len(views[i].y)] = views[i].y
        settings = InferenceSettings(indicator=find_indicator(key[1]), method=method, hold_frames=hold_frames)
        rates = np.array([1 / views[i].dt_s for i in rows])
        result = infer_traces(traces, rates, settings)
        for row, i in enumerate(rows):
            found[i] = as_prediction(views[i], result, row, hold_frames)
    return [found[i] for i in range(len(views))]


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
        raise ConfigError(f"is no .npz file of plain arrays ({error})", file=str(path)) from error
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


def format_table(table: dict[str, dict[str, float]]) -> str:
    """Plain text, one line a data set."""
    lines = [f"{'data set':14s} {'n':>4s} " + " ".join(f"{m:>14s}" for m in METRICS)]
    for name, values in table.items():
        lines.append(f"{name:14s} {values['n']:4.0f} " + " ".join(f"{values[m]:14.3f}" for m in METRICS))
    return "\n".join(lines)

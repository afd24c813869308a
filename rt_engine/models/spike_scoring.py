"""How well inferred rates and events agree with electrophysiology."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from rt_engine.models.ground_truth import View

FloatArray = NDArray[np.float64]

BIN_S = 0.04
TOLERANCE_S = 0.1
BURST_GAP_S = 0.1
LATENCIES_S = (0.1, 0.2, 0.5)
MIN_SPIKES = 10
METRICS = (
    "corr_cascade",
    "corr_40ms",
    "corr_online",
    "F1_spike",
    "F1_event",
    "F1_latency@200",
    "fp_per_min",
    "delay_ms",
)


class Prediction(NamedTuple):
    """``rate`` : float64 ndarray, shape (n_frames,), of the frame it speaks of, or None; ``lag_s`` : how long after
    the arrival of that frame it was known; ``events`` : float64 ndarray, shape (n_events, 2 or 3), or None: time of
    the spike, time of the report (s), number of spikes.
    """

    rate: FloatArray | None
    lag_s: float
    events: FloatArray | None


class Row(NamedTuple):
    """Metrics of one neuron by name; NaN where undefined."""

    dataset: str
    neuron: str
    metrics: dict[str, float]


def smoothing_s(frame_rate_hz: float) -> float:
    """Standard deviation of the Gaussian that truth and prediction are smoothed with."""
    return float(np.clip(1.5 / frame_rate_hz, 0.05, 0.20))


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's r; 0 where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def rebin(t_s: FloatArray, dt_s: float, values: FloatArray, edges_s: FloatArray) -> FloatArray:
    """Amounts per frame summed into bins by exact overlap."""
    if np.allclose(np.diff(t_s), dt_s, rtol=0.02):
        return np.diff(np.interp(edges_s, np.append(t_s, t_s[-1] + dt_s), np.concatenate([[0], np.cumsum(values)])))
    out = np.zeros(len(edges_s) - 1)
    for start, value in zip(t_s, values, strict=True):
        overlap = np.minimum(start + dt_s, edges_s[1:]) - np.maximum(start, edges_s[:-1])
        out += value * np.maximum(overlap, 0) / dt_s
    return out


def n_matched(true_s: FloatArray, told_s: FloatArray, low_s: float, high_s: float) -> list[tuple[int, int]]:
    """Largest one-to-one matching with told - true within [low, high]; both ascending."""
    i = j = 0
    pairs = []
    while i < len(true_s) and j < len(told_s):
        late = told_s[j] - true_s[i]
        if late < low_s:
            j += 1
        elif late > high_s:
            i += 1
        else:
            pairs.append((i, j))
            i += 1
            j += 1
    return pairs


def burst_starts(t_s: FloatArray) -> NDArray[np.int64]:
    """Index of the first of every run with gaps up to `BURST_GAP_S`; ascending."""
    if len(t_s) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], np.diff(t_s) > BURST_GAP_S]))


def f1(n_hits: float, n_true: float, n_told: float) -> float:
    """Harmonic mean of precision and recall; NaN with neither spikes nor events."""
    return 2.0 * n_hits / (n_true + n_told) if n_true + n_told else float("nan")


def score_neuron(trials: Sequence[tuple[View, Prediction]]) -> dict[str, float]:
    """All metrics of one neuron, its trials pooled."""
    spikes = [_spikes_within(v) for v, _ in trials]
    duration = sum(v.t_s[-1] + v.dt_s - v.t_s[0] for v, _ in trials)
    out = {"n_spikes": float(sum(len(s) for s in spikes)), "duration_s": float(duration)}
    rated = [(v, p, s) for (v, p), s in zip(trials, spikes, strict=True) if p.rate is not None]
    if rated:
        out |= _rate_metrics(rated, 1 / trials[0][0].dt_s)
    evented = [(v, p, s) for (v, p), s in zip(trials, spikes, strict=True) if p.events is not None]
    if evented:
        out |= _event_metrics(evented, float(duration), trials[-1][0].recording.latency_valid)
    return out


def _spikes_within(v: View) -> FloatArray:
    s = v.recording.spikes_s
    return np.asarray(s[(s >= v.t_s[0]) & (s < v.t_s[-1] + v.dt_s)])


def _rate_metrics(trials: list[tuple[View, Prediction, FloatArray]], frame_rate_hz: float) -> dict[str, float]:
    sigma = smoothing_s(frame_rate_hz) / BIN_S
    parts: dict[str, tuple[list[FloatArray], list[FloatArray]]] = defaultdict(lambda: ([], []))
    n_told = n_true = 0.0
    for v, p, spikes in trials:
        rate = np.nan_to_num(np.asarray(p.rate, np.float64))
        n_told, n_true = n_told + rate.sum(), n_true + len(spikes)
        start, end = v.t_s[0], v.t_s[-1] + v.dt_s
        edges = start + BIN_S * np.arange(int((end - start) / BIN_S + 1e-6) + 1)
        if len(edges) <= 5:
            continue
        truth = np.histogram(spikes, edges)[0].astype(np.float64)
        told = rebin(v.t_s, v.dt_s, rate, edges)
        online = np.full(len(told), np.nan)
        if np.isfinite(p.lag_s):
            online = rebin(v.t_s + v.dt_s + p.lag_s, v.dt_s, rate, edges)
            # Before the first answer, the first answer holds.
            online[: min(int(np.ceil((v.dt_s + p.lag_s) / BIN_S - 1e-9)), len(online) - 1)] = rate[0] * BIN_S / v.dt_s
        smooth = [gaussian_filter1d(x, sigma, mode="nearest") for x in (truth, told, online)]
        pairs = {
            "corr_cascade": (smooth[0], smooth[1]),
            "corr_truthsm": (smooth[0], told),
            "corr_40ms": (truth, told),
            "corr_online": (smooth[0], smooth[2]),
        }
        for name, (a, b) in pairs.items():
            parts[name][0].append(a)
            parts[name][1].append(b)
    out = {
        name: correlation(np.concatenate(a), np.concatenate(b)) if np.isfinite(b[0]).all() else float("nan")
        for name, (a, b) in parts.items()
    }
    return out | {"bias": float((n_told - n_true) / max(n_true, 1))}


def _event_metrics(
    trials: list[tuple[View, Prediction, FloatArray]], duration_s: float, latency_valid: bool
) -> dict[str, float]:
    n: dict[str, int] = defaultdict(int)
    in_time = dict.fromkeys(LATENCIES_S, 0)
    delays: list[float] = []
    for v, p, spikes in trials:
        events = _events_within(v, p)
        multiplicity = np.round(events[:, 2]).astype(np.int64).clip(1) if events.shape[1] > 2 else 1
        each = np.sort(np.repeat(events[:, 0], multiplicity))
        n["spikes"] += len(spikes)
        n["each"] += len(each)
        n["hit_spikes"] += len(n_matched(spikes, each, -TOLERANCE_S, TOLERANCE_S))
        n["hit_spikes_500"] += len(n_matched(spikes, each, -0.5, 0.5))
        events = events[np.argsort(events[:, 0], kind="stable")]
        events = events[burst_starts(events[:, 0])]
        bursts = spikes[burst_starts(spikes)]
        n["bursts"] += len(bursts)
        n["events"] += len(events)
        n["hits"] += len(n_matched(bursts, events[:, 0], -TOLERANCE_S, TOLERANCE_S))
        reports = np.sort(events[:, 1])
        for latency in LATENCIES_S:
            pairs = n_matched(bursts, reports, 0.0, latency)
            in_time[latency] += len(pairs)
            if latency == max(LATENCIES_S):
                delays += [float(reports[j] - bursts[i]) for i, j in pairs]
    out = {
        "F1_spike": f1(n["hit_spikes"], n["spikes"], n["each"]),
        "F1_spike_500": f1(n["hit_spikes_500"], n["spikes"], n["each"]),
        "F1_event": f1(n["hits"], n["bursts"], n["events"]),
        "recall_event": n["hits"] / max(n["bursts"], 1),
        "fp_per_min": (n["events"] - n["hits"]) / (duration_s / 60),
    }
    out |= {f"F1_latency@{int(x * 1000)}": f1(in_time[x], n["bursts"], n["events"]) for x in LATENCIES_S}
    if latency_valid and delays:
        out["delay_ms"] = float(np.median(delays) * 1e3)
        out["delay_p90_ms"] = float(np.percentile(delays, 90) * 1e3)
    return out


def _events_within(v: View, p: Prediction) -> FloatArray:
    events = np.asarray(p.events, np.float64)
    events = events.reshape(len(events), -1) if len(events) else np.zeros((0, 2))
    inside = (events[:, 0] >= v.t_s[0] - TOLERANCE_S) & (events[:, 0] <= v.t_s[-1] + v.dt_s + TOLERANCE_S)
    return np.asarray(events[inside])


def score(views: Sequence[View], predictions: Sequence[Prediction]) -> list[Row]:
    """Metrics of every neuron with at least `MIN_SPIKES` spikes."""
    neurons: dict[tuple[str, str], list[tuple[View, Prediction]]] = defaultdict(list)
    for v, p in zip(views, predictions, strict=True):
        neurons[v.recording.dataset, v.recording.neuron].append((v, p))
    rows = [Row(*name, score_neuron(trials)) for name, trials in neurons.items()]
    return [row for row in rows if row.metrics["n_spikes"] >= MIN_SPIKES]


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Median over neurons of every data set and of all, and the mean of the data sets' medians."""
    sets = sorted({row.dataset for row in rows})
    table = {name: _medians([row for row in rows if row.dataset == name]) for name in sets}
    every = _medians(rows)
    mean = {"n": float(len(sets))}
    for metric in METRICS:
        known = [table[name][metric] for name in sets if np.isfinite(table[name][metric])]
        mean[metric] = float(np.mean(known)) if known else float("nan")
    return table | {"ALL neurons": every, "mean of sets": mean}


def medians_by(rows: Sequence[Row], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Median over the neurons of every label, one label a row."""
    return {
        wanted: _medians([row for row, label in zip(rows, labels, strict=True) if label == wanted])
        for wanted in sorted(set(labels))
    }


def _medians(rows: Sequence[Row]) -> dict[str, float]:
    out = {"n": float(len(rows))}
    for metric in METRICS:
        values = np.array([row.metrics.get(metric, np.nan) for row in rows])
        known = values[np.isfinite(values)]
        out[metric] = float(np.median(known)) if len(known) else float("nan")
    return out

"""Figures of the report about the system: latencies, outcomes, accuracy against the truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from rt_engine.recording.figure_style import BLUE, GREEN, GREY, INK, ORANGE, RED, new_figure
from rt_engine.recording.truth_matching import TruthScore, precision_by_cell, recall_by_cell

F64 = NDArray[np.float64]

OUTCOME_COLOURS = {"delivered": ORANGE, "withheld": BLUE, "sham": GREEN, "failed": RED, "late": RED}
A_OVER_SIGMA_EDGES = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, np.inf])
_Z_95 = 1.959964
_LONG_TAIL = 8.0


def latency_figure(latency_ms: dict[str, F64]) -> Figure:
    """One histogram for each measured interval, with its median and 99th percentile."""
    measured = [(name, values) for name, values in latency_ms.items() if len(values)]
    n_columns = min(3, max(len(measured), 1))
    n_rows = -(-len(measured) // n_columns) or 1
    figure = new_figure(9.0, 2.15 * n_rows)
    panels = np.atleast_1d(figure.subplots(n_rows, n_columns, squeeze=False)).ravel()
    for axes, (name, values) in zip(panels, measured, strict=False):
        p50, p99 = np.quantile(values, (0.5, 0.99))
        edges, is_log = histogram_edges_ms(values)
        axes.hist(np.clip(values, edges[0], edges[-1]), bins=edges, color=BLUE)
        if is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.axvline(p50, color=INK, linewidth=1.2)
        axes.axvline(p99, color=ORANGE, linewidth=1.2, linestyle="--")
        axes.set_title(f"{name}  (n = {len(values)})\np50 {p50:.3g} ms    p99 {p99:.3g} ms", loc="left")
        axes.set(xlabel="ms", ylabel="count")
    for axes in panels[len(measured) :]:
        axes.set_visible(False)
    return figure


def histogram_edges_ms(values_ms: F64) -> tuple[F64, bool]:
    """Bins up to the 99.9th percentile; equally wide, or, where the tail is long, equally wide in the logarithm.

    Returns
    -------
    edges : float64 ndarray, ms
    is_log : bool
    """
    low, median, high = float(values_ms.min()), float(np.median(values_ms)), float(np.quantile(values_ms, 0.999))
    high = high if high > low else low + max(abs(low) * 0.1, 0.01)
    n_bins = int(np.clip(np.sqrt(len(values_ms)), 8, 60))
    if low > 0 and high > _LONG_TAIL * median:
        return np.geomspace(low, high, n_bins + 1), True
    return np.linspace(low, high, n_bins + 1), False


def outcome_figure(outcomes: dict[str, int]) -> Figure:
    """What became of the decisions."""
    shown = {name: n for name, n in outcomes.items() if n}
    figure = new_figure(6.4, 0.75 + 0.32 * len(shown))
    axes = figure.add_subplot()
    names = list(shown)[::-1]
    bars = axes.barh(
        [name.replace("_", " ") for name in names],
        [shown[name] for name in names],
        color=[OUTCOME_COLOURS.get(name, GREY) for name in names],
        height=0.7,
    )
    axes.bar_label(bars, padding=3)
    axes.set_xlabel("decisions")
    axes.margins(x=0.12)
    return figure


def accuracy_figure(a_over_sigma: F64, score: TruthScore) -> Figure:
    """Recall and precision of every planted cell, and pooled in bins of A/sigma with Wilson intervals."""
    figure = new_figure(9.0, 3.3)
    panels = figure.subplots(1, 2, sharey=True)
    rows = (
        ("recall of bursts", recall_by_cell(score), score.n_hit, score.n_bursts),
        ("precision of events", precision_by_cell(score), score.n_true, score.n_events),
    )
    top = float(np.max(a_over_sigma, initial=8.0)) * 1.04
    for axes, (name, by_cell, n_good, n_all) in zip(panels, rows, strict=True):
        axes.axvline(4, color=INK, linewidth=0.8, linestyle=":")
        found = score.found
        axes.plot(a_over_sigma[found], by_cell[found], "o", color=BLUE, markersize=3.5, alpha=0.5, markeredgewidth=0)
        axes.plot(a_over_sigma[~found], by_cell[~found], "x", color=GREY, markersize=4, alpha=0.8)
        x, y, error = binned_fraction(a_over_sigma, n_good, n_all)
        axes.errorbar(x, y, error, fmt="s-", color=ORANGE, markersize=5, capsize=2.5, linewidth=1.5)
        axes.set(xlabel="A/σ of the planted cell", ylabel=name, xlim=(0, top), ylim=(-0.04, 1.06))
        axes.yaxis.set_tick_params(labelleft=True)
    handles = [
        panels[0].plot([], [], "o", color=BLUE, markersize=4, label="cell")[0],
        panels[0].plot([], [], "x", color=GREY, markersize=5, label="cell not found")[0],
        panels[0].plot([], [], "s-", color=ORANGE, markersize=5, label="pooled, 95 % interval")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def binned_fraction(a_over_sigma: F64, n_good: NDArray[np.int64], n_all: NDArray[np.int64]) -> tuple[F64, F64, F64]:
    """Pooled fraction in each bin of A/sigma.

    Returns
    -------
    x : float64 ndarray, shape (n_bins,)
        Mean A/sigma of the bin's cells; bins with nothing counted are left out.
    fraction : float64 ndarray, shape (n_bins,)
    error : float64 ndarray, shape (2, n_bins)
        Down to and up to the ends of the 95 % Wilson interval.
    """
    x, fraction, error = [], [], []
    for low, high in pairwise(A_OVER_SIGMA_EDGES):
        cells = (a_over_sigma >= low) & (a_over_sigma < high)
        good, n = int(n_good[cells].sum()), int(n_all[cells].sum())
        if n == 0:
            continue
        p = good / n
        centre = (p + _Z_95**2 / (2 * n)) / (1 + _Z_95**2 / n)
        half = _Z_95 / (1 + _Z_95**2 / n) * np.sqrt(p * (1 - p) / n + _Z_95**2 / (4 * n * n))
        x.append(float(a_over_sigma[cells].mean()))
        fraction.append(p)
        error.append((max(p - (centre - half), 0.0), max(centre + half - p, 0.0)))
    return np.array(x), np.array(fraction), np.array(error).reshape(-1, 2).T

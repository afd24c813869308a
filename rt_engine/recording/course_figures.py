"""Figures of the report over the time of the session: how late, how lit, how steady."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from rt_engine.recording.figure_style import BLUE, GREEN, GREY, INK, ORANGE, RED, new_figure

F64 = NDArray[np.float64]
_N_BINS = 80
_LONG_TAIL = 20.0
_STATE_COLOURS = {"armed": GREEN, "tripped": RED}


def latency_course_figure(
    t_s: F64, total_ms: F64, decided_s: F64, command_ms: F64, span_s: tuple[float, float]
) -> Figure:
    """Median and 99th percentile from scan to decision in bins of time; every command as a dot."""
    figure = new_figure(9.0, 2.6)
    axes = figure.add_subplot()
    edges = np.linspace(span_s[0], max(span_s[1], span_s[0] + 1e-3), min(_N_BINS, max(2, len(t_s) // 20)) + 1)
    which = np.clip(np.digitize(t_s, edges) - 1, 0, len(edges) - 2)
    middle = (edges[:-1] + edges[1:]) / 2
    for quantile, colour, name in ((0.5, BLUE, "median"), (0.99, GREY, "99th percentile")):
        values = [
            np.quantile(total_ms[which == i], quantile) if np.any(which == i) else np.nan for i in range(len(middle))
        ]
        axes.plot(middle, values, color=colour, linewidth=1.6, label=f"scan to decision, {name}")
    if len(command_ms):
        axes.plot(decided_s, command_ms, "o", color=ORANGE, markersize=3.5, label="scan to command")
    axes.set(xlabel="time since going live (s)", ylabel="ms", xlim=span_s)
    if total_ms.min() > 0 and total_ms.max() > _LONG_TAIL * np.median(total_ms):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def dose_figure(
    energy: dict[str, tuple[F64, F64]],
    states: list[tuple[float, str]],
    limits_mj: dict[str, float],
    span_s: tuple[float, float],
) -> Figure:
    """Energy given so far by output, with the state of the interlock below.

    Parameters
    ----------
    energy : dict of str to (float64 ndarray, float64 ndarray)
        Times, seconds, and energies of the pulses, millijoules.
    states : list of (float, str)
        Time of each change, seconds, and the state from then on.
    limits_mj : dict of str to float
        Largest total energy, by output.
    span_s : (float, float)
        Live part.
    """
    figure = new_figure(9.0, 2.9)
    dose, state = figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
    for colour, (name, (t_s, mj)) in zip((ORANGE, BLUE, GREEN, GREY) * 8, energy.items(), strict=False):
        t, total = np.concatenate([[span_s[0]], t_s, [span_s[1]]]), np.concatenate([[0.0], np.cumsum(mj)])
        limit = f" of {limits_mj[name]:g} mJ allowed" if name in limits_mj else ""
        label = f"{name}: {total[-1]:.3g} mJ{limit}"
        dose.step(t, np.append(total, total[-1]), where="post", color=colour, label=label)
    dose.set_ylabel("energy so far,\nall targets (mJ)")
    dose.set_ylim(bottom=0)
    if energy:
        dose.legend(loc="upper left")
    for (start, name), (end, _) in pairwise([*states, (span_s[1], "")]):
        first, last = max(start, span_s[0]), min(end, span_s[1])
        if last > first:
            state.axvspan(first, last, color=_STATE_COLOURS.get(name, GREY), alpha=0.55, linewidth=0)
            if last - first > 0.06 * (span_s[1] - span_s[0]):
                state.text((first + last) / 2, 0.5, name, ha="center", va="center", fontsize=8, color=INK)
    state.set(yticks=[], ylim=(0, 1), xlim=span_s, xlabel="time since going live (s)", ylabel="interlock")
    state.yaxis.label.set(rotation=0, ha="right", va="center")
    return figure


def quality_figure(t_s: F64, shift_yx_px: F64, quality: F64, span_s: tuple[float, float]) -> Figure:
    """Displacement along both axes, and how well frames fitted the template."""
    figure = new_figure(9.0, 3.2)
    shift, fit = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for column, colour, name in ((0, BLUE, "y"), (1, ORANGE, "x")):
        shift.plot(t_s, shift_yx_px[:, column], color=colour, linewidth=0.8, label=name, rasterized=True)
    shift.set_ylabel("shift (px)")
    fit.plot(t_s, quality, color=GREY, linewidth=0.8, rasterized=True)
    fit.set(xlabel="time since going live (s)", ylabel="quality of\nregistration", xlim=span_s)
    shift.legend(loc="upper right", ncols=2)
    return figure

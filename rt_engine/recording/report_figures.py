"""Figures of the report about cells: where they are, what they did, and how they answered light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.recording.event_triggered import TriggeredAverage
from rt_engine.recording.figure_style import BLUE, GREEN, GREY, INK, ORANGE, new_figure

F64 = NDArray[np.float64]

ARM_COLOURS = {"delivered": ORANGE, "withheld": BLUE, "dry_run": GREY, "sham": GREEN}
_MORE_COLOURS = ("#9a4fc4", "#b8860b", "#c2385a", "#12888c")
"""Readable on white and on black."""
_WIDTH_IN = 9.0
_SCALE_BARS_UM = (5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One example cell: times in seconds from going live, values in dF/F."""

    name: str
    t_s: F64
    dff: F64
    calcium: F64
    t_event_s: F64
    t_light_s: F64
    is_target: bool


def field_figure(
    calibration: Calibration, trigger_ids: set[int], target_ids: set[int], lit_yx_px: list[tuple[float, float]]
) -> Figure:
    """Mean image with the outlines of all cells, those that trigger, and the places that light aims at."""
    image = calibration.template
    height, width = image.shape
    figure = new_figure(6.4, 6.4 * height / width + 0.55)
    axes = figure.add_subplot()
    low, high = np.percentile(image[np.isfinite(image)], (1, 99.7)) if np.isfinite(image).any() else (0.0, 1.0)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    handles = []
    for ids, colour, thickness, name in (
        (None, BLUE, 0.8, f"cells ({calibration.n_rois})"),
        (trigger_ids, GREEN, 1.6, "triggering"),
        (target_ids, ORANGE, 1.6, "light targets"),
    ):
        chosen = [i for i, roi_id in enumerate(calibration.roi_id) if ids is None or int(roi_id) in ids]
        edges = [edge for i in chosen for edge in outline(calibration, i)]
        if edges:
            axes.add_collection(LineCollection(edges, colors=colour, linewidths=thickness, rasterized=True))
            handles.append(Line2D([], [], color=colour, linewidth=thickness + 0.6, label=name))
    if lit_yx_px:
        y, x = zip(*lit_yx_px, strict=True)
        axes.plot(x, y, "+", color=ORANGE, markersize=7, markeredgewidth=1.4)
        handles.append(Line2D([], [], color=ORANGE, marker="+", linestyle="", label="light was here"))
    _scale_bar(axes, calibration)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def outline(calibration: Calibration, index: int) -> list[list[tuple[float, float]]]:
    """Pixel edges around one cell, as ((x, y), (x, y)) pairs in pixels of the template."""
    flat = calibration.roi_pixels[calibration.roi_start[index] : calibration.roi_start[index + 1]]
    if not len(flat):
        return []
    y, x = np.divmod(flat.astype(np.int64), calibration.pixels_per_line)
    top, left = int(y.min()) - 1, int(x.min()) - 1
    mask = np.zeros((int(y.max()) - top + 2, int(x.max()) - left + 2), bool)
    mask[y - top, x - left] = True
    edges = []
    for row, column in np.argwhere(mask[1:] != mask[:-1]):
        edge_y, edge_x = top + row + 0.5, left + column
        edges.append([(edge_x - 0.5, edge_y), (edge_x + 0.5, edge_y)])
    for row, column in np.argwhere(mask[:, 1:] != mask[:, :-1]):
        edge_y, edge_x = top + row, left + column + 0.5
        edges.append([(edge_x, edge_y - 0.5), (edge_x, edge_y + 0.5)])
    return edges


def _scale_bar(axes: Axes, calibration: Calibration) -> None:
    """A bar of about a fifth of the image; in pixels where the pixel size is unknown."""
    height, width = calibration.template.shape
    um_per_px = calibration.um_per_px
    if np.isfinite(um_per_px) and um_per_px > 0:
        length = min(_SCALE_BARS_UM, key=lambda um: abs(um - width * um_per_px / 5))
        length_px, text = length / um_per_px, f"{length} µm"
    else:
        length_px = float(min(_SCALE_BARS_UM, key=lambda px: abs(px - width / 5)))
        text = f"{length_px:.0f} px"
    x1, y0 = 0.965 * width, 0.965 * height
    axes.plot([x1 - length_px, x1], [y0, y0], color="white", linewidth=3, solid_capstyle="butt")
    axes.text(x1 - length_px / 2, y0 - 0.012 * height, text, color="white", ha="center", va="bottom", fontsize=9)


def traces_figure(traces: list[Trace], window_s: tuple[float, float]) -> Figure:
    """Example cells one under another: dF/F, denoised calcium, events, light."""
    figure = new_figure(_WIDTH_IN, 0.9 + 1.15 * len(traces))
    rows = np.atleast_1d(figure.subplots(len(traces), 1, sharex=True, squeeze=True))
    for axes, trace in zip(rows, traces, strict=True):
        for t_s in trace.t_light_s:
            axes.axvline(t_s, color=ORANGE, linewidth=1.5 if trace.is_target else 0.6, alpha=0.8, zorder=0)
        axes.plot(trace.t_s, trace.dff, color=GREY, linewidth=0.6, rasterized=True)
        axes.plot(trace.t_s, trace.calcium, color=BLUE, linewidth=1.3)
        low, high = _limits(trace)
        span = high - low
        axes.plot(trace.t_event_s, np.full(len(trace.t_event_s), low - 0.1 * span), "|", color=INK, markersize=6)
        axes.set(ylim=(low - 0.22 * span, high + 0.05 * span), ylabel="ΔF/F")
        axes.set_title(f"{trace.name}{', light target' if trace.is_target else ''}", loc="left", pad=2)
    rows[-1].set(xlabel="time since going live (s)", xlim=window_s)
    handles = [
        Line2D([], [], color=GREY, linewidth=1, label="ΔF/F"),
        Line2D([], [], color=BLUE, label="denoised calcium"),
        Line2D([], [], color=INK, marker="|", linestyle="", label="event (at the time of the spike)"),
        Line2D([], [], color=ORANGE, label="light (thick: on this cell)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _limits(trace: Trace) -> tuple[float, float]:
    known = np.concatenate([trace.dff, trace.calcium])
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(np.quantile(known, 0.001)), float(known.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def raster_figure(
    t_event_s: F64, row: NDArray[np.int64], n_cells: int, t_light_s: F64, span_s: tuple[float, float]
) -> Figure:
    """All events by cell, with the rate of the population and the light above."""
    figure = new_figure(_WIDTH_IN, 4.2)
    rate, raster = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
    duration_s = max(span_s[1] - span_s[0], 1e-3)
    edges = np.linspace(span_s[0], span_s[1], max(2, min(240, int(duration_s) + 1)))
    counts = np.histogram(t_event_s, edges)[0]
    rate.stairs(counts / np.diff(edges) / max(n_cells, 1), edges, color=BLUE, fill=True, alpha=0.85)
    rate.set_ylabel("events per cell\nand second")
    rate.set_ylim(bottom=0)
    for axes in (rate, raster):
        for t_s in t_light_s:
            axes.axvline(t_s, color=ORANGE, linewidth=0.7, alpha=0.8)
    size = max(4.0, min(60.0, 5000 / max(n_cells, 1)))
    raster.scatter(t_event_s, row, marker="|", s=size, linewidths=0.9, color=BLUE, rasterized=True)
    raster.set(xlim=span_s, ylim=(n_cells - 0.5, -0.5), xlabel="time since going live (s)", ylabel="cell (roi_index)")
    if len(t_light_s):
        figure.legend(handles=[Line2D([], [], color=ORANGE, label="light")], loc="outside upper right")
    return figure


def triggered_figure(averages: dict[str, TriggeredAverage], outcomes: dict[str, str]) -> Figure:
    """Mean response of the target cells by arm, with the pointwise 95 % confidence band.

    Parameters
    ----------
    averages : dict of str to TriggeredAverage
        By arm.
    outcomes : dict of str to str
        By arm: which colour it has, the first of an outcome; the others have one of their own.
    """
    figure = new_figure(6.4, 3.4)
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.axhline(0, color=INK, linewidth=0.5, alpha=0.5)
    taken: set[str] = set()
    spare = iter(_MORE_COLOURS * len(averages))
    for arm, average in averages.items():
        outcome = outcomes[arm]
        colour = next(spare) if outcome in taken else ARM_COLOURS.get(outcome, GREY)
        taken.add(outcome)
        label = f"{arm.replace('_', ' ')} (n = {average.n_trials})"
        style = "-" if outcome == "delivered" else "--"
        axes.plot(average.t_s, average.mean, style, color=colour, linewidth=1.8, label=label)
        axes.fill_between(average.t_s, average.low, average.high, color=colour, alpha=0.22, linewidth=0)
    axes.set(xlabel="time from the trigger (s)", ylabel="ΔF/F of the target cells,\nminus the second before")
    axes.set_ylim(*_response_limits(averages))
    axes.legend(loc="upper right")
    return figure


def _response_limits(averages: dict[str, TriggeredAverage]) -> tuple[float, float]:
    """All means, and the bands but where a few trials are left: there a band can dwarf everything."""
    means = np.concatenate([average.mean for average in averages.values()])
    low, high = (np.concatenate([getattr(one, edge) for one in averages.values()]) for edge in ("low", "high"))
    width = high - low
    usual = width <= 4.0 * np.nanmedian(width) if np.isfinite(width).any() else np.zeros(len(width), bool)
    bands = np.concatenate([low[usual], high[usual]])
    means, bands = means[np.isfinite(means)], bands[np.isfinite(bands)]
    if not len(means):
        return -1.0, 1.0
    ends = np.concatenate([means, bands])
    margin = max(0.08 * float(np.ptp(ends)), 1e-3)
    return float(ends.min()) - margin, float(ends.max()) + margin

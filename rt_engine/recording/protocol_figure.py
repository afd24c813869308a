"""Timeline of a protocol: events, phases, signals, triggers by outcome, light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.recording.figure_style import BLUE, GREEN, GREY, ORANGE, RED, new_figure, styled

_COLOURS = {
    "delivered": BLUE,
    "dry_run": BLUE,
    "withheld": ORANGE,
    "sham": GREEN,
    "suppressed": GREY,
    "refused": RED,
    "late": RED,
    "failed": RED,
}
_SHADES = ("#dfe9f3", "#f6ead0", "#e3efe6", "#f3e1dc", "#ebe6f2")
_MOST_SIGNALS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """What is drawn; times in seconds.

    Attributes
    ----------
    title : str
    duration_s, frame_rate_hz : float
    event_s, event_row : ndarray, shape (n_events,)
    phases : list of (float, str)
        Beginning and name.
    signals : dict of str to float64 ndarray, shape (n_frames,)
    triggers : dict of str to float64 ndarray
        Times by outcome.
    light : float64 ndarray, shape (n_pulses, 3)
        Time, energy (mJ, all targets), power for each target (mW).
    marks : list of float
    words : list of str
        Sentences under the picture.
    """

    title: str
    duration_s: float
    frame_rate_hz: float
    event_s: NDArray[np.float64]
    event_row: NDArray[np.int64]
    phases: list[tuple[float, str]]
    signals: dict[str, NDArray[np.float64]]
    triggers: dict[str, NDArray[np.float64]]
    light: NDArray[np.float64]
    marks: list[float]
    words: list[str]


def save_timeline(timeline: Timeline, path: Path) -> None:
    """Draw a timeline into a file (.png, .svg or .pdf)."""
    signals = dict(list(timeline.signals.items())[:_MOST_SIGNALS])
    heights = [0.35, 2.0, *[0.9] * len(signals), 1.1, 0.9]
    with styled():
        figure = new_figure(9.0, sum(heights) + 0.9 + 0.16 * len(timeline.words))
        figure.set_facecolor("white")
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        first = figure.add_subplot(grid[0])
        axes = [first, *(figure.add_subplot(grid[i], sharex=first) for i in range(1, len(heights)))]
        _phases(axes[0], timeline)
        _events(axes[1], timeline)
        frame_s = (np.arange(max((len(v) for v in signals.values()), default=0)) + 1) / timeline.frame_rate_hz
        for axis, (name, values) in zip(axes[2:-2], signals.items(), strict=True):
            axis.plot(frame_s, values, color=GREY, linewidth=0.8)
            axis.set_ylabel(name, rotation=0, ha="right", va="center")
        _triggers(axes[-2], timeline)
        _light(axes[-1], timeline)
        for axis in axes[:-1]:
            axis.tick_params(labelbottom=False)
        axes[-1].set_xlabel("time (s)")
        first.set_xlim(0, timeline.duration_s)
        figure.suptitle(timeline.title, fontsize=10, x=0.01, ha="left")
        if timeline.words:
            figure.supxlabel("\n".join(timeline.words), fontsize=8, x=0.01, ha="left")
        figure.savefig(path, dpi=130)


def _phases(axis: Any, timeline: Timeline) -> None:
    edges = [*(t for t, _ in timeline.phases), timeline.duration_s]
    shades: dict[str, str] = {}
    for (start, name), end in zip(timeline.phases, edges[1:], strict=True):
        if name not in shades:
            shades[name] = _SHADES[len(shades) % len(_SHADES)]
            label = name
        else:
            label = None
        axis.axvspan(start, end, color=shades[name], linewidth=0, label=label)
    axis.set_yticks([])
    axis.set_ylabel("phase", rotation=0, ha="right", va="center")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, fontsize=7, borderpad=0)
    axis.spines[:].set_visible(False)


def _events(axis: Any, timeline: Timeline) -> None:
    axis.plot(timeline.event_s, timeline.event_row, ".", markersize=1.2, color="black", rasterized=True)
    for t_s in timeline.marks:
        axis.axvline(t_s, color=GREEN, linewidth=0.8)
    axis.set_ylabel("events, cell", rotation=0, ha="right", va="center")


def _triggers(axis: Any, timeline: Timeline) -> None:
    names = [name for name, times in timeline.triggers.items() if len(times)]
    for row, name in enumerate(names):
        times = timeline.triggers[name]
        axis.plot(times, np.full(len(times), row), "|", color=_COLOURS.get(name, GREY), markersize=7)
    axis.set_yticks(range(len(names)), [f"{name} {len(timeline.triggers[name])}" for name in names])
    axis.set_ylim(-0.6, max(len(names) - 0.4, 0.6))


def _light(axis: Any, timeline: Timeline) -> None:
    if len(timeline.light):
        axis.vlines(timeline.light[:, 0], 0, timeline.light[:, 2], color=BLUE, linewidth=0.7)
        dose = axis.twinx()
        dose.plot(timeline.light[:, 0], np.cumsum(timeline.light[:, 1]), color=RED)
        dose.set_ylabel("dose (mJ)", color=RED)
        dose.spines["right"].set_visible(True)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("light (mW)", rotation=0, ha="right", va="center")

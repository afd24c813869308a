"""Tables and figure of `spikeloop bench latency`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rt_engine.bench.loop.latency import LAST_SHARE
from rt_engine.recording.figure_style import new_figure, styled

_MODES = ("lockstep", "200 Hz", "30 Hz")
_SHOWN = (
    "reference hop",
    "core",
    "everything on",
    "demixed",
    "chain of peers' parts with core, beside peers",
    "with the network",
    "frames in messages",
    "window",
    "strips",
)
"""Chains that are drawn, if any of them was measured; the rest are halves of ratios, which the table has."""


def print_latency(figures: dict[str, Any], console: Console) -> None:
    """Ratios first, then microseconds."""
    table = Table("ratio to the reference hop of the same round", "median", "range", "bound", "met")
    for name, row in figures["ratios"].items():
        median, lowest, highest = row["value"]
        met = {True: "yes", False: "no", None: ""}[row.get("met")]
        table.add_row(name, f"{median:.3g}", f"{lowest:.3g} to {highest:.3g}", row.get("bound", ""), met)
    console.print(table)
    if "left_out" in figures:
        console.print(f"Not measured: {figures['left_out']}")
    table = Table("µs", "frames come", "interval", "p50", "p99", "p99.9", "max", "n")
    for variant, modes in figures["us"].items():
        for mode, intervals in modes.items():
            for interval, of in intervals.items():
                numbers = [f"{of[k]:.0f}" for k in ("p50", "p99", "p999", "max")]
                table.add_row(variant, mode, interval, *numbers, str(of["n"]))
    console.print(table)


def save_latency_figure(figures: dict[str, Any], path: Path) -> None:
    """Share of frames that took longer, by time, a panel for each way in which frames come, a colour for each chain."""
    courses = figures["sorted_us"]
    shown = [name for name in _SHOWN if name in courses] or list(courses)
    modes = sorted({mode for name in shown for mode in courses[name]}, key=_MODES.index)
    with styled():
        figure = new_figure(3.2 * len(modes) + 2.6, 3.2)
        panels = np.atleast_1d(figure.subplots(1, len(modes), sharey=True))
        lines = {}
        for panel, mode in zip(panels, modes, strict=True):
            for k, name in enumerate(shown):
                if mode in courses[name]:
                    values = np.array(courses[name][mode])
                    share = np.geomspace(1.0, LAST_SHARE, len(values))
                    style = "--" if name.startswith("reference") else "-"
                    (lines[name],) = panel.plot(values, share, style, color=f"C{k % 10}", label=name)
            panel.set(xscale="log", yscale="log", title=mode, xlabel="µs from the scan")
            panel.tick_params(axis="x", which="minor", labelbottom=False)  # those of less than a decade would collide
        panels[0].set_ylabel("share of frames that took longer")
        in_order = [lines[name] for name in shown]
        figure.legend(handles=in_order, loc="outside right center", fontsize=8, frameon=False)
        figure.savefig(path, facecolor="white")

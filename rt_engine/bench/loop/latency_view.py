"""Tables and figure of `spikeloop bench latency`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rt_engine.bench.loop.latency import LAST_SHARE
from rt_engine.recording.figure_style import new_figure, styled


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
    """Share of frames that took longer, by time, a panel for each way in which frames come."""
    modes = sorted({mode for of in figures["sorted_us"].values() for mode in of})
    with styled():
        figure = new_figure(4.0 * len(modes), 3.6)
        panels = np.atleast_1d(figure.subplots(1, len(modes), sharey=True))
        for panel, mode in zip(panels, modes, strict=True):
            _draw_mode(panel, mode, figures["sorted_us"])
        panels[0].set_ylabel("share of frames that took longer")
        figure.savefig(path, facecolor="white")


def _draw_mode(panel: Any, mode: str, quantiles: dict[str, dict[str, list[float]]]) -> None:
    for variant, of in quantiles.items():
        if mode in of:
            values = np.array(of[mode])
            share = np.geomspace(1.0, LAST_SHARE, len(values))
            panel.plot(values, share, "--" if variant.startswith("reference") else "-", label=variant)
    panel.set(xscale="log", yscale="log", title=mode, xlabel="µs from the scan")
    panel.tick_params(axis="x", which="minor", labelbottom=False)  # those of less than a decade stand on each other
    panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)

"""Table and figure of `spikeloop bench soak`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rt_engine.recording.figure_style import new_figure, styled

_MIB = 1024 * 1024


def print_soak(figures: dict[str, Any], console: Console) -> None:
    """Losses, growth of every process, and latency of the first and last minute."""
    for text in figures["refused"]:
        console.print(text)
    console.print(
        f"{figures['n_cells']} cells, {figures['side_px']} x {figures['side_px']} px: "
        f"{figures['frames']} frames in {figures['seconds']:.0f} s ({figures['frames_per_s']:.0f} a second), "
        f"{figures['sent']} sent while live, {figures['fates'].get('decided', 0)} decided, "
        f"{figures['journal'].get('activity.0', 0)} told in the journal, "
        f"{figures['lost']} lost, {figures['unaccounted']} without a fate; load {figures['load']}"
    )
    table = Table("process", "resident MiB", "grew by MiB after the first minute", "handles and threads constant")
    for name, of in figures["samples"].items():
        grew = figures["growth_bytes"][name] / _MIB
        steady = "yes" if figures["handles_and_threads_constant"][name] else "no"
        table.add_row(name, f"{of['rss_bytes'][-1] / _MIB:.0f}", f"{grew:.2f}", steady)
    console.print(table)
    table = Table("minute", "p50 µs", "p99", "p99.9", "max", "n")
    for number, of in enumerate(figures["minutes"]):
        if number in (0, 1, len(figures["minutes"]) - 1):
            table.add_row(str(number + 1), *(f"{of[k]:.0f}" for k in ("p50", "p99", "p999", "max")), str(of["n"]))
    console.print(table)
    for what, met in figures["met"].items():
        console.print(f"{what}: {'yes' if met else 'no'}")


def save_soak_figure(figures: dict[str, Any], path: Path) -> None:
    """Resident memory of every process above, percentiles by minute below."""
    with styled():
        figure = new_figure(7.5, 5.0)
        memory, latency = figure.subplots(2, 1)
        for name, of in figures["samples"].items():
            t_min = np.array(of["t_s"]) / 60
            memory.plot(t_min, (np.array(of["rss_bytes"]) - of["rss_bytes"][0]) / _MIB, label=name)
        memory.set(xlabel="minutes", ylabel="resident memory, MiB\nabove that at the start")
        memory.legend()
        minutes = np.arange(len(figures["minutes"])) + 1
        for key, label in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"), ("max", "max")):
            latency.plot(minutes, [of[key] for of in figures["minutes"]], label=label)
        latency.set(xlabel="minutes", ylabel="scan_to_command, µs", yscale="log")
        latency.legend(ncols=4)
        figure.savefig(path, facecolor="white")

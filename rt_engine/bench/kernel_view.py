"""Table and figure of `spikeloop bench kernels`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rt_engine.interfaces.errors import ConfigError
from rt_engine.recording.figure_style import BLUE, GREEN, GREY, INK, ORANGE, RED, new_figure, styled

_COLOURS = {
    "AR(1)": BLUE,
    "AR(1), s_min": GREEN,
    "AR(2)": ORANGE,
    "oasis-deconv AR(1)": GREY,
    "oasis-deconv AR(2)": INK,
    "suite2p AR(1)": RED,
}


def print_figures(figures: dict[str, Any], console: Console) -> None:
    """Everything measured, as tables."""
    cells = list(figures["ns_per_sample"])
    table = Table("ns per cell and frame", *(f"{int(n):,} cells" for n in cells), title="Deconvolution, one thread")
    for name in figures["ns_per_sample"][cells[0]]:
        table.add_row(name, *(_spread(figures["ns_per_sample"][n][name]) for n in cells))
    table.add_section()
    for name, of in figures["ratios"].items():
        table.add_row(f"{name}: times faster", *(_spread(of[n]) for n in cells))
    console.print(table)
    table = Table("1,000 cells", "µs per frame", "memory passes", title="A frame (pass: 512 × 512 uint16 read once)")
    for name, spread in figures["frame_us"].items():
        table.add_row(name, _spread(spread), _spread(figures["frame_vs_memory_pass"][name]))
    console.print(table)
    table = Table("target", "bound", "median", "", title=f"Medians of {figures['n_rounds']} interleaved rounds (range)")
    for name, one in figures["targets"].items():
        table.add_row(name, one["bound"], f"{one['value']:.3g}", "met" if one["met"] else "missed")
    console.print(table)
    if not figures["suite2p"]:
        console.print("suite2p is not installed: not compared", highlight=False)
    console.print("Absolute times depend on the machine and on what else it does; compare ratios.", highlight=False)


def _spread(spread: Any) -> str:
    median, lowest, highest = spread
    return f"{median:.3g} ({lowest:.3g}–{highest:.3g})"


def figure_path(text: str) -> Path:
    """Where a figure may be written.

    Raises
    ------
    ConfigError
        The folder is not there, or the name does not end in a known format.
    """
    path = Path(text)
    if not path.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(path.parent))
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError("is no figure that can be written", "end its name in .png, .svg or .pdf", file=text)
    return path


def save_figure(figures: dict[str, Any], path: Path) -> None:
    """Cost over the number of cells; PNG, SVG or PDF by the name of the file."""
    with styled():
        _draw(figures).savefig(path, facecolor="white")


def _draw(figures: dict[str, Any]) -> Figure:
    figure = new_figure(7.5, 3.6)
    cost, gain = figure.subplots(1, 2)
    cells = list(figures["ns_per_sample"])
    at = [int(n) for n in cells]
    for name, colour in _COLOURS.items():
        if name not in figures["ns_per_sample"][cells[0]]:
            continue
        median, lowest, highest = zip(*(figures["ns_per_sample"][n][name] for n in cells), strict=True)
        style = "o-" if name.startswith("AR") else "--"
        cost.plot(at, median, style, color=colour, markersize=4, label=name)
        cost.fill_between(at, lowest, highest, color=colour, alpha=0.2, linewidth=0)
    cost.set(xscale="log", yscale="log", xlabel="cells", ylabel="ns per cell and frame")
    top = cost.get_ylim()[1]
    cost.set_ylim(top=20 * top)  # room for the legend
    cost.legend(loc="upper left", ncols=2, fontsize=7)
    for name, of in figures["ratios"].items():
        median, lowest, highest = zip(*(of[n] for n in cells), strict=True)
        colour = RED if "suite2p" in name else _COLOURS[name.split(" vs ")[0]]
        gain.plot(at, median, "o-", color=colour, markersize=4, label=name)
        gain.fill_between(at, lowest, highest, color=colour, alpha=0.2, linewidth=0)
    gain.set(xscale="log", yscale="log", xlabel="cells", ylabel="times faster, per sample")
    top = gain.get_ylim()[1]
    gain.set_ylim(top=4 * top)
    gain.yaxis.set_major_formatter("{x:g}")
    gain.legend(loc="upper left", fontsize=7)
    return figure

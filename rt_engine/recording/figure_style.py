"""How the report's figures look: colours for all eyes and both backgrounds, and inline SVG."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK = "#0a0b0c"
"""Stands for the text colour of the page: replaced by ``currentColor`` in the SVG."""

BLUE, ORANGE, GREY, GREEN, RED = "#3c8fd6", "#e69f00", "#8c8c8c", "#009e73", "#d55e00"
"""After Okabe & Ito, https://jfly.uni-koeln.de/color/, the blue lightened to stand on black too."""
INK = _INK

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "svg.fonttype": "path",
    "svg.hashsalt": "spikeloop",
    "savefig.dpi": 180,
}


def styled() -> AbstractContextManager[None]:
    """Context in which all figures of the report are drawn."""
    return mpl.rc_context(_STYLE)


def new_figure(width_in: float, height_in: float) -> Figure:
    """Empty figure with an Agg canvas, laid out without clipping; no window system is touched."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Figure, label: str) -> str:
    """Inline SVG of a figure, as wide as its place allows, in the text colour of the page.

    Parameters
    ----------
    figure : Figure
        Drawn within `styled`.
    label : str
        What it shows, for those who do not see it.
    """
    out = io.StringIO()
    with styled():
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    width_pt = figure.get_figwidth() * 72
    head = f'<svg role="img" aria-label="{label}" style="width:100%;max-width:{width_pt * 4 / 3:.0f}px;height:auto"'
    text = re.sub(r'^<svg( [^>]*?)? height="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", head, 1)

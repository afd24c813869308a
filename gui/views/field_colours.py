"""Colours of the cells by what they do or are, with their legend."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gui.model.cells import Cells
from gui.model.traces import Traces
from gui.palette import TAG_COLOURS
from gui.views.cell_outlines import premultiplied
from gui.views.picture_item import map_colours

COLOUR_BY = ("activity", "probability", "SNR", "tag")
_MAP = "viridis"
_UNKNOWN = 0x9AA7B4


class Legend(NamedTuple):
    """What the colours mean: caption with unit, and the ends of the scale."""

    caption: str
    low: str
    high: str


LEGENDS = {
    "activity": Legend("ΔF/F (σ of noise)", "0", "8"),
    "probability": Legend("spike probability", "0", "1"),
    "SNR": Legend("single-spike SNR (A/σ)", "0", "8"),
    "tag": Legend("tag", "", ""),
}


def edge_colours(by: str, cells: Cells, traces: Traces | None) -> NDArray[np.uint32]:
    """Colour of every outline, premultiplied ``0xaarrggbb``, shape (n_rois,)."""
    if by == "tag":
        return _by_tag(cells)
    value = _values(by, cells, traces)
    table = _translucent(map_colours(_MAP, 64))
    level = np.clip(np.nan_to_num(value, nan=0.0, posinf=1.0, neginf=0.0) * 63, 0, 63).astype(np.intp)
    colours = table[level]
    colours[~np.isfinite(value)] = premultiplied(_UNKNOWN, 0.5)
    return colours


def _values(by: str, cells: Cells, traces: Traces | None) -> NDArray[np.float64]:
    """Value of every cell on a scale from 0 to 1; NaN where unknown."""
    unknown = np.full(cells.n_rois, np.nan)
    if by == "SNR":
        return np.asarray(cells.figures["snr"] / 8.0)
    if traces is None or traces.n_rois != cells.n_rois:
        return unknown
    if by == "probability":
        return np.asarray(traces.newest.get("probability", unknown), np.float64)
    dff = traces.newest.get("dff")
    if dff is None:
        return unknown
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sigma = cells.figures["amplitude"] / cells.figures["snr"]
        return np.asarray(dff / sigma / 8.0, np.float64)


def _by_tag(cells: Cells) -> NDArray[np.uint32]:
    names = sorted({tag for tags in cells.tags for tag in tags})
    of = {name: int(TAG_COLOURS[i % len(TAG_COLOURS)][1:], 16) for i, name in enumerate(names)}
    colours = [premultiplied(of[tags[0]] if tags else _UNKNOWN, 0.95 if tags else 0.5) for tags in cells.tags]
    return np.array(colours, np.uint32)


def _translucent(table: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """More opaque as the value rises, so that quiet cells do not hide the picture."""
    alpha = np.linspace(0.55, 1.0, len(table))
    return np.array([premultiplied(int(one) & 0xFFFFFF, a) for one, a in zip(table, alpha, strict=True)], np.uint32)

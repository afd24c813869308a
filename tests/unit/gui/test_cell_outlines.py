"""Cells are mixed into the picture as Qt would lay them over it, and stand where their footprints are."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import wire_samples as wire

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtGui

from gui.model.cells import Cells, cells_from
from gui.views.cell_outlines import CellOutlines, premultiplied
from gui.views.picture_item import PictureItem


@pytest.fixture
def cells() -> Cells:
    _, header, payload = wire.rois(3)
    return cells_from(header, memoryview(payload))


def laid_over_by_qt(below: np.ndarray[Any, Any], over: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`over` (premultiplied) drawn onto `below` by Qt's own painter."""
    lines, columns = below.shape
    ground = QtGui.QImage(below.tobytes(), columns, lines, 4 * columns, QtGui.QImage.Format.Format_RGB32).copy()
    layer = QtGui.QImage(over.tobytes(), columns, lines, 4 * columns, QtGui.QImage.Format.Format_ARGB32_Premultiplied)
    painter = QtGui.QPainter(ground)
    painter.drawImage(0, 0, layer)
    painter.end()
    return np.frombuffer(ground.constBits().asarray(ground.sizeInBytes()), np.uint32).reshape(lines, columns).copy()


def channels(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Red, green and blue, shape (3, n_lines, n_pixels)."""
    return np.stack([pixels >> shift & 255 for shift in (16, 8, 0)]).astype(np.int64)


def test_colours_are_mixed_as_qt_mixes_them(qapp: Any, cells: Cells) -> None:
    rng = np.random.default_rng(1)
    below = (0xFF000000 | rng.integers(0, 1 << 24, wire.SHAPE)).astype(np.uint32)
    edges = np.array([premultiplied(0xE69F00, 0.3), premultiplied(0xFFFFFF, 1.0), premultiplied(0x56B4E9, 0.75)])
    over = np.zeros(wire.SHAPE, np.uint32)
    inside = cells.labels > 0
    over[inside] = edges.astype(np.uint32)[cells.labels[inside] - 1]
    outlines, mine = CellOutlines(), below.copy()
    outlines.set_cells(cells, 1, 1)
    outlines.colour(edges.astype(np.uint32), {})
    assert outlines.mix_into(mine)
    # Cells of 2 x 2 pixels are nothing but outline.
    assert np.abs(channels(mine) - channels(laid_over_by_qt(below, over))).max() <= 2
    np.testing.assert_array_equal(mine[~inside], below[~inside])


def test_a_flash_fills_its_cell_and_no_other(qapp: Any) -> None:
    labels = np.zeros(wire.SHAPE, np.uint16)
    labels[4:12, 4:12], labels[16:28, 20:32] = 1, 2
    pixels = np.concatenate([np.flatnonzero(labels == one) for one in (1, 2)]).astype("<u4")
    _, header, _ = wire.rois(2, footprint_start=[0, 64, 64 + 144])
    made = cells_from(header, memoryview(pixels.tobytes()))
    outlines, picture = CellOutlines(), np.full(wire.SHAPE, 0xFF000000, np.uint32)
    outlines.set_cells(made, 1, 1)
    outlines.colour(np.full(2, premultiplied(0x0000FF, 1.0), np.uint32), {1: premultiplied(0xFF0000, 1.0)})
    outlines.mix_into(picture)
    red, blue = (picture & 0xFF0000) > 0, (picture & 0xFF) > 0
    assert red.sum() == 10 * 10
    assert red[17:27, 21:31].all()
    assert blue.sum() == (64 - 36) + (144 - 100)


@pytest.mark.parametrize("side_px", [40, 512])
@pytest.mark.parametrize("px_per_dot", [0.5, 1.0, 2.0, 3.7, 1e9])
def test_a_picture_of_any_size_takes_its_cells(qapp: Any, side_px: int, px_per_dot: float) -> None:
    labels = np.zeros((side_px, side_px), np.uint16)
    labels[8:20, 8:20] = 1
    pixels = np.flatnonzero(labels).astype("<u4")
    _, header, _ = wire.rois(1, footprint_start=[0, len(pixels)], lines_per_frame=side_px, pixels_per_line=side_px)
    made = cells_from(header, memoryview(pixels.tobytes()))
    item = PictureItem()
    item.set_table(0, 100, "grey", signed=False)
    item.show(np.full((side_px, side_px), 50, np.uint16), px_per_dot)
    item.show_cells(made, np.full(1, premultiplied(0xFF0000, 1.0), np.uint32), {})
    image = QtGui.QImage(side_px, side_px, QtGui.QImage.Format.Format_RGB32)
    painter = QtGui.QPainter(image)
    item.paint(painter)
    painter.end()
    shown = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint32).reshape(side_px, side_px)
    if not px_per_dot > 4:
        assert item.has_outlines
        red = channels(shown)[0] > 200
        ys, xs = np.nonzero(red)
        assert max(abs(ys.min() - 8), abs(ys.max() - 19), abs(xs.min() - 8), abs(xs.max() - 19)) < 4
    assert channels(shown)[1, -1, -1] == 127

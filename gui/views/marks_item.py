"""Marks over the field: selected cells, targets, rings of light, zones where light may never go."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui

from gui.theme import Theme

RING_S = 0.8
_CELL_RADIUS_PX = 9.0


@dataclass(slots=True)
class Marks:
    """What to draw, in pixels of the template, (y, x)."""

    selected: list[tuple[float, float, str]] = field(default_factory=list)
    targets: list[tuple[float, float]] = field(default_factory=list)
    rings: list[tuple[float, float, float]] = field(default_factory=list)
    """With its age in seconds."""
    zones: list[tuple[float, float, float]] = field(default_factory=list)
    """With its radius in pixels."""
    offered: list[tuple[float, float]] = field(default_factory=list)
    """Cells that were found and are not read yet."""
    draft: list[tuple[float, float]] = field(default_factory=list)
    """Corners of an outline that is being drawn."""


class MarksItem(pg.GraphicsObject):
    """Draws `marks`."""

    def __init__(self) -> None:
        super().__init__()
        self.setCacheMode(self.CacheMode.DeviceCoordinateCache)
        self.marks = Marks()
        self.size_px = (1.0, 1.0)
        self.theme = Theme()

    def show(self, marks: Marks, shape: tuple[int, int]) -> None:
        """Draw other marks on a field of `shape` pixels."""
        if (float(shape[0]), float(shape[1])) != self.size_px:
            self.prepareGeometryChange()
            self.size_px = (float(shape[0]), float(shape[1]))
        if marks != self.marks or marks.rings:
            self.marks = marks
            self.update()

    def boundingRect(self) -> Any:
        """The field, and a little around it."""
        return QtCore.QRectF(-20, -20, self.size_px[1] + 40, self.size_px[0] + 40)

    def paint(self, painter: Any, *args: Any) -> None:
        """Draw all of them."""
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        self._zones(painter)
        self._targets(painter)
        self._rings(painter)
        self._selected(painter)
        self._draft(painter)
        painter.setPen(self._pen("#009E73", 2, dashed=True))
        for y, x in self.marks.offered:
            painter.drawEllipse(QtCore.QPointF(x, y), _CELL_RADIUS_PX, _CELL_RADIUS_PX)

    def _pen(self, colour: str, width_px: float, alpha: float = 1.0, *, dashed: bool = False) -> Any:
        shade = QtGui.QColor(colour)
        shade.setAlphaF(alpha)
        pen = QtGui.QPen(shade, width_px * max(1.0, self.theme.scale))
        pen.setCosmetic(True)
        if dashed:
            pen.setStyle(QtCore.Qt.PenStyle.DashLine)
        return pen

    def _zones(self, painter: Any) -> None:
        painter.setPen(self._pen("#ff6b3d", 2, dashed=True))
        painter.setBrush(QtGui.QBrush(QtGui.QColor(255, 107, 61, 90), QtCore.Qt.BrushStyle.DiagCrossPattern))
        for y, x, radius in self.marks.zones:
            painter.drawEllipse(QtCore.QPointF(x, y), radius, radius)
        painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)

    def _targets(self, painter: Any) -> None:
        painter.setPen(self._pen("#F0E442", 1.5, 0.9))
        for y, x in self.marks.targets:
            painter.drawLine(QtCore.QPointF(x - 4, y), QtCore.QPointF(x + 4, y))
            painter.drawLine(QtCore.QPointF(x, y - 4), QtCore.QPointF(x, y + 4))

    def _rings(self, painter: Any) -> None:
        for y, x, age_s in self.marks.rings:
            part = min(1.0, max(0.0, age_s / RING_S))
            radius = _CELL_RADIUS_PX * (1 + 1.2 * part)
            painter.setPen(self._pen("#000000", 5, 0.5 * (1 - part)))
            painter.drawEllipse(QtCore.QPointF(x, y), radius, radius)
            painter.setPen(self._pen("#F0E442", 3, 1 - part))
            painter.drawEllipse(QtCore.QPointF(x, y), radius, radius)

    def _selected(self, painter: Any) -> None:
        for y, x, _ in self.marks.selected:
            painter.setPen(self._pen("#000000", 4, 0.6))
            painter.drawEllipse(QtCore.QPointF(x, y), _CELL_RADIUS_PX, _CELL_RADIUS_PX)
            painter.setPen(self._pen("#ffffff", 1.6))
            painter.drawEllipse(QtCore.QPointF(x, y), _CELL_RADIUS_PX, _CELL_RADIUS_PX)

    def _draft(self, painter: Any) -> None:
        points = [QtCore.QPointF(x, y) for y, x in self.marks.draft]
        painter.setPen(self._pen("#56B4E9", 2))
        for start, end in itertools.pairwise(points):
            painter.drawLine(start, end)
        for point in points:
            painter.drawEllipse(point, 1.2, 1.2)

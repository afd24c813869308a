"""The surface of the field: zoom, pan, clicks in pixels of the template, scale bar, names of selected cells."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui

_STEPS = (1.0, 2.0, 5.0)
_Align = QtCore.Qt.AlignmentFlag


class FieldPlot(pg.PlotWidget):
    """A plot without axes whose unit is the pixel."""

    picked = QtCore.Signal(float, float, bool)
    """y, x (px), and whether more cells are to be added."""
    finished = QtCore.Signal()
    """A double click."""

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        plot = self.getPlotItem()
        plot.hideAxis("left")
        plot.hideAxis("bottom")
        plot.hideButtons()
        plot.setContentsMargins(0, 0, 0, 0)
        box = plot.getViewBox()
        box.setAspectLocked(True)
        box.invertY(True)
        box.setDefaultPadding(0.01)
        self.um_per_px: float | None = None
        self.names: list[tuple[float, float, str]] = []
        self.corner_text = ""
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.ClickFocus)
        self.scene().sigMouseClicked.connect(self._clicked)

    def whole(self, shape: tuple[int, int]) -> None:
        """Show the whole field."""
        self.getViewBox().setRange(xRange=(0, shape[1]), yRange=(0, shape[0]), padding=0.01)

    def _clicked(self, event: Any) -> None:
        if event.button() != QtCore.Qt.MouseButton.LeftButton:
            return
        if event.double():
            self.finished.emit()
            return
        at = self.getViewBox().mapSceneToView(event.scenePos())
        more = bool(
            event.modifiers() & (QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier)
        )
        self.picked.emit(at.y(), at.x(), more)

    def drawForeground(self, painter: Any, rect: Any) -> None:
        """Scale bar and names, in pixels of the screen."""
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        box = self.getViewBox()
        metrics = QtGui.QFontMetrics(self.font())
        painter.setFont(self.font())
        for y, x, name in self.names:
            at = box.mapViewToScene(QtCore.QPointF(x, y))
            if self.sceneRect().contains(at):
                _text(painter, at + QtCore.QPointF(8, -8), name)
        size = box.viewPixelSize()
        per_px = self.um_per_px or 1.0
        if not size[0] or not size[0] > 0:
            return
        length, width = _bar(self.width() * 0.22, size[0] * per_px)
        unit = "µm" if self.um_per_px else "px"
        right, bottom = self.width() - 14.0, self.height() - 14.0
        bar = QtCore.QRectF(right - width, bottom - 4, width, 4)
        painter.fillRect(bar.adjusted(-1, -1, 1, 1), QtGui.QColor(0, 0, 0, 160))
        painter.fillRect(bar, QtGui.QColor("#ffffff"))
        text = f"{length:g} {unit}"
        _text(painter, QtCore.QPointF(right - metrics.horizontalAdvance(text), bottom - 9), text)
        if self.corner_text:
            _text(painter, QtCore.QPointF(10, metrics.height() + 2), self.corner_text)


def _bar(at_most_px: float, unit_per_px: float) -> tuple[float, float]:
    """Length in units, and on the screen, of the longest round scale bar."""
    best, power = 1e-3, 1e-3
    while power * unit_per_px < 1e9 and power / unit_per_px <= at_most_px:
        for step in _STEPS:
            if step * power / unit_per_px <= at_most_px:
                best = step * power
        power *= 10
    return best, best / unit_per_px


def _text(painter: Any, at: Any, text: str) -> None:
    painter.setPen(QtGui.QColor(0, 0, 0, 200))
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        painter.drawText(at + QtCore.QPointF(dx, dy), text)
    painter.setPen(QtGui.QColor("#ffffff"))
    painter.drawText(at, text)

"""The surface of the field: zoom, pan, clicks in pixels of the template, scale bar, names of selected cells."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui

NAME_AT_PX = 7.0
"""The name of a cell stands so far right of and above its middle, in pixels of the frame: beside its circle."""
_MOST_TEXTS = 200
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
        self._texts: dict[tuple[str, int, float], Any] = {}
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.ClickFocus)
        self.scene().sigMouseClicked.connect(self._clicked)

    def whole(self, shape: tuple[int, int]) -> None:
        """Show the whole field."""
        self.getViewBox().setRange(xRange=(0, shape[1]), yRange=(0, shape[0]), padding=0.01)

    @property
    def px_per_dot(self) -> float:
        """Pixels of the frame that fall on one dot of the screen, along one side."""
        size = self.getViewBox().viewPixelSize()[0]
        return float(size) / self.devicePixelRatioF() if size and math.isfinite(size) else 1.0

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
            at = box.mapViewToScene(QtCore.QPointF(x + NAME_AT_PX, y - NAME_AT_PX))
            if self.sceneRect().contains(at):
                self._draw_text(painter, at + QtCore.QPointF(2, 0), name)
        size = box.viewPixelSize()
        per_px = self.um_per_px or 1.0
        if not size[0] or not size[0] > 0:
            return
        length, width = _bar(self.width() * 0.22, size[0] * per_px)
        unit = "µm" if self.um_per_px else "px"
        right, bottom = self.width() - 14.0, self.height() - 14.0
        thick = max(4.0, round(0.3 * metrics.ascent()))
        bar = QtCore.QRectF(right - width, bottom - thick, width, thick)
        painter.fillRect(bar.adjusted(-1, -1, 1, 1), QtGui.QColor(0, 0, 0, 160))
        painter.fillRect(bar, QtGui.QColor("#ffffff"))
        text = f"{length:g} {unit}"
        self._draw_text(painter, QtCore.QPointF(right - metrics.horizontalAdvance(text), bottom - thick - 5), text)

    def _draw_text(self, painter: Any, at: Any, text: str) -> None:
        """Text with a dark rim, its base line beginning at `at`; each is drawn once and kept as a picture."""
        ratio = self.devicePixelRatioF()
        key = (text, self.font().pixelSize(), ratio)
        picture = self._texts.get(key)
        if picture is None:
            if len(self._texts) > _MOST_TEXTS:
                self._texts.clear()
            picture = self._texts[key] = _rimmed(text, self.font(), ratio)
        painter.drawPixmap(at - QtCore.QPointF(1, QtGui.QFontMetrics(self.font()).ascent() + 1), picture)


def _bar(at_most_px: float, unit_per_px: float) -> tuple[float, float]:
    """Length in units, and on the screen, of the longest round scale bar."""
    best, power = 1e-3, 1e-3
    while power * unit_per_px < 1e9 and power / unit_per_px <= at_most_px:
        for step in _STEPS:
            if step * power / unit_per_px <= at_most_px:
                best = step * power
        power *= 10
    return best, best / unit_per_px


def _rimmed(text: str, font: Any, ratio: float) -> Any:
    """A picture of a text, one pixel larger on every side."""
    metrics = QtGui.QFontMetrics(font)
    size = QtCore.QSize(metrics.horizontalAdvance(text) + 2, metrics.height() + 2)
    picture = QtGui.QPixmap(size * ratio)
    picture.setDevicePixelRatio(ratio)
    picture.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(picture)
    painter.setFont(font)
    at = QtCore.QPointF(1, metrics.ascent() + 1)
    painter.setPen(QtGui.QColor(0, 0, 0, 200))
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        painter.drawText(at + QtCore.QPointF(dx, dy), text)
    painter.setPen(QtGui.QColor("#ffffff"))
    painter.drawText(at, text)
    painter.end()
    return picture

"""One interval of the loop: histogram on a logarithmic axis, p50, p99, max, and the deadline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.numbers import fixed
from gui.theme import Theme

_LOW_MS, _HIGH_MS, _BINS = 0.01, 1000.0, 60
_EDGES = np.geomspace(_LOW_MS, _HIGH_MS, _BINS + 1)
_TICKS_MS = (0.01, 0.1, 1, 10, 100, 1000)
_Align = QtCore.Qt.AlignmentFlag


class DelayPlot(QtWidgets.QWidget):
    """Painted by itself: five of these cost less than one plot."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._theme = Theme()
        self._counts: NDArray[Any] = np.zeros(_BINS)
        self._texts: tuple[str, ...] = ("",)
        self._deadline_ms: float | None = None
        self._quantiles: tuple[float, float, float] = (math.nan, math.nan, math.nan)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and size."""
        self._theme = theme
        self.setFixedHeight(theme.px(5.6))

    def show_values(self, values_ms: NDArray[np.float32], told_ms: dict[str, float], deadline_ms: float | None) -> None:
        """Show the last values; the figures are the services' own since the start, where they tell them."""
        self._counts = np.histogram(np.clip(values_ms, _LOW_MS, _HIGH_MS), _EDGES)[0]
        now = float(values_ms[-1]) if len(values_ms) else math.nan
        if told_ms:
            p50, p99, top = (told_ms.get(key, math.nan) for key in ("p50", "p99", "max"))
        elif len(values_ms):
            p50, p99, top = (float(one) for one in np.percentile(values_ms, (50, 99, 100)))
        else:
            p50 = p99 = top = math.nan
        self._quantiles, self._deadline_ms = (p50, p99, top), deadline_ms
        most = f"p99 {fixed(p99, 2)}   max {fixed(top, 1, 'ms')}"
        middle = f"p50 {fixed(p50, 2)}   {most}"
        self._texts = (f"now {fixed(now, 2)}   {middle}", middle, most, f"p99 {fixed(p99, 2, 'ms')}")
        self.update()

    def _x(self, value_ms: float) -> float:
        span = math.log(_HIGH_MS / _LOW_MS)
        return 6 + (self.width() - 22) * math.log(min(max(value_ms, _LOW_MS), _HIGH_MS) / _LOW_MS) / span

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter, palette, line = QtGui.QPainter(self), self._theme.palette, self._theme.px(1.5)
        head = QtCore.QRectF(0, 0, self.width() - 4, line)
        painter.setPen(QtGui.QColor(palette.text))
        painter.drawText(head, _Align.AlignLeft | _Align.AlignVCenter, self._name.replace("_", " "))
        p99 = self._quantiles[1]
        late = self._deadline_ms is not None and math.isfinite(p99) and p99 > self._deadline_ms
        painter.setPen(QtGui.QColor(palette.warning if late else palette.muted))
        metrics = painter.fontMetrics()
        room = head.width() - metrics.horizontalAdvance(self._name) - self._theme.px(1)
        fits = (text for text in self._texts if metrics.horizontalAdvance(text) <= room)
        painter.drawText(head, _Align.AlignRight | _Align.AlignVCenter, next(fits, ""))
        top, bottom = line + 2.0, self.height() - self._theme.px(1.4)
        highest = max(1.0, float(self._counts.max()))
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(palette.accent))
        for index, count in enumerate(self._counts.tolist()):
            if count:
                left, right = self._x(_EDGES[index]), self._x(_EDGES[index + 1])
                height = (bottom - top) * max(0.06, count / highest)
                painter.drawRect(QtCore.QRectF(left, bottom - height, max(1.0, right - left - 1), height))
        self._axis(painter, top, bottom)

    def _axis(self, painter: Any, top: float, bottom: float) -> None:
        palette = self._theme.palette
        painter.setPen(QtGui.QPen(QtGui.QColor(palette.line), 1))
        painter.drawLine(QtCore.QPointF(6, bottom), QtCore.QPointF(self.width() - 14.0, bottom))
        font = QtGui.QFont(self.font())
        font.setPixelSize(self._theme.px(0.78))
        painter.setFont(font)
        painter.setPen(QtGui.QColor(palette.muted))
        for value in _TICKS_MS:
            x, half = self._x(value), self._theme.px(2.2)
            left = min(max(0.0, x - half), self.width() - 2.0 * half)
            side = (
                _Align.AlignLeft
                if x < half
                else _Align.AlignRight
                if x > self.width() - 1.5 * half
                else _Align.AlignHCenter
            )
            box = QtCore.QRectF(left, bottom + 1, 2.0 * half, self._theme.px(1.2))
            painter.drawText(box, side | _Align.AlignTop, f"{value:g}" + (" ms" if value == _TICKS_MS[-1] else ""))
        if self._deadline_ms is not None:
            x = self._x(self._deadline_ms)
            painter.setPen(QtGui.QPen(QtGui.QColor(palette.danger), 2, QtCore.Qt.PenStyle.DashLine))
            painter.drawLine(QtCore.QPointF(x, top), QtCore.QPointF(x, bottom))
            painter.drawText(QtCore.QPointF(x + 4, top + self._theme.px(0.8)), f"deadline {self._deadline_ms:.0f} ms")

"""How much of a limit is used, as a bar with both numbers."""

from __future__ import annotations

import math
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.theme import Theme

_Align = QtCore.Qt.AlignmentFlag
_NEAR = 0.8


class LimitBar(QtWidgets.QWidget):
    """Caption, bar, ``used of limit unit``; striped as well as coloured beyond 80 %."""

    def __init__(self, caption: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.caption, self.text, self.fraction = caption, "–", math.nan
        self._theme = Theme()
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)

    def say(self, text: str, fraction: float) -> None:
        """Show a text and a share of the limit."""
        if text != self.text or fraction != self.fraction:
            self.text, self.fraction = text, fraction
            self.setAccessibleName(f"{self.caption}: {text}")
            self.update()

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and size."""
        self._theme = theme
        self.setFixedHeight(theme.px(2.5))
        self.update()

    def sizeHint(self) -> Any:
        """Two lines."""
        return QtCore.QSize(200, self._theme.px(2.5))

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        palette = self._theme.palette
        text_box = QtCore.QRectF(0, 0, self.width(), self._theme.px(1.5))
        painter.setPen(QtGui.QColor(palette.muted))
        painter.drawText(text_box, _Align.AlignLeft | _Align.AlignVCenter, self.caption)
        painter.setPen(QtGui.QColor(palette.text))
        painter.drawText(text_box, _Align.AlignRight | _Align.AlignVCenter, self.text)
        bar = QtCore.QRectF(0, self._theme.px(1.6), self.width(), self._theme.px(0.6))
        radius = bar.height() / 2
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(palette.raised))
        painter.drawRoundedRect(bar, radius, radius)
        if not math.isfinite(self.fraction) or self.fraction <= 0:
            return
        colour = palette.accent if self.fraction < _NEAR else palette.warning if self.fraction < 1 else palette.danger
        part = QtCore.QRectF(bar)
        part.setWidth(max(bar.height(), bar.width() * min(1.0, self.fraction)))
        painter.setBrush(QtGui.QColor(colour))
        painter.drawRoundedRect(part, radius, radius)
        if self.fraction >= _NEAR:
            painter.setBrush(QtGui.QBrush(QtGui.QColor(0, 0, 0, 90), QtCore.Qt.BrushStyle.BDiagPattern))
            painter.drawRoundedRect(part, radius, radius)

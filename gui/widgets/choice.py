"""A choice among few, with an arrow drawn in the window's own colours."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.theme import Theme


class Choice(QtWidgets.QComboBox):
    """A combo box."""

    def __init__(self, items: tuple[str, ...] = (), tip: str = "") -> None:
        super().__init__()
        self._theme = Theme()
        self.addItems(list(items))
        self.setToolTip(tip)
        self.setMinimumContentsLength(6)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    def choose(self, text: str) -> None:
        """Choose by text, if there is such an entry."""
        index = self.findText(text)
        if index >= 0:
            self.setCurrentIndex(index)

    def apply_theme(self, theme: Theme) -> None:
        """Take the colours."""
        self._theme = theme
        self.update()

    def paintEvent(self, event: Any) -> None:
        """The box, and its arrow."""
        super().paintEvent(event)
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        size = self._theme.px(0.32)
        right, middle = self.width() - self._theme.px(0.7), self.height() / 2
        arrow = [
            QtCore.QPointF(right - 2 * size, middle - size / 2),
            QtCore.QPointF(right, middle - size / 2),
            QtCore.QPointF(right - size, middle + size / 2),
        ]
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(self._theme.palette.muted))
        painter.drawPolygon(QtGui.QPolygonF(arrow))

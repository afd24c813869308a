"""A state in one word with its sign, told by shape and word as well as by colour."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.palette import Tone
from gui.theme import Theme

_Align = QtCore.Qt.AlignmentFlag


class Pill(QtWidgets.QWidget):
    """Rounded field with a word; filled where the state matters, outlined where it does not."""

    def __init__(self, factor: float = 1.0, parent: Any = None) -> None:
        super().__init__(parent)
        self.word, self.tone, self.filled = "", Tone.NEUTRAL, False
        self._factor = factor
        self._theme = Theme()
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Fixed)

    def say(self, word: str, tone: Tone, *, filled: bool = False) -> None:
        """Show a word."""
        if (word, tone, filled) != (self.word, self.tone, self.filled):
            self.word, self.tone, self.filled = word, tone, filled
            self.setAccessibleName(word)
            self.updateGeometry()
            self.update()

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and size."""
        self._theme = theme
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> Any:
        """Room for the word."""
        metrics = QtGui.QFontMetrics(self._font())
        height = round(metrics.height() * 1.5)
        return QtCore.QSize(metrics.horizontalAdvance(self.word) + height, height)

    def _font(self) -> Any:
        font = QtGui.QFont(self.font())
        font.setPixelSize(max(8, self._theme.px(self._factor)))
        font.setBold(True)
        return font

    def _ink(self) -> str:
        if not self.filled:
            return self._theme.palette.text
        return "#ffffff" if self._theme.palette.name == "light" else "#101010"

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        colour = QtGui.QColor(self._theme.palette.tone(self.tone))
        box = QtCore.QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.setPen(QtGui.QPen(colour, 2))
        painter.setBrush(colour if self.filled else QtGui.QBrush(QtCore.Qt.BrushStyle.NoBrush))
        painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
        painter.setFont(self._font())
        painter.setPen(QtGui.QColor(self._ink()))
        painter.drawText(box, _Align.AlignCenter, self.word)

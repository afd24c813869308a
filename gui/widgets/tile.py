"""One number, its unit and what it is."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.palette import Tone
from gui.theme import Theme


class Tile(QtWidgets.QWidget):
    """A big number over a small caption."""

    def __init__(self, caption: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("clear")
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 8, 0)
        box.setSpacing(0)
        self._value = QtWidgets.QLabel("–")
        self._value.setObjectName("big")
        self._caption = QtWidgets.QLabel(caption)
        self._caption.setObjectName("small")
        box.addWidget(self._value)
        box.addWidget(self._caption)
        self._tone = Tone.NEUTRAL
        self._theme = Theme()

    def say(self, text: str, tone: Tone = Tone.NEUTRAL) -> None:
        """Show a number, coloured where it needs attention."""
        if text != self._value.text():
            self._value.setText(text)
        if tone is not self._tone:
            self._tone = tone
            self._colour()

    def text(self) -> str:
        """What it shows."""
        return str(self._value.text())

    def apply_theme(self, theme: Theme) -> None:
        """Take the colours."""
        self._theme = theme
        self._colour()

    def _colour(self) -> None:
        palette = self._theme.palette
        colour = palette.text if self._tone is Tone.NEUTRAL else palette.tone(self._tone)
        self._value.setStyleSheet(f"color: {colour};")

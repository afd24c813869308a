"""A titled frame that greys its content, and says how old it is, once that is stale."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.numbers import age
from gui.theme import Theme


class Card(QtWidgets.QFrame):
    """Frame with a title; `body` is the layout to fill."""

    def __init__(self, title: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        outer = self._outer = QtWidgets.QVBoxLayout(self)
        head = QtWidgets.QHBoxLayout()
        self.title = QtWidgets.QLabel(title)
        self.title.setObjectName("title")
        self.note = QtWidgets.QLabel("")
        self.note.setObjectName("small")
        head.addWidget(self.title)
        head.addStretch(1)
        head.addWidget(self.note)
        outer.addLayout(head)
        self._content = QtWidgets.QWidget()
        self._content.setObjectName("clear")
        self.body = QtWidgets.QVBoxLayout(self._content)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(5)
        outer.addWidget(self._content, 1)
        self._veil = _Veil(self._content)

    def set_stale(self, age_s: float | None) -> None:
        """Grey the content with its age; None: it is fresh."""
        self._veil.show_age(age_s)

    def apply_theme(self, theme: Theme) -> None:
        """Take the colours of the veil."""
        self._veil.colour = theme.palette.background
        self._veil.text_colour = theme.palette.text
        side = theme.px(0.75)
        self._outer.setContentsMargins(side, theme.px(0.5), side, theme.px(0.65))
        self._outer.setSpacing(theme.px(0.4))
        self.body.setSpacing(theme.px(0.4))


class _Veil(QtWidgets.QWidget):
    """Covers its parent while it is stale; lets the mouse through."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.colour, self.text_colour = "#000000", "#ffffff"
        self.text = ""
        self.hide()
        parent.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Keep the size of the parent."""
        if event.type() == QtCore.QEvent.Type.Resize:
            self.resize(watched.size())
        return False

    def show_age(self, age_s: float | None) -> None:
        """Appear with an age, or go."""
        if age_s is None:
            if self.isVisible():
                self.hide()
            return
        self.text = f"stale: {age(age_s)}" if age_s < float("inf") else "nothing heard yet"
        if not self.isVisible():
            self.resize(self.parent().size())
            self.show()
            self.raise_()
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Grey, with the age in the corner."""
        painter = QtGui.QPainter(self)
        veil = QtGui.QColor(self.colour)
        veil.setAlpha(165)
        painter.fillRect(self.rect(), veil)
        painter.setPen(QtGui.QColor(self.text_colour))
        font = self.font()
        font.setBold(True)
        painter.setFont(font)
        corner = self.rect().adjusted(4, 4, -6, -4)
        painter.drawText(corner, QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignTop, self.text)

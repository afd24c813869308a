"""Panels inside the window, always below the bar that holds STOP: there are no dialogs."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets


class Overlay(QtWidgets.QWidget):
    """Dims the page and shows one sheet in its middle; a click beside it, or its close button, takes it away."""

    closed = QtCore.Signal()

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._page = page
        self._sheet: Any = None
        self.hide()
        page.installEventFilter(self)

    def show_sheet(self, title: str, content: Any, *, width_px: int = 760, height_px: int | None = None) -> None:
        """Show `content`; what was shown before is deleted."""
        self.take_away()
        sheet = QtWidgets.QFrame(self)
        sheet.setObjectName("sheet")
        box = QtWidgets.QVBoxLayout(sheet)
        box.setContentsMargins(18, 12, 18, 16)
        head = QtWidgets.QHBoxLayout()
        label = QtWidgets.QLabel(title)
        label.setObjectName("big")
        close = QtWidgets.QPushButton("Close")
        close.clicked.connect(self.take_away)
        head.addWidget(label)
        head.addStretch(1)
        head.addWidget(close)
        box.addLayout(head)
        box.addWidget(content, 1)
        self._sheet, self._wanted = sheet, (width_px, height_px)
        self.resize(self._page.size())
        self._place()
        sheet.show()
        self.show()
        self.raise_()
        close.setFocus()

    def take_away(self) -> None:
        """Close the sheet."""
        if self._sheet is not None:
            self._sheet.deleteLater()
            self._sheet = None
            self.hide()
            self.closed.emit()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Keep the size of the page."""
        if event.type() == QtCore.QEvent.Type.Resize and self._sheet is not None:
            self.resize(watched.size())
            self._place()
        return False

    def mousePressEvent(self, event: Any) -> None:
        """A click beside the sheet closes it."""
        if self._sheet is not None and not self._sheet.geometry().contains(event.position().toPoint()):
            self.take_away()

    def paintEvent(self, event: Any) -> None:
        """Dim what is below."""
        QtGui.QPainter(self).fillRect(self.rect(), QtGui.QColor(0, 0, 0, 140))

    def _place(self) -> None:
        width, height = self._wanted
        hint = self._sheet.sizeHint()
        w = min(max(width, 300), self.width() - 24)
        h = min(height or hint.height(), self.height() - 24)
        self._sheet.setGeometry((self.width() - w) // 2, (self.height() - h) // 2, w, h)

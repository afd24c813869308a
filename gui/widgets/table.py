"""A table for looking at: no edit, no grid, whole rows."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.theme import Theme


class Table(QtWidgets.QTableWidget):
    """Rows of text; `fill` changes only what is different."""

    def __init__(self, columns: tuple[str, ...], stretch: int = -1, parent: Any = None) -> None:
        super().__init__(0, len(columns), parent)
        self.setHorizontalHeaderLabels(columns)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setAlternatingRowColors(False)
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self.setWordWrap(False)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Expanding)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setDefaultAlignment(QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        mode = QtWidgets.QHeaderView.ResizeMode
        for column in range(len(columns)):
            header.setSectionResizeMode(column, mode.Stretch if column == stretch else mode.ResizeToContents)
        self._theme = Theme()

    def apply_theme(self, theme: Theme) -> None:
        """Height of the rows."""
        self._theme = theme
        self.verticalHeader().setDefaultSectionSize(theme.px(1.9))
        for row in range(self.rowCount()):
            self.setRowHeight(row, theme.px(1.9))

    def fill(self, rows: list[tuple[str, ...]], colours: list[str | None] | None = None) -> None:
        """Show rows of text, each in its colour (None: that of text)."""
        if self.rowCount() != len(rows):
            self.setRowCount(len(rows))
        for index, row in enumerate(rows):
            colour = QtGui.QColor((colours[index] if colours else None) or self._theme.palette.text)
            for column, text in enumerate(row):
                item = self.item(index, column)
                if item is None:
                    item = QtWidgets.QTableWidgetItem()
                    self.setItem(index, column, item)
                if item.text() != text:
                    item.setText(text)
                    item.setToolTip(text if len(text) > 24 else "")
                if item.foreground().color() != colour:
                    item.setForeground(colour)

    def fit_height(self, most: int) -> None:
        """Just as high as its rows, at most `most` of them."""
        rows = min(max(1, self.rowCount()), most)
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(header + rows * self._theme.px(1.9) + 4)

"""Tiles side by side, in as many columns as there is room for."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.theme import Theme
from gui.widgets.tile import Tile


class TileGrid(QtWidgets.QWidget):
    """Lays its tiles out anew when it changes size: nothing is clipped. Of large letters two rows are shown."""

    def __init__(self, captions: dict[str, str], most_columns: int) -> None:
        super().__init__()
        self.setObjectName("clear")
        self.tiles = {name: Tile(caption) for name, caption in captions.items()}
        self._most, self._columns, self._most_rows = most_columns, 0, 99
        self._grid = QtWidgets.QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(4)
        policy = QtWidgets.QSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setSizePolicy(policy)
        self._place(most_columns)

    def __getitem__(self, name: str) -> Tile:
        return self.tiles[name]

    def apply_theme(self, theme: Theme) -> None:
        """Letters have another size: there is room for another number of columns."""
        self._most_rows = 2 if theme.large else 99
        QtCore.QTimer.singleShot(0, self._fit)

    def resizeEvent(self, event: Any) -> None:
        """Use the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        widest = max(tile.sizeHint().width() for tile in self.tiles.values()) + 6
        columns = max(1, min(self._most, self.width() // max(1, widest)))
        self._place(columns)
        for index, tile in enumerate(self.tiles.values()):
            tile.setVisible(index < self._most_rows * self._columns)

    def _place(self, columns: int) -> None:
        n = len(self.tiles)
        columns = -(-n // -(-n // columns))
        if columns == self._columns:
            return
        for column in range(max(columns, self._columns)):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)
        self._columns = columns
        for index, tile in enumerate(self.tiles.values()):
            self._grid.addWidget(tile, index // columns, index % columns)

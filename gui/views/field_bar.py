"""Tools of the field: plane and channel, colours, average, levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.desk import Desk
from gui.theme import Theme
from gui.views.field_colours import COLOUR_BY, LEGENDS
from gui.views.picture_item import COLOUR_MAPS, map_colours
from gui.views.view import button
from gui.widgets.choice import Choice

_AVERAGES = (1, 2, 4, 8, 16, 32)
_MAX_COUNT = 65535
_RAMP = 6.9
"""Width of the legend's colours, in heights of ordinary letters."""


class FieldBar(QtWidgets.QWidget):
    """One row of choices, and a second one with levels and the legend of the outlines."""

    whole = QtCore.Signal()
    changed = QtCore.Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("clear")
        self._desk = desk
        self._pictures: list[tuple[int, int]] = []
        self.picture_box = Choice((), "plane and channel")
        self.colour_box = Choice(tuple(f"by {one}" for one in COLOUR_BY), "what the outlines tell (C)")
        self.map_box = Choice(COLOUR_MAPS, "colours of the picture")
        self.average_box = Choice(tuple(f"mean of {n}" if n > 1 else "no mean" for n in _AVERAGES), "running average")
        self.outline_button = button("Outlines", self._outlines, tip="show cells (O)", checkable=True)
        self.auto_button = button("Auto", self._auto, tip="levels follow the picture", checkable=True)
        self.low, self.high = _level(0), _level(1000)
        self.legend = Legend()
        first, second = QtWidgets.QHBoxLayout(), QtWidgets.QHBoxLayout()
        for widget in (self.picture_box, self.map_box, self.average_box, self.colour_box):
            first.addWidget(widget, 1)
        self.whole_button = button("Whole", self.whole.emit, tip="whole field (W, or double click)")
        for widget in (self.outline_button, self.whole_button):
            first.addWidget(widget)
        second.addWidget(self.auto_button)
        second.addWidget(self.low)
        second.addWidget(self.high)
        second.addStretch(1)
        second.addWidget(self.legend)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(5)
        box.addLayout(first)
        box.addLayout(second)
        self._restore()
        for combo in (self.colour_box, self.map_box, self.average_box):
            combo.currentIndexChanged.connect(self._remember)
        self.picture_box.activated.connect(self._pick_picture)
        self.low.valueChanged.connect(self.changed)
        self.high.valueChanged.connect(self.changed)
        self._remember()

    def _restore(self) -> None:
        """What was chosen last time."""
        settings = self._desk.settings
        self.colour_box.choose(f"by {settings['colour_by']}")
        self.map_box.choose(settings["colour_map"])
        if settings["average"] in _AVERAGES:
            self.average_box.setCurrentIndex(_AVERAGES.index(settings["average"]))
        self.outline_button.setChecked(settings["outlines"])
        self.auto_button.setChecked(True)
        self._auto()

    @property
    def colour_by(self) -> str:
        """What the outlines tell."""
        return COLOUR_BY[self.colour_box.currentIndex()]

    @property
    def colour_map(self) -> str:
        """Colours of the picture."""
        return str(self.map_box.currentText())

    @property
    def average(self) -> int:
        """Frames of the running average."""
        return _AVERAGES[self.average_box.currentIndex()]

    @property
    def auto(self) -> bool:
        """True if levels follow the picture."""
        return bool(self.auto_button.isChecked())

    @property
    def outlines(self) -> bool:
        """True if cells are shown."""
        return bool(self.outline_button.isChecked())

    @property
    def levels(self) -> tuple[float, float]:
        """Levels set by hand, counts."""
        return float(self.low.value()), float(self.high.value())

    def show_levels(self, low: float, high: float) -> None:
        """Show levels that were found."""
        for box, value in ((self.low, low), (self.high, high)):
            box.blockSignals(True)
            box.setValue(round(value))
            box.blockSignals(False)

    def apply_theme(self, theme: Theme) -> None:
        """With large letters there is room for the choices alone; everything else has its key."""
        for widget in (self.outline_button, self.whole_button, self.auto_button, self.low, self.high, self.map_box):
            widget.setVisible(not theme.large)

    def next_colour(self) -> None:
        """The outlines tell the next thing."""
        self.colour_box.setCurrentIndex((self.colour_box.currentIndex() + 1) % len(COLOUR_BY))

    def toggle_outlines(self) -> None:
        """Show or hide the cells."""
        self.outline_button.click()

    def refresh(self) -> None:
        """Offer the planes and channels there are."""
        found = sorted(self._desk.model.frames.pictures)
        if found == self._pictures:
            return
        self._pictures = found
        self.picture_box.clear()
        several = len({plane for plane, _ in found}) > 1
        names = [f"pl. {plane} ch {channel}" if several else f"channel {channel}" for plane, channel in found]
        self.picture_box.addItems(names)
        here = (self._desk.plane, self._desk.channel)
        if found and here not in found:
            self._desk.show_plane(*found[0])
            here = found[0]
        if here in found:
            self.picture_box.setCurrentIndex(found.index(here))

    def _pick_picture(self, index: int) -> None:
        if 0 <= index < len(self._pictures):
            self._desk.show_plane(*self._pictures[index])

    def _auto(self) -> None:
        for box in (self.low, self.high):
            box.setEnabled(not self.auto)
        self.changed.emit()

    def _outlines(self) -> None:
        self._desk.settings["outlines"] = self.outlines
        self.legend.setVisible(self.outlines)
        self.changed.emit()

    def _remember(self) -> None:
        settings = self._desk.settings
        settings["colour_by"], settings["colour_map"] = self.colour_by, self.colour_map
        settings["average"] = self.average
        self.legend.show_scale(self.colour_by)
        self.changed.emit()


class Legend(QtWidgets.QWidget):
    """Caption and ramp of the outlines' colours."""

    def __init__(self) -> None:
        super().__init__()
        self._by = "activity"
        self._theme = Theme()
        self._ramp = np.ascontiguousarray(map_colours("viridis", 96)[None, :])
        self._image = QtGui.QImage(self._ramp.data, 96, 1, 96 * 4, QtGui.QImage.Format.Format_RGB32)

    def show_scale(self, by: str) -> None:
        """Show another scale."""
        self._by = by
        self.updateGeometry()
        self.update()

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and size."""
        self._theme = theme
        self.updateGeometry()

    def sizeHint(self) -> Any:
        """Room for caption, ramp and both ends."""
        legend = LEGENDS[self._by]
        metrics = QtGui.QFontMetrics(self.font())
        ramp = self._theme.px(_RAMP) + 10
        width = metrics.horizontalAdvance(f"{legend.caption}  {legend.low}  {legend.high} ") + ramp
        return QtCore.QSize(width, round(metrics.height() * 1.4))

    def minimumSizeHint(self) -> Any:
        """As the hint."""
        return self.sizeHint()

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        legend, painter = LEGENDS[self._by], QtGui.QPainter(self)
        metrics = QtGui.QFontMetrics(self.font())
        painter.setPen(QtGui.QColor(self._theme.palette.muted))
        middle = (self.height() + metrics.ascent() - metrics.descent()) // 2
        x = self.width() - 4 - metrics.horizontalAdvance(legend.high)
        painter.drawText(x, middle, legend.high)
        if legend.high:
            ramp, thick = self._theme.px(_RAMP), self._theme.px(0.6)
            x -= ramp + 4
            painter.drawImage(QtCore.QRect(x, (self.height() - thick) // 2, ramp, thick), self._image)
            x -= metrics.horizontalAdvance(legend.low) + 5
            painter.drawText(x, middle, legend.low)
            x -= 8
        painter.drawText(x - metrics.horizontalAdvance(legend.caption), middle, legend.caption)


def _level(value: int) -> Any:
    box = QtWidgets.QSpinBox()
    box.setRange(-32768, _MAX_COUNT)
    box.setSingleStep(10)
    box.setValue(value)
    box.setSuffix(" cts")
    box.setToolTip("detector counts shown black, and white")
    return box

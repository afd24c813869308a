"""Plots in the look of the window."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from pyqtgraph.Qt import QtGui

from gui.theme import Theme


class StripPlot(pg.PlotWidget):
    """A plot over time without menu or buttons, whose axes say their unit."""

    def __init__(self, bottom: str, left: str, *, mouse: bool = False) -> None:
        super().__init__(enableMenu=False)
        self._labels = {"bottom": bottom, "left": left}
        plot = self.getPlotItem()
        plot.hideButtons()
        plot.setMouseEnabled(mouse, mouse)
        plot.getViewBox().setDefaultPadding(0.0)
        for side in ("left", "bottom"):
            plot.getAxis(side).enableAutoSIPrefix(False)
        self.setXRange(-30, 0, padding=0)
        self.setYRange(0, 1, padding=0)
        if not bottom:
            plot.getAxis("bottom").setStyle(showValues=False)

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and sizes."""
        palette = theme.palette
        self.setBackground(palette.surface)
        font = QtGui.QFont(self.font())
        font.setPixelSize(theme.px(0.85))
        metrics = QtGui.QFontMetrics(font)
        for name, text in self._labels.items():
            axis = self.getAxis(name)
            axis.setPen(pg.mkPen(palette.line))
            axis.setTextPen(pg.mkPen(palette.muted))
            axis.setTickFont(font)
            axis.setStyle(tickTextOffset=4)
            if text:
                axis.setLabel(text, color=palette.muted, **{"font-size": f"{theme.px(0.88)}px"})
        self.getAxis("left").setWidth(metrics.horizontalAdvance("00000") + metrics.height() + 14)


def set_segments(curve: Any, x: Any, y: Any) -> None:
    """Show separate line segments: points 0-1, 2-3 and so on."""
    curve.setData(x, y, connect="pairs", skipFiniteCheck=True)

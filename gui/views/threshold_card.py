"""How many false events are accepted: the consequence first, then the change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtWidgets

from gui.command_link import Answer
from gui.desk import Desk
from gui.numbers import number, percent
from gui.theme import Theme
from gui.views.plots import StripPlot
from gui.views.view import button, label
from gui.widgets.card import Card

_EDGES = np.linspace(0, 1, 21)


class ThresholdCard(Card):
    """Preview is a question to the rig (`dry`); only what was previewed can be applied."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Threshold: false events against detection")
        self._desk = desk
        self.rate = QtWidgets.QDoubleSpinBox()
        self.rate.setRange(0.001, 60.0)
        self.rate.setDecimals(3)
        self.rate.setSingleStep(0.1)
        self.rate.setValue(0.5)
        self.rate.setSuffix(" false/min/cell")
        self.preview = button("Preview", self._preview, tip="ask the rig what it would mean; changes nothing")
        self.apply = button("Apply", self._apply, name="primary")
        self.apply.setToolTip("disarms first")
        self.apply.setEnabled(False)
        self.says = label("Preview shows what a change would find and cost before it is made.", "muted", wrap=True)
        self.plot = StripPlot("expected detection of a single spike", "cells")
        self.plot.setFixedHeight(110)
        self._now = self.plot.plot(stepMode="center", fillLevel=0)
        self._then = self.plot.plot(stepMode="center")
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.rate, 1)
        row.addWidget(self.preview)
        row.addWidget(self.apply)
        self.body.addLayout(row)
        self.body.addWidget(self.says)
        self.body.addWidget(self.plot)
        self._previewed: float | None = None
        self.plot.setXRange(0, 1, padding=0.02)

    def apply_theme(self, theme: Theme) -> None:
        """Colours of the curves."""
        super().apply_theme(theme)
        self._now.setPen(pg.mkPen(theme.palette.muted))
        self._now.setBrush(pg.mkBrush(theme.palette.muted + "55"))
        self._then.setPen(pg.mkPen(theme.palette.event, width=3))
        self.plot.setFixedHeight(theme.px(8.5))

    def refresh(self) -> None:
        """Keep the distribution of now, and what may be pressed."""
        cells = self._desk.model.cells.get(self._desk.plane)
        live = self._desk.review is None
        self.preview.setEnabled(live and cells is not None)
        self.apply.setEnabled(live and self._previewed == self.rate.value())
        if cells is not None:
            counts, top = self._histogram(cells.figures["expected_detection"])
            self._now.setData(_EDGES, counts)
            self.plot.setYRange(0, max(top, 1.0) * 1.1, padding=0)

    def _histogram(self, values: Any) -> tuple[Any, float]:
        clean = np.asarray(values, np.float64)
        counts = np.histogram(clean[np.isfinite(clean)], _EDGES)[0]
        return counts, float(counts.max(initial=0))

    def _preview(self) -> None:
        value = float(self.rate.value())
        args = {"plane": self._desk.plane, "false_alarms_per_min": value, "dry": True}
        self.says.setText("asking the rig …")

        def answered(answer: Answer) -> None:
            if not answer.ok:
                self.says.setText(answer.text())
                return
            self._previewed = value
            self._show(answer.result)

        self._desk.send("set_threshold", args, answered)

    def _show(self, result: dict[str, Any]) -> None:
        told = [one for one in result.get("expected_detection") or [] if isinstance(one, int | float)]
        self._then.setData(_EDGES, self._histogram(told)[0])
        cells = self._desk.model.cells.get(self._desk.plane)
        before = (
            float(np.nanmedian(cells.figures["expected_detection"])) if cells is not None and cells.n_rois else math.nan
        )
        total = number(result.get("total_false_events_per_hour"), 3)
        self.says.setText(
            f"A single spike would be detected with {percent(result.get('median_expected_detection'))} "
            f"(now {percent(before)}), at {total} false events an hour in all {len(told)} cells. "
            "Nothing is changed yet."
        )

    def _apply(self) -> None:
        args = {"plane": self._desk.plane, "false_alarms_per_min": float(self.rate.value())}
        self.says.setText("waiting for the rig …")

        def answered(answer: Answer) -> None:
            self._previewed = None
            self._then.setData([0, 0], [0])
            self.says.setText("Applied; the interlock is disarmed." if answer.ok else answer.text())

        self._desk.send("set_threshold", args, answered)

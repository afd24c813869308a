"""All cells at once: every spike as a dot of its row, and the rate of the population below."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.views.plots import StripPlot, set_segments
from gui.views.view import View
from gui.widgets.card import Card
from rt_engine.interfaces.clock import NS_PER_S

_SPAN_S = 30.0
_BIN_S = 0.25


class PopulationView(View):
    """Raster and population rate."""

    period_ms = 100
    title = "Population"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.card, self.rate_card = Card("Spikes of all cells"), Card("Population rate")
        self.raster = StripPlot("time before now (s)", "cell (row)")
        self.rate = StripPlot("time before now (s)", "spikes/s")
        self._spikes, self._selected, self._light = self.raster.plot(), self.raster.plot(), self.raster.plot()
        self._rate = self.rate.plot(stepMode="center", fillLevel=0)
        self.raster.getViewBox().invertY(True)
        self.card.body.addWidget(self.raster)
        self.rate_card.body.addWidget(self.rate)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        box.addWidget(self.card, 3)
        box.addWidget(self.rate_card, 1)
        self.raster.scene().sigMouseClicked.connect(self._clicked)

    def refresh(self) -> None:
        """Draw the last half minute."""
        model, desk = self.desk.model, self.desk
        traces, cells = model.traces.get(desk.plane), model.cells.get(desk.plane)
        stale = desk.age_s(traces.t_heard_ns if traces else 0)
        self.card.set_stale(stale)
        self.rate_card.set_stale(stale)
        if traces is None or cells is None or not cells.n_rois or not (times := traces.times_ns()).size:
            return
        now_ns = int(times[-1])
        events = traces.events_since(now_ns - round(_SPAN_S * NS_PER_S))
        rows = np.array([cells.row_of.get(one, -1) for one in events[:, 0].tolist()], np.intp)
        x = (events[:, 1] - now_ns) / NS_PER_S
        known = rows >= 0
        chosen = np.isin(events[:, 0], np.array(desk.selection, np.int64))
        self._ticks(self._spikes, x[known & ~chosen], rows[known & ~chosen])
        self._ticks(self._selected, x[known & chosen], rows[known & chosen])
        shown_lights = () if model.is_blinded else model.decisions.lights
        lights = np.array([one.t_ns for one in shown_lights], np.int64)
        shown = (lights[lights > now_ns - _SPAN_S * NS_PER_S] - now_ns) / NS_PER_S
        set_segments(self._light, np.repeat(shown, 2), np.tile([0.0, float(cells.n_rois)], len(shown)))
        self.raster.setYRange(0, cells.n_rois, padding=0.02)
        self.card.note.setText(f"{len(x):,} spikes of {len(cells.row_of)} cells in {_SPAN_S:g} s")
        self._show_rate(x)

    def _ticks(self, curve: Any, x: NDArray[Any], rows: NDArray[np.intp]) -> None:
        y = np.stack([rows + 0.12, rows + 0.88], 1).ravel()
        set_segments(curve, np.repeat(x, 2), y)

    def _show_rate(self, x: NDArray[Any]) -> None:
        edges = np.arange(-_SPAN_S, _BIN_S / 2, _BIN_S)
        counts, _ = np.histogram(x, edges)
        rate = counts / _BIN_S
        self._rate.setData(edges, rate)
        top = float(rate.max(initial=0.0))
        self.rate.setYRange(0, max(4.0, 1.15 * top), padding=0)
        self.rate_card.note.setText(f"now {rate[-4:].mean():.1f}, mean {rate.mean():.1f} spikes/s")

    def _clicked(self, event: Any) -> None:
        cells = self.desk.model.cells.get(self.desk.plane)
        row = int(self.raster.getViewBox().mapSceneToView(event.scenePos()).y())
        if cells is not None and 0 <= row < cells.n_rois and int(cells.roi_id[row]) in cells.row_of:
            self.desk.select([int(cells.roi_id[row])], add=bool(event.modifiers()))

    def apply_theme(self) -> None:
        """Colours of the curves."""
        super().apply_theme()
        self.rate_card.setMinimumHeight(self.desk.theme.px(11))
        p = self.desk.theme.palette
        self._spikes.setPen(pg.mkPen(p.text, width=2))
        self._selected.setPen(pg.mkPen(p.event, width=3))
        self._light.setPen(pg.mkPen(p.light, width=1))
        self._rate.setPen(pg.mkPen(p.accent, width=1))
        self._rate.setBrush(pg.mkBrush(p.accent + "66"))

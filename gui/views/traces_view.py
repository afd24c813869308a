"""Traces of the selected cells, scrolling, with events and light; the inspector of one of them below."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.model.traces import Traces
from gui.views.inspector import Inspector
from gui.views.plots import StripPlot, set_segments
from gui.views.view import View, button, label
from gui.widgets.card import Card
from rt_engine.interfaces.clock import NS_PER_S

_GAINS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_SPANS_S = (5.0, 10.0, 30.0)


class TracesView(View):
    """Up to twenty cells, newest sample on the right."""

    period_ms = 33
    title = "Traces"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.card = Card("Selected cells")
        self.plot = StripPlot("time before now (s)", "roi_id")
        self._curves = {name: self.plot.plot() for name in ("probability", "dff", "calcium", "event", "light", "scale")}
        self._scale_text = pg.TextItem(anchor=(1.0, 0.5))
        self.plot.addItem(self._scale_text)
        self.gain_index, self.auto_gain, self.span_index = 3, True, 2
        self.card.body.addLayout(self._tools())
        self.card.body.addWidget(self.plot, 1)
        self.inspector = Inspector(desk)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        box.addWidget(self.card, 1)
        box.addWidget(self.inspector)
        self._shown: Any = None
        self._framed: Any = None
        desk.selection_changed.connect(self._again)

    def _tools(self) -> Any:
        row = QtWidgets.QHBoxLayout()
        self.key = label("", "small")
        row.addWidget(self.key)
        row.addStretch(1)
        row.addWidget(button("−", lambda: self.change_gain(1), tip="smaller traces (−)"))
        row.addWidget(button("+", lambda: self.change_gain(-1), tip="larger traces (+)"))
        self.span_button = button("30 s", self.next_span, tip="time shown (T)")
        row.addWidget(self.span_button)
        return row

    def change_gain(self, step: int) -> None:
        """Make the traces smaller (+1) or larger (-1)."""
        self.auto_gain = False
        self.gain_index = min(len(_GAINS) - 1, max(0, self.gain_index + step))
        self._again()

    def next_span(self) -> None:
        """Show another length of time."""
        self.span_index = (self.span_index + 1) % len(_SPANS_S)
        self.span_button.setText(f"{_SPANS_S[self.span_index]:g} s")
        self._again()

    def refresh(self) -> None:
        """Scroll to the newest sample."""
        model, desk = self.desk.model, self.desk
        desk.select_by_default()
        traces = model.traces.get(desk.plane)
        self.card.set_stale(desk.age_s(traces.t_heard_ns if traces else 0))
        self.inspector.refresh()
        state = (id(model), traces.n_taken if traces else -1, tuple(desk.selection))
        if traces is None or state == self._shown:
            return
        self._shown = state
        cells = model.cells.get(desk.plane)
        rows = [cells.row_of[one] for one in desk.selection if one in cells.row_of] if cells is not None else []
        rows = [row for row in rows if row < traces.n_rois]
        times = traces.times_ns()
        if cells is None or not rows or len(times) < 2:
            for curve in self._curves.values():
                curve.setData([], [])
            return
        self._draw(traces, np.array(rows), [int(cells.roi_id[row]) for row in rows], times)

    def _draw(self, traces: Traces, rows: NDArray[np.intp], roi_ids: list[int], times: NDArray[np.int64]) -> None:
        span_s, n = _SPANS_S[self.span_index], len(rows)
        x = (times - times[-1]) / NS_PER_S
        first = int(np.searchsorted(x, -span_s))
        x = x[first:]
        dff = traces.window("dff", rows)[first:]
        gain = self._gain(dff)
        offset = np.arange(n - 1, -1, -1, dtype=np.float32)
        self._stack("dff", x, dff / gain + offset)
        self._stack("calcium", x, traces.window("calcium", rows)[first:] / gain + offset)
        self._stack("probability", x, traces.window("probability", rows)[first:] * 0.4 + offset - 0.25)
        self._events(traces, roi_ids, offset, times, span_s)
        self._light(times, span_s, n)
        self._frame(roi_ids, offset, gain, span_s, n)

    def _stack(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> None:
        """All cells as one curve, broken between them and where there is no sample."""
        n_times, n = y.shape
        flat = np.ascontiguousarray(y.T).ravel()
        finite = np.isfinite(flat)
        connect = finite & np.roll(finite, -1)
        connect[n_times - 1 :: n_times] = False
        self._curves[name].setData(
            np.tile(x, n), np.nan_to_num(flat, copy=False), connect=connect.astype(np.int32), skipFiniteCheck=True
        )

    def _events(
        self, traces: Traces, roi_ids: list[int], offset: NDArray[Any], times: NDArray[np.int64], span_s: float
    ) -> None:
        events = traces.events_since(int(times[-1]) - round(span_s * NS_PER_S))
        known = np.array(roi_ids, np.int64)
        events = events[np.isin(events[:, 0], known)]
        order = np.argsort(known)
        at = order[np.searchsorted(known, events[:, 0], sorter=order)]
        x = (events[:, 1] - times[-1]) / NS_PER_S
        base = offset[at] - 0.32
        set_segments(self._curves["event"], np.repeat(x, 2), np.stack([base, base + 0.3], 1).ravel())

    def _light(self, times: NDArray[np.int64], span_s: float, n: int) -> None:
        model = self.desk.model
        shown = () if model.is_blinded else model.decisions.lights
        lights = [one.t_ns for one in shown if times[-1] - one.t_ns < span_s * NS_PER_S]
        x = (np.array(lights, np.int64) - times[-1]) / NS_PER_S
        set_segments(self._curves["light"], np.repeat(x, 2), np.tile([-0.6, n - 0.3], len(lights)))

    def _gain(self, dff: NDArray[Any]) -> float:
        """ΔF/F that the height of one row stands for; changes in steps, so that the picture stays calm."""
        if self.auto_gain and np.isfinite(dff).any():
            reach = float(np.nanpercentile(dff[::4], 99.5))
            if reach > _GAINS[self.gain_index] or reach < 0.35 * _GAINS[self.gain_index]:
                self.gain_index = min(int(np.searchsorted(_GAINS, reach)), len(_GAINS) - 1)
        return _GAINS[self.gain_index]

    def _frame(self, roi_ids: list[int], offset: NDArray[Any], gain: float, span_s: float, n: int) -> None:
        frame = (tuple(roi_ids), gain, span_s)
        if frame == self._framed:
            return
        self._framed = frame
        self.plot.getAxis("left").setTicks([[(float(y), str(one)) for y, one in zip(offset, roi_ids, strict=True)]])
        self.plot.setXRange(-span_s, 0.02 * span_s, padding=0)
        self.plot.setYRange(-0.6, n + 0.05, padding=0)
        edge = 0.012 * span_s
        self._curves["scale"].setData([edge, edge], [n - 1, n - 0.5])
        self._scale_text.setText(f"{100 * gain / 2:g} % ΔF/F")
        self._scale_text.setPos(edge, n - 0.3)

    def _again(self) -> None:
        self._shown = None

    def apply_theme(self) -> None:
        """Colours of the curves, and their key."""
        super().apply_theme()
        p = self.desk.theme.palette
        pens = {"dff": p.trace, "calcium": p.calcium, "probability": p.probability, "event": p.event, "light": p.light}
        for name, colour in pens.items():
            self._curves[name].setPen(pg.mkPen(colour, width=2 if name == "event" else 1))
        self._curves["scale"].setPen(pg.mkPen(p.text, width=3))
        self._scale_text.setColor(p.text)
        font = self.font()
        font.setPixelSize(self.desk.theme.px(0.88))
        self._scale_text.setFont(font)
        words = {
            "dff": "ΔF/F",
            "calcium": "denoised",
            "probability": "probability 0–1",
            "event": "spike",
            "light": "light",
        }
        self.key.setText("   ".join(f"<span style='color:{pens[one]}'>▬</span> {word}" for one, word in words.items()))
        self.key.setTextFormat(QtCore.Qt.TextFormat.RichText)
        self._framed = None

"""Traces of the selected cells, scrolling, with events and light; the inspector of one of them below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.model.decisions import LightMark
from gui.model.traces import Traces
from gui.views.inspector import Inspector
from gui.views.plots import StripPlot
from gui.views.scrolling_traces import ABOVE, AHEAD, BELOW, ScrollingTraces, Stroke, Ticks
from gui.views.view import View, button, label
from gui.widgets.card import Card
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S

_GAINS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_SPANS_S = (5.0, 10.0, 30.0)
_INSPECT_EVERY_NS = 200 * NS_PER_MS
_GAUGE_EVERY_NS = NS_PER_S
_LONG_AGO_NS = -(1 << 62)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What stands in the picture: of which plane, in which look, and how much of it."""

    traces: Traces | None = None
    look: Any = None
    n_kept: int = 0
    n_events: int = 0
    n_lights: int = 0


class TracesView(View):
    """Up to twenty cells, newest sample on the right."""

    period_ms = 33
    title = "Traces"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.card = Card("Selected cells")
        self.plot = StripPlot("time before now (s)", "roi_id")
        self.scroll = ScrollingTraces(self.plot)
        self._scale = self.plot.plot()
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
        self._drawn = _Drawn()
        self._inspected_ns = self._gauged_ns = _LONG_AGO_NS
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
        traces = model.traces.get(desk.plane)
        stale = desk.age_s(traces.t_heard_ns if traces else 0)
        self.card.set_stale(stale)
        self.inspector.set_stale(stale)
        if abs(desk.now_ns() - self._inspected_ns) > _INSPECT_EVERY_NS or desk.review is not None:
            self._inspected_ns = desk.now_ns()
            self.inspector.refresh()
        cells = model.cells.get(desk.plane)
        roi_ids = [one for one in desk.selection if one in cells.row_of] if cells is not None else []
        rows = np.array([cells.row_of[one] for one in roi_ids] if cells is not None else [], np.intp)
        if traces is None or not len(rows) or rows.max() >= traces.n_rois or len(traces.times_ns()) < 2:
            self._nothing()
            return
        self._draw(traces, rows, roi_ids)

    def _nothing(self) -> None:
        """Empty rows: there is no cell, or no sample."""
        if self._drawn.look is not None:
            self._drawn = _Drawn()
            self.scroll.clear(_SPANS_S[self.span_index], 1, self.desk.theme.palette.surface, 0)

    def _draw(self, traces: Traces, rows: NDArray[np.intp], roi_ids: list[int]) -> None:
        """Add what is new; everything, where the look has changed or much was missed."""
        times, span_s, n = traces.times_ns(), _SPANS_S[self.span_index], len(rows)
        gain = self._gain(traces, rows)
        blinded, before = self.desk.model.is_blinded, self._drawn
        look = (tuple(roi_ids), gain, span_s, self.desk.theme, blinded, traces.rois_rev)
        n_new = traces.n_kept - before.n_kept
        goes_on = traces is before.traces and 0 <= n_new < len(times) and times[-1] >= self.scroll.head_ns
        if not goes_on or look != before.look or self.scroll.needs_all:
            first = int(np.searchsorted(times, times[-1] - round(span_s * NS_PER_S)))
            n_new = len(times) - first - 1
            before = _Drawn()
            theme = self.desk.theme
            self.scroll.clear(span_s, n, theme.palette.surface, int(times[first]), float(max(1, round(theme.scale))))
            self._frame(roi_ids, gain, span_s, n)
        elif not n_new and traces.n_events == before.n_events:
            return
        lights = self.desk.model.decisions
        self._drawn = _Drawn(traces, look, traces.n_kept, traces.n_events, lights.n_lights)
        self.scroll.add(
            times[-(n_new + 1) :],
            self._strokes(traces, rows, gain, n_new + 1),
            [
                self._events(traces.newest_events(traces.n_events - before.n_events), roi_ids),
                self._light(() if blinded else lights.newest_lights(lights.n_lights - before.n_lights), n),
            ],
        )

    def _strokes(self, traces: Traces, rows: NDArray[np.intp], gain: float, n_times: int) -> list[Stroke]:
        """The newest samples of every selected cell, a row each."""
        p = self.desk.theme.palette
        offset = np.arange(len(rows) - 1, -1, -1, dtype=np.float32)

        def of(field: str) -> NDArray[Any]:
            return traces.window(field, rows, n_times)

        return [
            Stroke(p.probability, of("probability") * 0.4 + offset - 0.25),
            Stroke(p.trace, of("dff") / gain + offset),
            Stroke(p.calcium, of("calcium") / gain + offset),
        ]

    def _events(self, events: NDArray[np.int64], roi_ids: list[int]) -> Ticks:
        known = np.array(roi_ids, np.int64)
        events = events[np.isin(events[:, 0], known)]
        order = np.argsort(known)
        at = order[np.searchsorted(known, events[:, 0], sorter=order)]
        base = len(roi_ids) - 1 - at - 0.32
        return Ticks(self.desk.theme.palette.event, events[:, 1], base, base + 0.3)

    def _light(self, lights: Sequence[LightMark], n: int) -> Ticks:
        t_ns = np.array([one.t_ns for one in lights], np.int64)
        ends = np.full(len(t_ns), -BELOW), np.full(len(t_ns), n - 0.3)
        return Ticks(self.desk.theme.palette.light, t_ns, *ends, width_px=1.0)

    def _gain(self, traces: Traces, rows: NDArray[np.intp]) -> float:
        """ΔF/F that the height of one row stands for; changes in steps, so that the picture stays calm."""
        if self.auto_gain and abs(self.desk.now_ns() - self._gauged_ns) > _GAUGE_EVERY_NS:
            self._gauged_ns = self.desk.now_ns()
            dff = traces.window("dff", rows)[::4]
            finite = dff[np.isfinite(dff)]
            reach = float(np.percentile(finite, 99.5)) if len(finite) else 0.0
            if reach > 0 and not 0.35 * _GAINS[self.gain_index] <= reach <= _GAINS[self.gain_index]:
                self.gain_index = min(int(np.searchsorted(_GAINS, reach)), len(_GAINS) - 1)
        return _GAINS[self.gain_index]

    def _frame(self, roi_ids: list[int], gain: float, span_s: float, n: int) -> None:
        """Axes and scale; drawn with the whole of the traces, so never while they only scroll."""
        ticks = [(float(n - 1 - row), str(one)) for row, one in enumerate(roi_ids)]
        self.plot.getAxis("left").setTicks([ticks])
        self.plot.setXRange(-span_s, AHEAD * span_s, padding=0)
        self.plot.setYRange(-BELOW, n + ABOVE, padding=0)
        edge = 0.012 * span_s
        self._scale.setData([edge, edge], [n - 1, n - 0.5])
        self._scale_text.setText(f"{100 * gain / 2:g} % ΔF/F")
        self._scale_text.setPos(edge, n - 0.3)

    def _again(self) -> None:
        """Draw everything in the next refresh."""
        self._drawn = _Drawn()
        self._inspected_ns = self._gauged_ns = _LONG_AGO_NS

    def apply_theme(self) -> None:
        """Colours of the curves, and their key."""
        super().apply_theme()
        p = self.desk.theme.palette
        pens = {"dff": p.trace, "calcium": p.calcium, "probability": p.probability, "event": p.event, "light": p.light}
        self._scale.setPen(pg.mkPen(p.text, width=3))
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
        self._again()

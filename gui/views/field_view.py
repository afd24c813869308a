"""The field: live picture, cells, light, and the tools to look at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.model.frames import Picture
from gui.palette import DARK, Tone
from gui.views.cell_outlines import premultiplied
from gui.views.field_bar import FieldBar
from gui.views.field_colours import edge_colours
from gui.views.field_plot import FieldPlot
from gui.views.field_rig import exclusion_zones, um_per_px
from gui.views.marks_item import RING_S, Marks, MarksItem
from gui.views.picture_item import PictureItem, auto_levels
from gui.views.plots import StripPlot
from gui.views.view import View
from gui.widgets.card import Card
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.events import FrameFlag

_FLASH_S = 0.35
_LEVELS_EVERY = 15
_LEVELS_WEIGHT = 0.35
_MOTION_EVERY_NS = NS_PER_S // 4
_NO_COLOURS = np.zeros(0, np.uint32)


class FieldView(View):
    """Live picture on top, motion below."""

    period_ms = 33
    title = "Field"
    picked = QtCore.Signal(float, float, bool)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.bar = FieldBar(desk)
        self.plot = FieldPlot()
        self.picture, self.marks = PictureItem(), MarksItem()
        for item in (self.picture, self.marks):
            self.plot.addItem(item)
        self.card = Card("Field")
        self.card.body.addWidget(self.plot, 1)
        self.motion = StripPlot("", "")
        self.motion.getAxis("bottom").setStyle(showValues=True)
        self.motion.getAxis("bottom").setTicks([[(-30.0, "−30 s"), (-20.0, "−20 s"), (-10.0, "−10 s"), (-1.4, "now")]])
        self.motion.setFixedHeight(74)
        self._shift_y = self.motion.plot()
        self._shift_x = self.motion.plot()
        self.card.body.addWidget(self.motion)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(8, 6, 4, 6)
        box.setSpacing(6)
        box.addWidget(self.bar)
        box.addWidget(self.card, 1)
        self.draft: list[tuple[float, float]] = []
        self.takes_clicks_for: Any = None
        self._shown = (-1, 0)
        self._moved_ns = -(1 << 62)
        self._reach_px = 0.0
        self._turn = False
        self._levels: tuple[float, float] | None = None
        self._mean: Any = None
        self._shape = (0, 0)
        self.plot.picked.connect(self._picked)
        self.plot.finished.connect(self.whole)
        self.bar.whole.connect(self.whole)
        self.bar.changed.connect(self._again)
        desk.plane_changed.connect(self._other_plane)

    def whole(self) -> None:
        """Show the whole field."""
        self.plot.whole(self.picture.size_px)

    def refresh(self) -> None:
        """Newest picture, outlines, marks and motion."""
        model, desk = self.desk.model, self.desk
        self.bar.refresh()
        picture = model.frames.pictures.get((desk.plane, desk.channel))
        self.card.set_stale(desk.age_s(picture.t_heard_ns if picture else 0))
        if picture is not None and (id(model), picture.n_whole) != self._shown:
            self._shown = (id(model), picture.n_whole)
            self._show_picture(picture)
        traces = model.traces.get(desk.plane)
        if traces is not None and abs(desk.now_ns() - self._moved_ns) > _MOTION_EVERY_NS:
            self._moved_ns = desk.now_ns()
            self._show_motion()
        self._turn = not self._turn
        if self._turn:
            # Outlines every second time: nobody sees the difference, and they cost as much as the picture.
            self._show_cells()
        self._show_marks()

    def _show_picture(self, picture: Picture) -> None:
        image = picture.image
        n = self.bar.average
        if n > 1:
            if self._mean is None or self._mean.shape != image.shape:
                self._mean = image.astype(np.float32)
            self._mean += (image - self._mean) * (1.0 / n)
            image = self._mean.astype(image.dtype)
        else:
            self._mean = None
        lit = bool(picture.flags & FrameFlag.ARTEFACT)
        if self.bar.auto and not lit and (self._levels is None or picture.n_whole % _LEVELS_EVERY == 0):
            low, high = auto_levels(image)
            before = self._levels or (low, high)
            w = _LEVELS_WEIGHT if self._levels else 1.0
            self._levels = (before[0] + w * (low - before[0]), before[1] + w * (high - before[1]))
            self.bar.show_levels(*self._levels)
        low, high = self._levels if self.bar.auto and self._levels else self.bar.levels
        low, high = round(low), round(high)
        self.picture.set_table(low, high, self.bar.colour_map, signed=image.dtype.kind == "i")
        self.picture.show(image, self.plot.px_per_dot)
        if image.shape != self._shape:
            self._shape = image.shape
            self.whole()
        rate = f", {NS_PER_S / picture.frame_period_ns:.1f} Hz" if picture.frame_period_ns else ""
        self.card.note.setText(f"frame {picture.frame:,}  ·  {image.shape[0]} × {image.shape[1]} px{rate}")

    def _show_cells(self) -> None:
        model, desk = self.desk.model, self.desk
        cells = model.cells.get(desk.plane) if self.bar.outlines else None
        if cells is None:
            self.picture.show_cells(None, _NO_COLOURS, {})
            return
        traces = model.traces.get(desk.plane)
        filled: dict[int, int] = {}
        if traces is not None and (times := traces.times_ns()).size:
            now_ns = int(times[-1])
            for event in traces.events:
                age_s = (now_ns - event.t_decided_ns) / NS_PER_S
                if -1.0 < age_s < _FLASH_S and event.roi_id in cells.row_of:
                    filled[cells.row_of[event.roi_id]] = premultiplied(0xE69F00, 0.75 * (1 - max(age_s, 0) / _FLASH_S))
        self.picture.show_cells(cells, edge_colours(self.bar.colour_by, cells, traces), filled)

    def _show_marks(self) -> None:
        model, desk = self.desk.model, self.desk
        cells = model.cells.get(desk.plane)
        marks = Marks(draft=list(self.draft), zones=exclusion_zones(model))
        offered = model.candidates.get(desk.plane)
        if offered is not None:
            marks.offered = [(one.y_px, one.x_px) for one in offered.candidates[:200]]
        names = []
        for roi_id in desk.selection:
            if cells is not None and roi_id in cells.row_of:
                y, x = cells.centroid_yx_px[cells.row_of[roi_id]]
                marks.selected.append((y, x, str(roi_id)))
                names.append((y, x, str(roi_id)))
        traces = model.traces.get(desk.plane)
        now_ns = int(traces.times_ns()[-1]) if traces is not None and traces.times_ns().size else 0
        for light in [] if model.is_blinded else list(model.decisions.lights)[-20:]:
            age_s = (now_ns - light.t_ns) / NS_PER_S
            if -0.2 < age_s < RING_S:
                marks.rings += [(y, x, max(age_s, 0.0)) for y, x in light.places_in(desk.plane)]
        if model.decisions.lights and not model.is_blinded:
            marks.targets = model.decisions.lights[-1].places_in(desk.plane)
        self.marks.show(marks, self.picture.size_px)
        um = um_per_px(model)
        if names != self.plot.names or um != self.plot.um_per_px:
            self.plot.names, self.plot.um_per_px = names, um
            self.plot.viewport().update()

    def _show_motion(self) -> None:
        traces = self.desk.model.traces[self.desk.plane]
        past, times = traces.motion_past(), traces.times_ns()
        if len(times) < 2:
            return
        x = (times - times[-1]) / NS_PER_S
        keep = x > -30
        self._shift_y.setData(x[keep], past[keep, 0], connect="finite")
        self._shift_x.setData(x[keep], past[keep, 1], connect="finite")
        with np.errstate(all="ignore"):
            finite = past[keep, :2][np.isfinite(past[keep, :2])]
        reach = float(np.clip(np.abs(finite).max(initial=0.0), 1.0, 100.0))
        if reach != self._reach_px:
            self._reach_px = reach
            self.motion.setYRange(-reach, reach, padding=0.05)

    def _picked(self, y_px: float, x_px: float, more: bool) -> None:
        if self.takes_clicks_for is not None:
            self.takes_clicks_for(y_px, x_px)
            return
        cells = self.desk.model.cells.get(self.desk.plane)
        roi_id = cells.at(y_px, x_px) if cells is not None else None
        if roi_id is None:
            self.desk.say("no cell here", Tone.NEUTRAL)
            return
        self.desk.select([roi_id], add=more)

    def _again(self) -> None:
        self._shown = (-1, 0)
        self._turn, self.due_ns = False, 0

    def _other_plane(self) -> None:
        self._levels = self._mean = None
        self._again()

    def apply_theme(self) -> None:
        """The ground around the picture."""
        super().apply_theme()
        self.plot.setBackground(DARK.background)
        self.marks.theme = self.desk.theme
        p, size = self.desk.theme.palette, self.desk.theme.px(0.88)
        words = f"<span style='color:{p.accent}'>y</span>, <span style='color:{p.event}'>x</span> (px)"
        self.motion.getAxis("left").setLabel(words, color=p.muted, **{"font-size": f"{size}px"})
        font = self.plot.font()
        font.setPixelSize(self.desk.theme.px(0.95))
        self.plot.setFont(font)
        self.motion.setFixedHeight(self.desk.theme.px(6.2))
        self._shift_y.setPen(pg.mkPen(p.accent))
        self._shift_x.setPen(pg.mkPen(p.event))
        self.motion.setToolTip("shift of the field along y and x, found by registration")

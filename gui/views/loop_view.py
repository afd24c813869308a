"""Health of the loop: services, delays against their deadline, losses, memory, disk."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.model.health import INTERVALS, STALE_NS
from gui.numbers import NONE, age, fixed, size
from gui.palette import Tone
from gui.views.delay_plot import DelayPlot
from gui.views.view import View, scrolling
from gui.widgets.card import Card
from gui.widgets.table import Table
from gui.widgets.tile_grid import TileGrid
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.fates import Fate

_DISK_LOW_BYTES = 5e9
_COLUMNS = ("service", "state", "heard", "waiting", "dropped", "gaps", "out of turn", "memory")
_FATES = {
    Fate.DECIDED: "decided",
    Fate.LATE: "late",
    Fate.BLANKED: "own light",
    Fate.SKIPPED: "skipped",
    Fate.MISSING: "missing",
    Fate.REFUSED: "refused",
    Fate.DUPLICATED: "twice",
    Fate.OUT_OF_ORDER: "disordered",
}
_WORRYING = (Fate.LATE, Fate.SKIPPED, Fate.MISSING, Fate.REFUSED)
_ASK_EVERY_NS = 5 * NS_PER_S


class LoopView(View):
    """Tiles, services, delays."""

    period_ms = 250
    title = "Loop"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        captions = {
            "rate": "frames/s",
            "lost": "frames lost",
            "queue": "frames waiting",
            "memory": "memory of all services",
            "disk": "free on the disk",
            "motion": "shift now (px)",
        }
        self.tiles = TileGrid(captions, 6)
        self.tiles_card, self.services_card, self.delay_card = Card("Now"), Card("Services"), Card("Delays")
        self.tiles_card.body.addWidget(self.tiles)
        self.services = Table(_COLUMNS, stretch=7)
        self.services_card.body.addWidget(self.services)
        self.frames_card = Card("Frames since the start")
        self.fates = Table(("engine", *_FATES.values()), stretch=len(_FATES))
        self.frames_card.body.addWidget(self.fates)
        self.delays = {name: DelayPlot(name) for name in INTERVALS}
        for plot in self.delays.values():
            self.delay_card.body.addWidget(plot)
        self._lay_out()
        self._folder: Path | None = None
        self._asked_ns = 0

    def _lay_out(self) -> None:
        content = QtWidgets.QWidget()
        content.setObjectName("page")
        box = QtWidgets.QVBoxLayout(content)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        for card in (self.tiles_card, self.services_card, self.frames_card, self.delay_card):
            box.addWidget(card)
        box.addStretch(1)
        outer = QtWidgets.QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(content))

    def apply_theme(self) -> None:
        """With large letters there is room for what matters most."""
        super().apply_theme()
        for name in ("waiting", "gaps", "out of turn"):
            self.services.setColumnHidden(_COLUMNS.index(name), self.desk.theme.large)
        for name in ("own light", "twice", "disordered"):
            self.fates.setColumnHidden(1 + list(_FATES.values()).index(name), self.desk.theme.large)

    def refresh(self) -> None:
        """Show the newest heartbeats and delays."""
        health, desk = self.desk.model.health, self.desk
        heard_ns = max((one.t_heard_ns for one in health.heartbeats.values()), default=0)
        stale = desk.age_s(heard_ns)
        for card in (self.tiles_card, self.delay_card):
            card.set_stale(stale)
        self._show_tiles()
        self._show_services()
        self._show_fates()
        deadline_ms = self._deadline_ms()
        for name, plot in self.delays.items():
            values = health.delays.values_ms(name)
            plot.setVisible(len(values) > 0 or name in ("scan_to_receive", "receive_to_decision"))
            plot.show_values(values, health.told_ms.get(name, {}), deadline_ms.get(name))

    def _show_tiles(self) -> None:
        model, tiles = self.desk.model, self.tiles
        health = model.health
        tiles["rate"].say(fixed(health.frame_rate_hz(), 1))
        tiles["lost"].say(f"{health.frames_lost:,}", Tone.WARNING if health.frames_lost else Tone.NEUTRAL)
        headers = [one.header for one in health.heartbeats.values()]
        queue = max((one.queue for one in headers), default=0)
        tiles["queue"].say(f"{queue:,}", Tone.WARNING if queue > 5 else Tone.NEUTRAL)
        tiles["memory"].say(size(float(sum(one.rss_bytes for one in headers))))
        traces = model.traces.get(self.desk.plane)
        shift = math.hypot(traces.motion.y_px, traces.motion.x_px) if traces else math.nan
        tiles["motion"].say(fixed(shift, 1))
        self._show_disk()

    def _show_disk(self) -> None:
        desk = self.desk
        if desk.review is not None or not desk.endpoints.is_local:
            self.tiles["disk"].say(NONE)
            return
        if desk.now_ns() - self._asked_ns > _ASK_EVERY_NS:
            self._asked_ns = desk.now_ns()
            desk.link.send("status", {}, self._take_status)
        if self._folder is not None and self._folder.is_dir():
            free = float(shutil.disk_usage(self._folder).free)
            self.tiles["disk"].say(size(free), Tone.DANGER if free < _DISK_LOW_BYTES else Tone.NEUTRAL)

    def _take_status(self, answer: Any) -> None:
        folder = answer.result.get("folder") if answer.ok else None
        self._folder = Path(folder) if isinstance(folder, str) else None

    def _show_services(self) -> None:
        now_ns, palette = self.desk.now_ns(), self.desk.theme.palette
        rows: list[tuple[str, ...]] = []
        colours: list[str | None] = []
        for source, heartbeat in sorted(self.desk.model.health.heartbeats.items()):
            header, old_ns = heartbeat.header, now_ns - heartbeat.t_heard_ns
            stale = old_ns > STALE_NS and self.desk.review is None
            heard = f"{age(old_ns / NS_PER_S)} ago" if stale else "now"
            counts = (header.queue, header.dropped, header.gaps, header.late)
            rows.append(
                (source[:30], header.state[:16], heard, *(f"{one:,}" for one in counts), size(float(header.rss_bytes)))
            )
            bad = header.dropped > 0 or header.state == "failed"
            colours.append(palette.stale if stale else palette.warning if bad else None)
        self.services.fill(rows, colours)
        self.services.fit_height(9)

    def _show_fates(self) -> None:
        """What became of every frame, engine by engine."""
        now_ns, palette = self.desk.now_ns(), self.desk.theme.palette
        rows: list[tuple[str, ...]] = []
        colours: list[str | None] = []
        for source, heartbeat in sorted(self.desk.model.health.heartbeats.items()):
            fates = heartbeat.header.fates
            if not fates:
                continue
            rows.append((source[:30], *(f"{fates.get(fate, 0):,}" for fate in _FATES)))
            stale = now_ns - heartbeat.t_heard_ns > STALE_NS and self.desk.review is None
            bad = any(fates.get(fate) for fate in _WORRYING)
            colours.append(palette.stale if stale else palette.warning if bad else None)
        self.fates.fill(rows, colours)
        self.fates.fit_height(9)
        self.frames_card.setVisible(bool(rows))

    def _deadline_ms(self) -> dict[str, float]:
        """Deadlines: the smallest age of a decision that an output allows, and the frame period."""
        model = self.desk.model
        found: dict[str, float] = {}
        ages = [
            float(limits["max_decision_age_ms"])
            for limits in (model.state.header.limits.values() if model.state.header else ())
            if isinstance(limits.get("max_decision_age_ms"), int | float)
        ]
        if ages:
            found["scan_to_command"] = min(ages)
        picture = model.frames.pictures.get((self.desk.plane, self.desk.channel))
        if picture is not None and picture.frame_period_ns and picture.frame_period_ns < 1e12:
            found["receive_to_decision"] = picture.frame_period_ns / 1e6
        return found

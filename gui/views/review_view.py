"""Opening a recorded session, and moving through it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.numbers import clock_time
from gui.palette import Tone
from gui.review.player import Player
from gui.review.recorded import Recorded, read_session
from gui.views.plots import StripPlot
from gui.views.view import View, button, label
from gui.widgets.card import Card
from gui.widgets.choice import Choice
from gui.widgets.file_sheet import choose_path
from gui.widgets.overlay import Overlay
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.errors import SpikeloopError

_SPEEDS = (0.25, 1.0, 4.0, 16.0)
_MAX_BINS = 400
_HINT = "Open a session: every other page then shows it. STOP still acts on the live rig."


class _Reading:
    """A session that is being read in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.fraction = 0.0
        self.recorded: Recorded | None = None
        self.error = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(path,), name="spikeloop-window-review", daemon=True)
        self._thread.start()

    def _read(self, path: Path) -> None:
        try:
            self.recorded = read_session(path, self._progress, self._stopping.is_set)
        except SpikeloopError as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"{path}: {error.strerror or error}"

    def _progress(self, fraction: float) -> None:
        self.fraction = fraction

    def close(self) -> None:
        """Give up."""
        self._stopping.set()
        self._thread.join(5)


class ReviewView(View):
    """A session as it was: all other pages show the moment chosen here."""

    period_ms = 33
    title = "Review"

    def __init__(self, desk: Desk, overlay: Overlay) -> None:
        super().__init__(desk)
        self._overlay = overlay
        self.player: Player | None = None
        self._reading: _Reading | None = None
        self._played_ns = 0
        self.card, self.time_card = Card("Recorded session"), Card("Time")
        self.path = QtWidgets.QLineEdit()
        self.path.setPlaceholderText("session folder, finished or crashed")
        self.path.returnPressed.connect(self._open_typed)
        self.progress = QtWidgets.QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.said = label(
            "Open a session: every other page then shows it. STOP still acts on the live rig.", "muted", wrap=True
        )
        self.back = button("Back to live", self.leave)
        self.play = button("▶ Play", self.toggle_play, checkable=True)
        self.speed = Choice(tuple(f"× {one:g}" for one in _SPEEDS), "speed")
        self.speed.setCurrentIndex(1)
        self.time = label("–", "big")
        self.overview = StripPlot("time since start (s)", "spikes/s")
        self._rate = self.overview.plot(stepMode="center", fillLevel=0)
        self._light = self.overview.plot()
        self.cursor = pg.InfiniteLine(angle=90, movable=True)
        self.overview.addItem(self.cursor)
        self.cursor.sigPositionChanged.connect(self._dragged)
        self.overview.scene().sigMouseClicked.connect(self._clicked)
        self._moving = False
        self._lay_out()

    def _lay_out(self) -> None:
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(button("Browse", self._browse))
        row.addWidget(button("Open", self._open_typed, name="primary"))
        row.addWidget(self.back)
        self.card.body.addLayout(row)
        self.card.body.addWidget(self.progress)
        self.card.body.addWidget(self.said)
        row = QtWidgets.QHBoxLayout()
        self.time_card.body.addWidget(self.time)
        row.addStretch(1)
        for text, step_s in (("−10 s", -10.0), ("−1 s", -1.0), ("+1 s", 1.0), ("+10 s", 10.0)):
            row.addWidget(button(text, lambda _=False, by=step_s: self.step(by)))
        row.addWidget(self.speed)
        row.addWidget(self.play)
        self.time_card.body.addLayout(row)
        self.time_card.body.addWidget(self.overview, 1)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        box.addWidget(self.card)
        box.addWidget(self.time_card, 1)

    def open(self, path: Path) -> None:
        """Read a session, and show its end of it as soon as it is there."""
        if self._reading is not None:
            self._reading.close()
        self.path.setText(str(path))
        self._reading = _Reading(path)
        self.said.setText("reading …")

    def leave(self) -> None:
        """Show the live rig again."""
        self.play.setChecked(False)
        self.player = None
        self.desk.review = None
        self.desk.plane_changed.emit()
        self.said.setText("Live again.")

    def tick(self) -> None:
        """Called in every turn of the window, whatever page is shown: reading ends, playing goes on."""
        reading = self._reading
        if reading is not None:
            self.progress.setValue(round(1000 * reading.fraction))
            if reading.error:
                self.said.setText(reading.error)
                self._reading = None
            elif reading.recorded is not None:
                self._reading = None
                self._show(reading.recorded)
        if self.player is not None and self.play.isChecked():
            now_ns = self.desk.now_ns()
            step_ns = min(now_ns - self._played_ns, 200 * NS_PER_MS)
            self._played_ns = now_ns
            self._go_to(self.player.t_ns + round(step_ns * _SPEEDS[self.speed.currentIndex()]))
            if self.player.t_ns >= self.player.recorded.end_ns:
                self.play.setChecked(False)

    def refresh(self) -> None:
        """The moment, in words."""
        self.back.setEnabled(self.player is not None)
        for widget in (self.play, self.speed):
            widget.setEnabled(self.player is not None)
        self.play.setText("❚❚ Pause" if self.play.isChecked() else "▶ Play")
        if self.player is not None:
            start_ns, end_ns = self.player.recorded.start_ns, self.player.recorded.end_ns
            now_s, all_s = (self.player.t_ns - start_ns) / NS_PER_S, (end_ns - start_ns) / NS_PER_S
            self.time.setText(f"{clock_time(now_s)}  of {clock_time(all_s)}")

    def _show(self, recorded: Recorded) -> None:
        if not recorded.messages:
            self.said.setText(f"{recorded.folder}: holds no message that can be shown")
            return
        self.player = Player(recorded)
        every = f"one frame in {recorded.frame_stride} kept for looking; " if recorded.frame_stride > 1 else ""
        self.said.setText(f"{recorded.folder.name}: {every}{'; '.join(recorded.findings) or 'complete'}")
        span_s = max(1e-3, (recorded.end_ns - recorded.start_ns) / NS_PER_S)
        edges = np.linspace(0, span_s, min(_MAX_BINS, max(2, int(span_s))) + 1)
        counts = np.histogram((recorded.event_times_ns - recorded.start_ns) / NS_PER_S, edges)[0]
        rate = counts / (edges[1] - edges[0])
        top = max(1.0, float(rate.max(initial=0.0))) * 1.2
        self._rate.setData(edges, rate)
        x = (recorded.light_times_ns - recorded.start_ns) / NS_PER_S
        self._light.setData(np.repeat(x, 2), np.tile([0.85 * top, top], len(x)), connect="pairs")
        self.overview.setXRange(0, span_s, padding=0)
        self.overview.setYRange(0, top, padding=0)
        self.cursor.setBounds((0, span_s))
        self._go_to(recorded.start_ns + round(0.5 * span_s * NS_PER_S))
        self.desk.select_by_default()
        self.desk.say(f"showing the recorded session {recorded.folder.name}", Tone.NOTICE)

    def _go_to(self, t_ns: int) -> None:
        if self.player is None:
            return
        self.player.go_to(t_ns)
        self.desk.review = self.player.model
        self._moving = True
        self.cursor.setValue((self.player.t_ns - self.player.recorded.start_ns) / NS_PER_S)
        self._moving = False

    def step(self, by_s: float) -> None:
        """Move by seconds."""
        if self.player is not None:
            self._go_to(self.player.t_ns + round(by_s * NS_PER_S))

    def toggle_play(self) -> None:
        """Play, or stand."""
        self._played_ns = self.desk.now_ns()

    def _dragged(self) -> None:
        if self.player is not None and not self._moving:
            self._go_to(self.player.recorded.start_ns + round(self.cursor.value() * NS_PER_S))

    def _clicked(self, event: Any) -> None:
        if self.player is not None and event.button() == QtCore.Qt.MouseButton.LeftButton:
            x_s = self.overview.getViewBox().mapSceneToView(event.scenePos()).x()
            self._go_to(self.player.recorded.start_ns + round(x_s * NS_PER_S))

    def _open_typed(self) -> None:
        text = self.path.text().strip()
        if text:
            self.open(Path(text))

    def _browse(self) -> None:
        def chosen(path: str) -> None:
            self.open(Path(path))

        choose_path(
            self._overlay, "Session", self.path.text() or str(self.desk.settings["folder"]), chosen, folder=True
        )

    def close_reading(self) -> None:
        """End the thread that reads."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def apply_theme(self) -> None:
        """Colours of the overview."""
        super().apply_theme()
        p = self.desk.theme.palette
        self._rate.setPen(pg.mkPen(p.accent))
        self._rate.setBrush(pg.mkBrush(p.accent + "66"))
        self._light.setPen(pg.mkPen(p.light, width=2))
        self.cursor.setPen(pg.mkPen(p.event, width=3))
        self.cursor.setHoverPen(pg.mkPen(p.text, width=3))

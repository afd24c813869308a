"""The bar that is always there: what runs, how it runs, whether light is possible, and STOP."""

from __future__ import annotations

import math
from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.model.hardware_stop import hardware_stop
from gui.numbers import age, clock_time, fixed
from gui.palette import Tone
from gui.stop_line import StopLine, StopState
from gui.theme import Theme
from gui.views.safety_view import INTERLOCK
from gui.views.view import label
from gui.widgets.pill import Pill
from gui.widgets.tile import Tile
from rt_engine.interfaces.clock import NS_PER_S

_PHASES = {
    "live": ("LIVE", Tone.GOOD),
    "baseline": ("BASELINE", Tone.NOTICE),
    "calibrating": ("CALIBRATING", Tone.NOTICE),
    "paused": ("PAUSED", Tone.WARNING),
    "stopping": ("STOPPING", Tone.WARNING),
}


class TopBar(QtWidgets.QWidget):
    """Phase, rig and figures on the left; interlock and STOP on the right. Nothing ever covers it."""

    stop_pressed = QtCore.Signal()

    def __init__(self, desk: Desk, stop_line: StopLine) -> None:
        super().__init__()
        self.setObjectName("bar")
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_StyledBackground)
        self._desk, self._stop_line = desk, stop_line
        self.phase, self.interlock = Pill(1.1), Pill(1.45)
        self.name = label("", "muted")
        self.rate, self.lost = Tile("frames/s"), Tile("frames lost")
        self.delay, self.events = Tile("decision p99 (ms)"), Tile("spikes")
        self.confirmation = label("", "small", wrap=True)
        self.confirmation.hide()
        self.stop = QtWidgets.QPushButton("STOP")
        self.stop.setObjectName("stop")
        self.stop.setAccessibleName("STOP: make every output dark (Esc)")
        self.stop.setToolTip("make every output dark at once (Esc)")
        self.stop.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self.stop.pressed.connect(self.stop_pressed)
        self._box = QtWidgets.QHBoxLayout(self)
        self._box.setContentsMargins(10, 5, 10, 5)
        self._box.setSizeConstraint(QtWidgets.QLayout.SizeConstraint.SetNoConstraint)
        left = QtWidgets.QVBoxLayout()
        left.setSpacing(1)
        left.addWidget(self.phase)
        left.addWidget(self.name)
        self._box.addLayout(left)
        for tile in (self.rate, self.lost, self.delay, self.events):
            self._box.addWidget(tile)
        self._box.addStretch(1)
        self._box.addWidget(self.confirmation)
        self._box.addWidget(self.interlock)
        self._box.addWidget(self.stop)

    def apply_theme(self, theme: Theme) -> None:
        """Sizes."""
        for part in (self.phase, self.interlock, self.rate, self.lost, self.delay, self.events):
            part.apply_theme(theme)
        self.stop.setFixedSize(theme.px(10.5), theme.px(3.9))
        self.confirmation.setFixedWidth(theme.px(11.5))
        self.setFixedHeight(theme.px(4.8))
        self._box.setSpacing(theme.px(1.1))
        self._fit()

    def resizeEvent(self, event: Any) -> None:
        """Where there is not room for all, figures go first; interlock and STOP never do."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        tiles = (self.rate, self.lost, self.delay, self.events)
        parts = (self.interlock, self.stop, self.name, *(() if self.confirmation.isHidden() else (self.confirmation,)))
        left_px = self.width() - sum(part.sizeHint().width() for part in parts) - 8 * self._box.spacing()
        for tile in tiles:
            left_px -= tile.sizeHint().width() + self._box.spacing()
            tile.setVisible(left_px > 0)

    def minimumSizeHint(self) -> Any:
        """What STOP, the interlock and the phase need: the figures can go."""
        parts = (self.interlock, self.stop, self.phase)
        return QtCore.QSize(sum(part.sizeHint().width() for part in parts) + 60, self.height())

    def refresh(self) -> None:
        """Everything as the rig tells it now; never of a recording."""
        desk, live = self._desk, self._desk.live
        now_ns = desk.now_ns()
        silent = live.is_silent(now_ns)
        self._show_phase(silent, now_ns)
        self._show_figures(silent)
        state_age_ns = now_ns - live.state.t_heard_ns
        known = live.state.t_heard_ns and state_age_ns < 2.5 * NS_PER_S
        word, tone, filled = INTERLOCK.get(live.state.interlock if known else "unknown", INTERLOCK["unknown"])
        self.interlock.say(word, tone, filled=filled)
        self._show_stop()

    def _show_phase(self, silent: bool, now_ns: int) -> None:
        live = self._desk.live
        if live.session is None or not live.t_heard_ns:
            self.phase.say("NO RIG", Tone.STALE)
            self.name.setText(f"looking at {self._desk.endpoints.host}")
            return
        session = live.session
        name = f"{session.rig[:24]}" + (f" · {session.subject[:16]}" if session.subject else "")
        if silent and session.state == "stopping":
            self.phase.say("RUN ENDED", Tone.NEUTRAL)
        elif silent:
            self.phase.say(f"SILENT {age((now_ns - live.t_heard_ns) / NS_PER_S)}", Tone.DANGER)
        else:
            word, tone = _PHASES.get(session.state, (session.state.upper()[:14], Tone.NEUTRAL))
            self.phase.say(word, tone)
        elapsed_s = (session.t_sent_ns - session.t_monotonic_ns) / NS_PER_S
        dry = " · dry run" if session.config.get("dry_run") is True else ""
        self.name.setText(f"{name} · {clock_time(elapsed_s)}{dry}")

    def _show_figures(self, silent: bool) -> None:
        health = self._desk.live.health
        tone = Tone.STALE if silent else Tone.NEUTRAL
        rate_hz = health.frame_rate_hz()
        self.rate.say(fixed(rate_hz, 1), tone)
        self.lost.say(f"{health.frames_lost:,}", Tone.WARNING if health.frames_lost else tone)
        told = health.told_ms.get("receive_to_decision", {})
        p99 = told.get("p99", math.nan)
        self.delay.say(fixed(p99, 2), tone)
        self.events.say(f"{sum(one.n_events for one in self._desk.live.traces.values()):,}", tone)

    def _show_stop(self) -> None:
        state = self._stop_line.check()
        line = hardware_stop(self._desk.live)
        by_line = line.has_tripped and self._desk.live.state.interlock == "tripped"
        if by_line and state is not StopState.SENT:
            self._confirm(f"Hardware STOP\ndark after {fixed(line.dark_after_ms, 1)} ms", "small")
            return
        text, look = {
            StopState.IDLE: ("", "small"),
            StopState.SENT: ("STOP sent …", "small"),
            StopState.CONFIRMED: (f"STOP confirmed\nafter {self._stop_line.took_ms:.0f} ms", "small"),
            StopState.UNCONFIRMED: ("STOP NOT CONFIRMED\nuse the hardware switch", "bad"),
        }[state]
        if state is StopState.CONFIRMED and self._desk.live.state.interlock in ("armed", "firing"):
            text = ""
        self._confirm(text, look)

    def _confirm(self, text: str, look: str) -> None:
        """What became of the last STOP; nothing is shown as long as there was none."""
        if (text, look) == (self.confirmation.text(), self.confirmation.objectName()):
            return
        self.confirmation.setText(text)
        self.confirmation.setObjectName(look)
        self.confirmation.style().unpolish(self.confirmation)
        self.confirmation.style().polish(self.confirmation)
        if self.confirmation.isHidden() == bool(text):
            self.confirmation.setHidden(not text)
            self._fit()

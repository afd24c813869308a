"""The session: mark, pause, end; start a run; calibrate."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.numbers import NONE, clock_time
from gui.views.calibrate_card import CalibrateCard
from gui.views.start_card import StartCard, shipped_protocols
from gui.views.view import View, button, label, scrolling
from gui.widgets.card import Card
from gui.widgets.choice import Choice
from gui.widgets.hold_button import HoldButton
from gui.widgets.overlay import Overlay
from rt_engine.interfaces.clock import NS_PER_S


class SessionView(View):
    """This run, the next run, and calibration."""

    period_ms = 300
    title = "Session"

    def __init__(self, desk: Desk, overlay: Overlay) -> None:
        super().__init__(desk)
        self.run_card = Card("This run")
        self.start_card, self.calibrate_card = StartCard(desk, overlay), CalibrateCard(desk, overlay)
        self.facts = label("", "", wrap=True)
        self.note = QtWidgets.QLineEdit()
        self.note.setPlaceholderText("what happened at this moment")
        self.note.returnPressed.connect(self.mark)
        self.mark_button = button("Mark", self.mark, tip="into the journal, with this moment's time (M)")
        self.protocol = Choice(("", *shipped_protocols()), "protocol of this run; a name, or a file beside the run")
        self.protocol.setEditable(True)
        self.protocol.lineEdit().setPlaceholderText("another protocol for this run")
        self.protocol_button = button("Use it", self._use_protocol, tip="this run goes on with it; disarms first")
        self.pause_button = button("Pause", self.pause, tip="record on, decide nothing, no light (P)")
        self.end_button = HoldButton("Hold to end the run")
        self.end_button.held.connect(self._end)
        self._lay_out()

    def _lay_out(self) -> None:
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.note, 1)
        row.addWidget(self.mark_button)
        self.run_card.body.addWidget(self.facts)
        self.run_card.body.addLayout(row)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.protocol, 1)
        row.addWidget(self.protocol_button)
        self.run_card.body.addLayout(row)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.pause_button)
        row.addWidget(self.end_button, 1)
        self.run_card.body.addLayout(row)
        content = QtWidgets.QWidget()
        content.setObjectName("page")
        box = QtWidgets.QVBoxLayout(content)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        for card in (self.run_card, self.start_card, self.calibrate_card):
            box.addWidget(card)
        box.addStretch(1)
        outer = QtWidgets.QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(content))

    def refresh(self) -> None:
        """Facts of the run, and what can be done to it."""
        live, now_ns = self.desk.live, self.desk.now_ns()
        session = live.session
        heard = session is not None and now_ns - live.t_session_ns < 3 * NS_PER_S
        self.run_card.set_stale(None if heard or session is None else (now_ns - live.t_session_ns) / NS_PER_S)
        phase = session.state if session is not None and heard else ""
        self.mark_button.setEnabled(bool(phase))
        self.protocol_button.setEnabled(bool(phase) and bool(self.protocol.currentText().strip()))
        self.pause_button.setEnabled(phase in ("live", "paused"))
        self.pause_button.setText("Go on" if phase == "paused" else "Pause")
        self.end_button.setEnabled(bool(phase) and phase != "stopping")
        self.facts.setText(self._facts() if session is not None else "No rig is heard.")
        self.start_card.refresh(busy=bool(phase))
        self.calibrate_card.refresh()

    def _facts(self) -> str:
        session = self.desk.live.session
        if session is None:
            return ""
        elapsed_s = (session.t_sent_ns - session.t_monotonic_ns) / NS_PER_S
        version = session.versions.get("spikeloop", NONE)
        parts = (
            f"<b>{_plain(session.session)}</b>",
            f"rig {_plain(session.rig)}",
            f"protocol {_plain(session.protocol or 'none')}",
            f"subject {_plain(session.subject or NONE)}",
            f"{clock_time(elapsed_s)} since start",
            f"spikeloop {_plain(str(version))}" + (f" ({_plain(session.git_hash[:8])})" if session.git_hash else ""),
        )
        return "  ·  ".join(parts)

    def mark(self) -> None:
        """Mark this moment."""
        args = {"note": self.note.text().strip(), "operator": self.desk.settings["operator"]}
        self.desk.send("mark", args, lambda answer: self.note.clear() if answer.ok else None)

    def pause(self) -> None:
        """Pause, or go on."""
        session = self.desk.live.session
        self.desk.send("start" if session is not None and session.state == "paused" else "pause", {})

    def _use_protocol(self) -> None:
        self.desk.send("set_protocol", {"name": self.protocol.currentText().strip()})

    def _end(self) -> None:
        self.desk.send("stop", {})


def _plain(text: Any) -> str:
    return str(text)[:60].replace("&", "&amp;").replace("<", "&lt;")

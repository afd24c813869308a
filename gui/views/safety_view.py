"""Hand on the laser: armed or not, what must hold, arming, trips and their reset."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.command_link import Answer
from gui.desk import Desk
from gui.model.hardware_stop import hardware_stop, in_words
from gui.numbers import age, number
from gui.palette import Tone
from gui.views.preconditions import Preconditions
from gui.views.view import View, button, label, scrolling
from gui.widgets.card import Card
from gui.widgets.hold_button import HoldButton
from gui.widgets.pill import Pill
from gui.widgets.table import Table
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.messages import StateHeader

INTERLOCK = {
    "armed": ("⚡ ARMED", Tone.WARNING, True),
    "firing": ("⚡ FIRING", Tone.WARNING, True),
    "disarmed": ("○ DISARMED", Tone.NOTICE, False),
    "tripped": ("✖ TRIPPED", Tone.DANGER, True),
    "unknown": ("? UNKNOWN", Tone.STALE, False),
}
_SHORTEST_REASON = 3
_UNHEARD = "No rig is heard. Light is in the hands of its stimulation service, not of this window."


class SafetyView(View):
    """State, preconditions, arming, trips."""

    title = "Safety"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.pill = Pill(2.0)
        self.detail = label("", "muted", wrap=True)
        self.hardware = label("", "muted", wrap=True)
        self.preconditions = Preconditions()
        self.operator = QtWidgets.QLineEdit(desk.settings["operator"])
        self.operator.setPlaceholderText("who is responsible for the light")
        self.arm_button = HoldButton("Hold to arm")
        self.disarm_button = button("Disarm", self._disarm, tip="no light until armed again (D)")
        self.trips = Table(("when", "signal", "value", "limit", "what happened"), stretch=4)
        self.reason = QtWidgets.QLineEdit()
        self.reason.setPlaceholderText("what was wrong, and why light is safe again")
        self.reset_button = button("Reset", self._reset, name="primary")
        self.waiting = label("", "muted", wrap=True)
        self.state_card, self.arm_card, self.trip_card = Card("Interlock"), Card("Arming"), Card("Trips")
        self._lay_out()
        self.arm_button.held.connect(self._arm)
        self.reason.returnPressed.connect(self._reset)

    def _lay_out(self) -> None:
        head = QtWidgets.QHBoxLayout()
        head.addWidget(self.pill)
        head.addWidget(self.detail, 1)
        self.state_card.body.addLayout(head)
        self.state_card.body.addWidget(self.hardware)
        form = QtWidgets.QGridLayout()
        form.addWidget(label("Operator"), 0, 0)
        form.addWidget(self.operator, 0, 1, 1, 2)
        form.addWidget(self.arm_button, 1, 0, 1, 2)
        form.addWidget(self.disarm_button, 1, 2)
        form.setColumnStretch(1, 1)
        self.arm_card.body.addWidget(self.preconditions)
        self.arm_card.body.addLayout(form)
        self.arm_card.body.addWidget(self.waiting)
        reset = QtWidgets.QHBoxLayout()
        reset.addWidget(label("Reason"))
        reset.addWidget(self.reason, 1)
        reset.addWidget(self.reset_button)
        self.trip_card.body.addWidget(self.trips)
        self.trip_card.body.addLayout(reset)
        content = QtWidgets.QWidget()
        content.setObjectName("page")
        box = self._cards = QtWidgets.QVBoxLayout(content)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        for card in (self.state_card, self.arm_card, self.trip_card):
            box.addWidget(card)
        box.addStretch(1)
        outer = QtWidgets.QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(content))

    def refresh(self) -> None:
        """Show the state that was acknowledged last, by the rig itself and not by a recording."""
        state = self.desk.live.state
        age_s = (self.desk.now_ns() - state.t_heard_ns) / NS_PER_S if state.t_heard_ns else float("inf")
        stale = age_s if age_s > 2.5 else None
        for card in (self.state_card, self.arm_card, self.trip_card):
            card.set_stale(stale)
        word, tone, filled = INTERLOCK.get(state.interlock, INTERLOCK["unknown"])
        self.pill.say(word, Tone.STALE if stale is not None else tone, filled=filled and stale is None)
        header = state.header
        if header is None:
            self.detail.setText(_UNHEARD)
            self.hardware.setText("")
            self.arm_button.setEnabled(False)
            return
        self.detail.setText(_detail(header))
        line = hardware_stop(self.desk.live)
        self.hardware.setText(in_words(line))
        operator = self.operator.text().strip()
        self.preconditions.show_all(
            header.preconditions, header.remedies, operator, has_stop_line=line.line is not None
        )
        ready = self.preconditions.all_hold and bool(operator) and stale is None
        self.arm_button.setEnabled(ready and state.interlock == "disarmed")
        self.disarm_button.setEnabled(state.interlock in ("armed", "firing"))
        self._show_trips(header, tripped=state.interlock == "tripped")

    def _show_trips(self, header: StateHeader, *, tripped: bool) -> None:
        rows: list[tuple[str, ...]] = []
        for trip in list(reversed(header.trips))[:20]:
            t_ns = trip.get("t_ns")
            ago = age((header.t_sent_ns - t_ns) / NS_PER_S) + " ago" if isinstance(t_ns, int) else "–"
            rows.append((ago, _text(trip, "signal"), _text(trip, "value"), _text(trip, "limit"), _text(trip, "text")))
        palette = self.desk.theme.palette
        self.trips.fill(rows, [palette.danger if tripped and index == 0 else None for index in range(len(rows))])
        self.trips.fit_height(6)
        first = self.trip_card if tripped else self.arm_card
        if self._cards.indexOf(first) != 1:
            # What has to be done next stands on top: with large letters only one of the two can be seen.
            self._cards.insertWidget(1, first)
        self.reason.setEnabled(tripped)
        self.reset_button.setEnabled(tripped and len(self.reason.text().strip()) >= _SHORTEST_REASON)

    def _arm(self) -> None:
        operator = self.operator.text().strip()
        self.desk.settings["operator"] = operator
        self.waiting.setText("arming: waiting for the interlock …")
        self.desk.send("arm", {"operator": operator}, self._answered)

    def _disarm(self) -> None:
        self.waiting.setText("disarming: waiting for the interlock …")
        self.desk.send("disarm", {"reason": "by the window"}, self._answered)

    def _reset(self) -> None:
        reason = self.reason.text().strip()
        if len(reason) < _SHORTEST_REASON:
            self.desk.say("a reset needs a reason in words", Tone.DANGER)
            return
        self.waiting.setText("reset: waiting for the interlock …")
        self.desk.send("reset", {"reason": reason}, self._reset_answered)

    def _reset_answered(self, answer: Answer) -> None:
        if answer.ok:
            self.reason.clear()
        self._answered(answer)

    def _answered(self, answer: Answer) -> None:
        self.waiting.setText("" if answer.ok else answer.text())


def _detail(header: StateHeader) -> str:
    outputs = ", ".join(list(header.limits)[:8]) or "no output"
    return {
        "armed": f"Light may leave: {outputs}. STOP or Esc makes it dark at once.",
        "firing": f"A train is leaving: {outputs}. STOP or Esc recalls the rest of it.",
        "disarmed": f"No light can leave: {outputs}.",
        "tripped": "No light can leave until a person has found the cause and reset it.",
    }.get(header.interlock, header.interlock[:60])


def _text(trip: dict[str, Any], key: str) -> str:
    value = trip.get(key)
    return number(value) if isinstance(value, int | float) else str(value)[:200]

"""The experiment: phase and trials, what became of the triggers and why, effect, dose against limits."""

from __future__ import annotations

import math
from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.model.live import HIDDEN
from gui.numbers import NONE, fixed, number
from gui.views.dose_bars import DoseBars
from gui.views.view import View, label, scrolling
from gui.widgets.card import Card
from gui.widgets.table import Table
from gui.widgets.tile_grid import TileGrid
from rt_engine.interfaces.messages import StateHeader

ASSIGNED = ("delivered", "withheld", "sham")
"""Outcomes that would tell the arm."""
OUTCOMES = ("delivered", "withheld", "sham", "suppressed", "refused", "late", "failed", "dry_run")


class TrialsView(View):
    """Protocol, outcomes, decisions, dose."""

    period_ms = 250
    title = "Trials"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.protocol_card, self.outcome_card = Card("Protocol"), Card("Triggers")
        self.decision_card, self.dose_card = Card("Last decisions"), Card("Dose used")
        heads = {"phase": "phase", "trial": "trials", "arm": "arm of this trial", "eligible": "triggers"}
        self.heads = TileGrid(heads, 4)
        self.outcomes = TileGrid({name: name.replace("_", " ") for name in OUTCOMES}, 4)
        self.effect = label("", "", wrap=True)
        self.reasons = Table(("outcome", "reason", "times"), stretch=1)
        self.decisions = Table(("cells", "arm", "outcome", "power", "to command", "reason"), stretch=5)
        self.dose = DoseBars()
        self._lay_out()

    def _lay_out(self) -> None:
        self.protocol_card.body.addWidget(self.heads)
        self.protocol_card.body.addWidget(self.effect)
        self.outcome_card.body.addWidget(self.outcomes)
        self.outcome_card.body.addWidget(self.reasons)
        self.decision_card.body.addWidget(self.decisions)
        self.dose_card.body.addWidget(self.dose)
        content = QtWidgets.QWidget()
        content.setObjectName("page")
        box = QtWidgets.QVBoxLayout(content)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        for card in (self.protocol_card, self.outcome_card, self.dose_card, self.decision_card):
            box.addWidget(card)
        box.addStretch(1)
        outer = QtWidgets.QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(content))

    def refresh(self) -> None:
        """Show state and counts."""
        model = self.desk.model
        stale = self.desk.age_s(model.state.t_heard_ns, 2.5)
        for card in (self.protocol_card, self.outcome_card, self.dose_card, self.decision_card):
            card.set_stale(stale)
        header = model.state.header
        if header is not None:
            self._show_protocol(header)
            self.dose.show_dose(header)
        self._show_outcomes(header)
        self._show_decisions()

    def _show_protocol(self, header: StateHeader) -> None:
        self.protocol_card.title.setText(
            f"Protocol: {header.protocol[:60]}" if header.protocol else "No protocol, no light"
        )
        self.heads["phase"].say((header.protocol_phase or NONE)[:24])
        self.heads["trial"].say(number(header.trial))
        self.heads["arm"].say((header.arm or NONE)[:24])
        counts = {name: n for name, n in header.counts.items() if isinstance(n, int)}
        self.heads["eligible"].say(number(counts.get("eligible", sum(counts.get(name, 0) for name in OUTCOMES))))
        self.effect.setText(effect_text(header))

    def _show_outcomes(self, header: StateHeader | None) -> None:
        counts = dict(header.counts) if header is not None else dict(self.desk.model.decisions.outcomes)
        blinded = self.desk.model.is_blinded
        for name, tile in self.outcomes.tiles.items():
            tile.say(HIDDEN if blinded and name in ASSIGNED else number(counts.get(name, 0)))
        reasons = self.desk.model.decisions.reasons.most_common(5)
        self.reasons.setVisible(bool(reasons))
        self.reasons.fill([(outcome, reason, f"{n:,}") for (outcome, reason), n in reasons])
        self.reasons.fit_height(5)

    def _show_decisions(self) -> None:
        rows: list[tuple[str, ...]] = []
        colours: list[str | None] = []
        palette = self.desk.theme.palette
        hidden = self.desk.model.is_blinded
        for one in list(self.desk.model.decisions.recent)[-12:][::-1]:
            took = (one.t_command_ns - one.t_scan_ns) / 1e6 if one.t_command_ns is not None else math.nan
            power = f"{max(one.power_uw) / 1000:.1f} mW" if one.power_uw else NONE
            cells = ", ".join(str(roi) for roi in one.roi_ids[:4])
            outcome = one.outcome.value if one.outcome else NONE
            if hidden and outcome in ASSIGNED:
                outcome = power = HIDDEN
                took = math.nan
            arm = HIDDEN if hidden else one.arm[:20]
            rows.append((cells, arm, outcome, power, fixed(took, 1, "ms"), (one.reason or "")[:120]))
            colours.append({"refused": palette.warning, "failed": palette.danger, "late": palette.warning}.get(outcome))
        self.decisions.fill(rows, colours)
        self.decisions.fit_height(12)


def effect_text(header: StateHeader) -> str:
    """The running effect in a sentence; nothing of it while it is not told."""
    effect = header.effect
    if effect is None:
        hidden = "Effect: hidden while the experiment is blinded."
        return hidden if header.arm == HIDDEN else ""
    if not effect:
        return ""

    def value(name: str) -> Any:
        return effect.get(name, math.nan)

    n = f"{number(value('n_treated'))} with and {number(value('n_control'))} without light"
    if not math.isfinite(value("estimate")):
        return f"Effect: nothing to compare yet ({n})."
    between = f", interval {value('low'):.3g} to {value('high'):.3g}" if math.isfinite(value("low")) else ""
    return f"Effect of light so far: <b>{value('estimate'):+.3g}</b>{between} ({n})."

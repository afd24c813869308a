"""Everything that was said: by services, by the window, and as marks."""

from __future__ import annotations

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.numbers import age
from gui.views.view import View, button
from gui.widgets.card import Card
from gui.widgets.table import Table
from rt_engine.interfaces.clock import NS_PER_S

_SHOWN = 200


class LogView(View):
    """Newest first."""

    period_ms = 500
    title = "Log"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.card = Card("Log")
        self.table = Table(("ago", "level", "from", "what"), stretch=3)
        self.only_bad = button("Warnings only", self._again, checkable=True)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.only_bad)
        row.addStretch(1)
        self.card.body.addLayout(row)
        self.card.body.addWidget(self.table)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(4, 6, 8, 6)
        box.addWidget(self.card)

    def refresh(self) -> None:
        """Show the last lines."""
        model, now_ns, palette = self.desk.model, self.desk.now_ns(), self.desk.theme.palette
        lines = list(model.logs)[-_SHOWN:][::-1]
        if self.only_bad.isChecked():
            lines = [one for one in lines if one.level in ("warning", "error", "critical")]
        colours = {
            "warning": palette.warning,
            "error": palette.danger,
            "critical": palette.danger,
            "mark": palette.accent,
        }
        rows: list[tuple[str, ...]] = [
            (age((now_ns - one.t_heard_ns) / NS_PER_S), one.level, one.source, one.text) for one in lines
        ]
        self.table.fill(rows, [colours.get(one.level) for one in lines])
        self.card.note.setText(f"{model.n_logs:,} lines")

    def _again(self) -> None:
        self.due_ns = 0

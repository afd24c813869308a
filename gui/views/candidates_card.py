"""Cells that the rig has found while it runs: take them, or not."""

from __future__ import annotations

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.numbers import fixed, number, percent
from gui.views.view import button
from gui.widgets.card import Card
from gui.widgets.table import Table
from rt_engine.interfaces.messages import CandidatesHeader

_MOST_ROWS = 50


class CandidatesCard(Card):
    """One line for each candidate; hidden as long as there are none."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("New cells, offered")
        self._desk = desk
        self.table = Table(("candidate", "state", "SNR", "detection", "pixels", "quality"), stretch=1)
        self.take = button("Take", lambda: self._send("add"), name="primary", tip="read it from the next frame on")
        self.reject = button("Reject", lambda: self._send("reject"))
        row = QtWidgets.QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.take)
        row.addWidget(self.reject)
        self.body.addWidget(self.table)
        self.body.addLayout(row)
        self._ids: list[int] = []
        self.hide()

    def refresh(self) -> None:
        """Show what is offered in the plane shown."""
        header = self._desk.model.candidates.get(self._desk.plane)
        live = self._desk.review is None
        self.setVisible(live and header is not None and bool(header.candidates))
        if header is not None:
            self._fill(header)

    def _fill(self, header: CandidatesHeader) -> None:
        offered = header.candidates[:_MOST_ROWS]
        self._ids = [one.candidate_id for one in offered]
        self.table.fill(
            [
                (
                    number(one.candidate_id),
                    "ready" if one.ready else "watched",
                    fixed(one.snr, 1),
                    percent(one.expected_detection),
                    number(one.n_pixels),
                    fixed(one.quality, 2),
                )
                for one in offered
            ]
        )
        self.table.fit_height(4)
        self.note.setText(f"{number(header.spare)} rows are free")

    def _send(self, action: str) -> None:
        rows = sorted({index.row() for index in self.table.selectionModel().selectedRows()}) or [0]
        for row in rows:
            if row < len(self._ids):
                args = {"plane": self._desk.plane, "action": action, "candidate_id": self._ids[row]}
                self._desk.send("rois_edit", args)

"""The cells: their figures in a table, edits with undo, and the threshold with its price before it is applied."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.command_link import Answer
from gui.desk import Desk
from gui.edits import EditHistory
from gui.numbers import fixed, percent
from gui.palette import Tone
from gui.polygon import pixels_inside
from gui.views.candidates_card import CandidatesCard
from gui.views.field_view import FieldView
from gui.views.threshold_card import ThresholdCard
from gui.views.view import View, button, label, scrolling
from gui.widgets.card import Card
from gui.widgets.table import Table

_COLUMNS = ("roi_id", "SNR", "τ (s)", "detection", "threshold", "quality", "tags")
_MOST_ROWS = 5000


class CellsView(View):
    """Edits on top, table in the middle, threshold below."""

    period_ms = 500
    title = "Cells"

    def __init__(self, desk: Desk, field: FieldView) -> None:
        super().__init__(desk)
        self._field = field
        self.history = EditHistory()
        self.edit_card, self.table_card = Card("Edit cells"), Card("Cells")
        self.threshold, self.candidates = ThresholdCard(desk), CandidatesCard(desk)
        self.draw = button("Add: draw", self._draw, checkable=True, tip="click corners in the field, then press again")
        self.remove = button("Remove", self._remove, tip="the selected cells are read no longer")
        self.merge = button("Merge", self._merge, tip="the selected cells become one")
        self.tag = QtWidgets.QLineEdit()
        self.tag.setPlaceholderText("tag")
        self.tag_button = button("Tag", self._tag, tip="put on the selected cells, or take off")
        self.undo_button = button("Undo", self.undo, tip="the opposite of the last edit (Ctrl+Z)")
        self.said = label("", "muted", wrap=True)
        self.table = Table(_COLUMNS, stretch=6)
        self.table.setSortingEnabled(False)
        self.table.itemSelectionChanged.connect(self._row_chosen)
        self._shown: Any = None
        self._filling = False
        self._lay_out()

    def _lay_out(self) -> None:
        row = QtWidgets.QHBoxLayout()
        for widget in (self.draw, self.remove, self.merge, self.undo_button):
            row.addWidget(widget)
        row.addStretch(1)
        self.edit_card.body.addLayout(row)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.tag, 1)
        row.addWidget(self.tag_button)
        self.edit_card.body.addLayout(row)
        self.edit_card.body.addWidget(self.said)
        self.table_card.body.addWidget(self.table)
        content = QtWidgets.QWidget()
        content.setObjectName("page")
        box = QtWidgets.QVBoxLayout(content)
        box.setContentsMargins(4, 6, 8, 6)
        box.setSpacing(6)
        box.addWidget(self.edit_card)
        box.addWidget(self.candidates)
        box.addWidget(self.table_card, 1)
        box.addWidget(self.threshold)
        outer = QtWidgets.QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolling(content))

    def apply_theme(self) -> None:
        """Room for some rows, whatever the letters."""
        super().apply_theme()
        self.table_card.setMinimumHeight(self.desk.theme.px(16))
        self._shown = None

    def refresh(self) -> None:
        """Show the newest figures, and what can be done."""
        desk, cells = self.desk, self.desk.model.cells.get(self.desk.plane)
        live = desk.review is None
        n = len(desk.selection)
        traces = desk.model.traces.get(desk.plane)
        self.table_card.set_stale(desk.age_s(traces.t_heard_ns if traces else 0))
        self.remove.setEnabled(live and n > 0)
        self.merge.setEnabled(live and n > 1)
        self.tag_button.setEnabled(live and n > 0)
        self.draw.setEnabled(live and cells is not None)
        self.undo_button.setEnabled(live and self.history.can_undo)
        self.threshold.refresh()
        self.candidates.refresh()
        if self.draw.isChecked():
            self.said.setText(
                f"Click the corners in the field ({len(self._field.draft)} so far), then press Add again."
            )
        state = (id(cells), cells.n_updates if cells is not None else -1, tuple(desk.selection))
        if state == self._shown or cells is None:
            return
        self._shown = state
        self._fill(cells)

    def _fill(self, cells: Any) -> None:
        figures = cells.figures
        rows: list[tuple[str, ...]] = [
            (
                str(int(cells.roi_id[row])),
                fixed(float(figures["snr"][row]), 1),
                fixed(float(figures["tau_s"][row]), 2),
                percent(float(figures["expected_detection"][row])),
                fixed(float(figures["threshold"][row]), 2),
                fixed(float(figures["quality"][row]), 2),
                ", ".join(cells.tags[row])[:60],
            )
            for row in list(cells.row_of.values())[:_MOST_ROWS]
        ]
        self._filling = True
        self.table.fill(rows)
        self.table.clearSelection()
        model = self.table.selectionModel()
        flag = QtCore.QItemSelectionModel.SelectionFlag
        order = {roi_id: row for row, roi_id in enumerate(cells.read[:_MOST_ROWS])}
        for roi_id in self.desk.selection:
            row = order.get(roi_id)
            if row is not None:
                model.select(self.table.model().index(row, 0), flag.Select | flag.Rows)
        self._filling = False
        chosen = ", ".join(str(one) for one in self.desk.selection[:8])
        self.table_card.note.setText(f"{len(cells.row_of)} cells; selected: {chosen[:24] or 'none'}")

    def _row_chosen(self) -> None:
        cells = self.desk.model.cells.get(self.desk.plane)
        if self._filling or cells is None:
            return
        rows = sorted({index.row() for index in self.table.selectionModel().selectedRows()})
        read = cells.read
        self.desk.select([read[row] for row in rows if row < len(read)])

    def _draw(self) -> None:
        if self.draw.isChecked():
            self._field.draft = []
            self._field.takes_clicks_for = self._corner
            return
        self._field.takes_clicks_for = None
        corners, self._field.draft = self._field.draft, []
        cells = self.desk.model.cells.get(self.desk.plane)
        pixels = pixels_inside(corners, cells.labels.shape) if cells is not None else []
        if not pixels:
            self.said.setText("Nothing was drawn: a cell takes three corners or more.")
            return
        self._edit({"action": "add", "pixels": pixels}, [])

    def _corner(self, y_px: float, x_px: float) -> None:
        self._field.draft.append((y_px, x_px))

    def _remove(self) -> None:
        self._edit({"action": "remove", "roi_ids": list(self.desk.selection)}, list(self.desk.selection))

    def _merge(self) -> None:
        self._edit({"action": "merge", "roi_ids": list(self.desk.selection)}, list(self.desk.selection))

    def _tag(self) -> None:
        tag = self.tag.text().strip()
        if not tag:
            self.desk.say("a tag needs a name", Tone.DANGER)
            return
        self._edit({"action": "tag", "tag": tag, "roi_ids": list(self.desk.selection)}, [])

    def undo(self) -> None:
        """Send the opposite of the last edit."""
        for args in self.history.take_undo():
            self.desk.send("rois_edit", {"plane": self.desk.plane, **args}, self._say)

    def _edit(self, args: dict[str, Any], footprints_of: list[int]) -> None:
        cells = self.desk.model.cells.get(self.desk.plane)
        footprints = {one: pixels_of(cells, one) for one in footprints_of} if cells is not None else {}

        def answered(answer: Answer) -> None:
            if answer.ok:
                self.history.done(args, answer.result, footprints)
            self._say(answer)

        self.said.setText(f"{args['action']}: waiting for the rig … (an edit disarms)")
        self.desk.send("rois_edit", {"plane": self.desk.plane, **args}, answered)

    def _say(self, answer: Answer) -> None:
        state = answer.result.get("state")
        self.said.setText(f"{answer.cmd}: {state}" if answer.ok and state else answer.text())


def pixels_of(cells: Any, roi_id: int) -> list[int]:
    """Footprint of a cell as flat indices."""
    row = cells.row_of.get(roi_id)
    if row is None:
        return []
    return [int(one) for one in (cells.labels.ravel() == row + 1).nonzero()[0]]

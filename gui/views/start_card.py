"""Starting a run: rig, calibration, protocol, subject."""

from __future__ import annotations

from pathlib import Path

from pyqtgraph.Qt import QtWidgets

from gui.desk import Desk
from gui.job import Job
from gui.palette import Tone
from gui.views.view import button, label
from gui.widgets.card import Card
from gui.widgets.choice import Choice
from gui.widgets.file_sheet import choose_path
from gui.widgets.overlay import Overlay
from rt_engine.interfaces.shipped import rig_folder

_RIGS_OWN = "the rig's own"


def shipped_protocols() -> list[str]:
    """Names of the protocols that come with the program."""
    library = Path(__file__).resolve().parents[2] / "protocols" / "library"
    return sorted(one.stem for one in library.glob("*.yaml"))


class StartCard(Card):
    """The command line of `spikeloop run`, as a form."""

    def __init__(self, desk: Desk, overlay: Overlay) -> None:
        super().__init__("Start a run")
        self._desk, self._overlay = desk, overlay
        self.job: Job | None = None
        self.rig = Choice(tuple(sorted(one.stem for one in rig_folder().glob("*.yaml"))), "rig")
        self.rig.setEditable(True)
        self.rig.setCurrentText(str(desk.settings["rig"]))
        self.protocol = Choice((_RIGS_OWN, *shipped_protocols()), "protocol")
        self.protocol.setEditable(True)
        for choice in (self.rig, self.protocol):
            choice.lineEdit().home(False)
        self.calibration = QtWidgets.QLineEdit()
        self.calibration.setPlaceholderText("none: a baseline is recorded first")
        self.subject = QtWidgets.QLineEdit()
        self.subject.setPlaceholderText("whose dose is counted")
        self.minutes = QtWidgets.QDoubleSpinBox()
        self.minutes.setRange(0, 10_000)
        self.minutes.setDecimals(1)
        self.minutes.setSpecialValueText("until ended")
        self.minutes.setSuffix(" min")
        self.baseline = QtWidgets.QSpinBox()
        self.baseline.setRange(5, 3600)
        self.baseline.setValue(120)
        self.baseline.setSuffix(" s baseline")
        self.dry_run = QtWidgets.QCheckBox("dry run: fire nothing")
        self.start = button("Start", self._start, name="primary")
        self.said = label("", "muted", wrap=True)
        self._lay_out()

    def _lay_out(self) -> None:
        grid = QtWidgets.QGridLayout()
        browse = button("Browse", self._browse)
        rows = (("Rig", self.rig), ("Protocol", self.protocol), ("Subject", self.subject))
        for row, (name, widget) in enumerate(rows):
            grid.addWidget(label(name), row, 0)
            grid.addWidget(widget, row, 1)
        grid.addWidget(label("Calibration"), 0, 2)
        grid.addWidget(self.calibration, 0, 3)
        grid.addWidget(browse, 0, 4)
        grid.addWidget(label("Duration"), 1, 2)
        grid.addWidget(self.minutes, 1, 3, 1, 2)
        grid.addWidget(label("Baseline"), 2, 2)
        grid.addWidget(self.baseline, 2, 3, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        self.body.addLayout(grid)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.dry_run)
        row.addStretch(1)
        row.addWidget(self.start)
        self.body.addLayout(row)
        self.body.addWidget(self.said)

    def refresh(self, *, busy: bool) -> None:
        """What the started run says, and whether another can be started."""
        here = self._desk.endpoints.is_local
        running = self.job is not None and self.job.exit_code is None
        self.start.setEnabled(here and not busy and not running)
        if not here:
            self.said.setText("A run is started on the rig's own computer.")
        elif self.job is not None:
            code = self.job.exit_code
            lines = self.job.lines()
            last = lines[-1].strip()[:300] if lines else ""
            self.said.setText(last if code in (None, 0) else f"ended with {code}: {last}")

    def arguments(self) -> list[str]:
        """Of `spikeloop run`."""
        line = ["run", self.rig.currentText().strip(), "--no-gui", "--baseline", str(self.baseline.value())]
        protocol = self.protocol.currentText().strip()
        for option, value in (
            ("--protocol", "" if protocol == _RIGS_OWN else protocol),
            ("--calibration", self.calibration.text().strip()),
            ("--subject", self.subject.text().strip()),
            ("--duration", f"{60 * self.minutes.value():g}" if self.minutes.value() else ""),
        ):
            line += [option, value] if value else []
        return line + (["--dry-run"] if self.dry_run.isChecked() else [])

    def _start(self) -> None:
        self._desk.settings["rig"] = self.rig.currentText().strip()
        self.job = Job(*self.arguments())
        self._desk.say("the run is starting", Tone.NOTICE)

    def _browse(self) -> None:
        choose_path(
            self._overlay, "Calibration", self.calibration.text(), self.calibration.setText, names="Calibration (*.h5)"
        )

"""Calibrating a recording: progress while it works, its picture when it is done."""

from __future__ import annotations

from pathlib import Path

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.desk import Desk
from gui.job import Job
from gui.palette import Tone
from gui.views.view import button, label
from gui.widgets.card import Card
from gui.widgets.file_sheet import choose_path
from gui.widgets.overlay import Overlay


class CalibrateCard(Card):
    """The command line of `spikeloop calibrate`, as a form."""

    def __init__(self, desk: Desk, overlay: Overlay) -> None:
        super().__init__("Calibrate")
        self._desk, self._overlay = desk, overlay
        self.job: Job | None = None
        self.source = QtWidgets.QLineEdit(str(desk.settings["folder"]))
        self.source.setPlaceholderText("session folder, or movie")
        self.target = QtWidgets.QLineEdit("calibration.h5")
        self.indicator = QtWidgets.QLineEdit()
        self.indicator.setPlaceholderText("indicator: as recorded")
        self.go = button("Calibrate", self._start, name="primary")
        self.look = button("Look at its picture", self.show_picture)
        self.look.setEnabled(False)
        self.progress = QtWidgets.QProgressBar()
        self.progress.setRange(0, 100)
        self.progress.setTextVisible(False)
        self.said = label("", "muted", wrap=True)
        self._picture: Path | None = None
        self._target = Path("calibration.h5")
        self._lay_out()

    def _lay_out(self) -> None:
        grid = QtWidgets.QGridLayout()
        grid.addWidget(label("Recording"), 0, 0)
        grid.addWidget(self.source, 0, 1, 1, 2)
        grid.addWidget(button("Session", lambda: self._browse(folder=True)), 0, 3)
        grid.addWidget(button("Movie", lambda: self._browse(folder=False)), 0, 4)
        grid.addWidget(label("Write to"), 1, 0)
        grid.addWidget(self.target, 1, 1)
        grid.addWidget(self.indicator, 1, 2)
        grid.addWidget(self.look, 1, 3, 1, 2)
        grid.setColumnStretch(1, 1)
        self.body.addLayout(grid)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.progress, 1)
        row.addWidget(self.go)
        self.body.addLayout(row)
        self.body.addWidget(self.said)

    def refresh(self) -> None:
        """How far it is."""
        running = self.job is not None and self.job.exit_code is None
        self.go.setEnabled(not running)
        if self.job is None:
            return
        told, lines = self.job.progress(), self.job.lines()
        if running and told is not None:
            self.progress.setValue(round(100 * told[1]))
            self.said.setText(f"{told[0]}: {100 * told[1]:.0f} %")
        elif not running and lines:
            good = self.job.exit_code == 0
            self.progress.setValue(100 if good else 0)
            self.said.setText(next((one for one in lines if "cells from" in one), lines[-1])[:300])
            picture = self._target.with_suffix(".png")
            self._picture = picture if good and picture.is_file() else None
        self.look.setEnabled(self._picture is not None)

    def show_picture(self) -> None:
        """The picture that calibration has drawn, as large as there is room."""
        if self._picture is None:
            return
        picture = QtGui.QPixmap(str(self._picture))
        shown = QtWidgets.QLabel()
        room = self._overlay.parentWidget().size() - QtCore.QSize(90, 120)
        shown.setPixmap(
            picture.scaled(
                room, QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
            )
        )
        self._overlay.show_sheet(f"Calibration {self._picture.stem}", shown, width_px=shown.pixmap().width() + 40)

    def _start(self) -> None:
        source = self.source.text().strip()
        if not source:
            self._desk.say("choose a session or a movie to calibrate from", Tone.DANGER)
            return
        self._target = Path(self.target.text().strip() or "calibration.h5")
        line = ["calibrate", source, "-o", str(self._target)]
        if indicator := self.indicator.text().strip():
            line += ["--indicator", indicator]
        self._desk.settings["folder"] = source
        self._picture = None
        self.progress.setValue(0)
        self.job = Job(*line)
        self.said.setText("starting …")

    def _browse(self, *, folder: bool) -> None:
        title = "Session" if folder else "Movie"
        choose_path(self._overlay, title, self.source.text(), self.source.setText, folder=folder)

"""The window as a person starts it, in a process of its own: says once it shows a live rig, then presses STOP.

The arguments are those of `spikeloop gui`. Exit code 0: it has shown all of it, and the rig has acknowledged the stop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtCore, QtWidgets

import gui.launch
from rt_engine.cli import main

_LOOK_MS = 200


class Onlooker:
    """Looks at a window until each of its wishes has come true, in order."""

    def __init__(self, window: Any) -> None:
        live = window.desk.live
        self._window = window
        self._wishes: list[tuple[str, Callable[[], bool]]] = [
            ("picture", lambda: bool(live.frames.pictures)),
            ("cells", lambda: 0 in live.cells and live.cells[0].n_rois > 0),
            ("live", lambda: window.bar.phase.word == "LIVE" and self._press_stop()),
            ("tripped", lambda: "TRIPPED" in window.bar.interlock.word),
        ]
        self._timer = QtCore.QTimer(window)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_MS)

    def _press_stop(self) -> bool:
        self._window.bar.stop.click()
        return True

    def _look(self) -> None:
        while self._wishes and self._wishes[0][1]():
            sys.stdout.write(f"{self._wishes.pop(0)[0]}\n")
            sys.stdout.flush()
        if not self._wishes:
            QtWidgets.QApplication.quit()


def _build(*arguments: Any, **options: Any) -> gui.launch.Parts:
    parts = build(*arguments, **options)
    onlookers.append(Onlooker(parts.window))
    return parts


if __name__ == "__main__":
    build, onlookers = gui.launch.build, list[Onlooker]()
    gui.launch.build = _build
    sys.exit(main(["gui", *sys.argv[1:]]))

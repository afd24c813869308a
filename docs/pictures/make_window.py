"""Draw the pictures of the window: every page, dark, light and large, of the virtual rig while it runs.

    python docs/pictures/make_window.py docs/pictures/window

Takes about four minutes. Needs the extra `gui`, and no screen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.endpoints import Endpoints
from gui.launch import build
from gui.settings import Settings
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig

LOOKS = (("dark", False), ("light", False), ("dark", True))
BASELINE_S, LIVE_S, WAIT_S = 60, 150, 35
PATIENCE_S = 400


def pause(seconds: float) -> None:
    """Let the window work."""
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def wait_for(what: str, done: Any) -> None:
    """Let the window work until something is so."""
    for _ in range(5 * PATIENCE_S):
        if done():
            return
        pause(0.2)
    raise SystemExit(f"waited in vain for {what}")


def save(window: Any, path: Path) -> None:
    """Grab the window, in 256 colours: half the bytes, and nobody sees it."""
    image = window.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_Indexed8)
    image.save(str(path), "PNG", 0)
    print(path)


def every_look(window: Any, folder: Path, index: int, name: str) -> None:
    """One page, in every look."""
    for theme, large in LOOKS:
        window.set_theme(theme, large)
        window.show_page(index)
        pause(1.2)
        save(window, folder / f"{name}-{'large' if large else theme}.png")
    window.set_theme("dark", False)


def live_pages(window: Any, folder: Path) -> None:
    """All pages of a live run, and the sheet of keys."""
    for index, page in enumerate(window.pages):
        if page is not window.review:
            every_look(window, folder, index, page.title.lower())
    window.show_page(0)
    window.show_keys()
    pause(0.5)
    save(window, folder / "keys-dark.png")
    window.overlay.take_away()


def tripped(window: Any, folder: Path) -> None:
    """The page of safety after a STOP."""
    window.stop()
    wait_for("the trip", lambda: window.desk.live.state.interlock == "tripped")
    window.safety.reason.setText("fibre reseated, path checked with the card")
    every_look(window, folder, window.pages.index(window.safety), "tripped")


def review(window: Any, folder: Path, session: Path) -> None:
    """The page that looks at a recorded session."""
    window.review.open(session)
    wait_for("the session to be read", lambda: window.review.player is not None)
    every_look(window, folder, window.pages.index(window.review), "review")


def main(folder: Path) -> None:
    """Run the rig, and draw."""
    folder.mkdir(parents=True, exist_ok=True)
    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    rig = load_rig(find_rig("virtual_rig"))
    with tempfile.TemporaryDirectory() as scratch:
        session = Path(scratch) / "20260101T120000Z-virtual_rig"
        line = ["run", "virtual_rig", "--no-gui", "--baseline", str(BASELINE_S), "--duration", str(LIVE_S)]
        process = subprocess.Popen([sys.executable, "-m", "rt_engine", *line, "--output", str(session)])
        parts = build(Endpoints("127.0.0.1", rig.ports), Settings(None))
        window = parts.window
        window.field.bar.average_box.setCurrentIndex(3)
        window.resize(1280, 720)
        window.show()
        try:
            wait_for("the run to go live", lambda: window.desk.live.mode.get(0) == "live")
            pause(WAIT_S)
            window.safety.operator.setText("A. Operator")
            live_pages(window, folder)
            tripped(window, folder)
            process.wait()
            review(window, folder, session)
        finally:
            parts.close()
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/window"))

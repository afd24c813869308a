"""Draw the pictures of the window: every page, dark, light and large, of a session on the virtual rig.

    python docs/pictures/make_window.py docs/pictures/window
    python docs/pictures/make_window.py docs/pictures/window sessions/20260101T120000-virtual_rig
    python docs/pictures/make_window.py /tmp/large sessions/20260101T120000-virtual_rig --size 3840x2160

Without a session the virtual rig is run first (about four minutes). The window is fed with the messages of that
session at its own moment, as it was fed while the session ran. Needs the extra `gui`, and no screen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from PIL import Image
from pyqtgraph.Qt import QtCore, QtWidgets

from gui.endpoints import Endpoints
from gui.launch import build
from gui.model.decisions import RigState
from gui.review.player import Player
from gui.review.recorded import read_session
from gui.settings import Settings
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.messages import StateHeader
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig

LOOKS = (("dark", False), ("light", False), ("dark", True))
BASELINE_S, LIVE_S, STOP_BEFORE_END_S = 60, 100, 15
STEP_NS, N_STEPS = 40_000_000, 12


def record(folder: Path) -> None:
    """A run of the virtual rig that is stopped by a trip shortly before its end."""
    line = [sys.executable, "-m", "rt_engine"]
    limits = ["--baseline", str(BASELINE_S), "--duration", str(LIVE_S)]
    run = subprocess.Popen([*line, "run", "virtual_rig", "--no-gui", *limits, "--output", str(folder)])
    wanted, tripped = 30 * (LIVE_S - STOP_BEFORE_END_S), False
    while run.poll() is None:
        time.sleep(0.5)
        asked = subprocess.run([*line, "ctl", "status"], capture_output=True, text=True, check=False)
        status = json.loads(asked.stdout) if asked.returncode == 0 else {}
        if not tripped and status.get("phase") == "live" and status["frames"] > wanted:
            tripped = True
            subprocess.run([*line, "ctl", "trip", "STOP in the window"], capture_output=True, check=False)


class Stage:
    """A window that is shown moments of a session as if they were now."""

    def __init__(self, session: Path, folder: Path, size_px: tuple[int, int]) -> None:
        rig = load_rig(find_rig("virtual_rig"))
        self.parts, self.folder = build(Endpoints("127.0.0.1", rig.ports), Settings(None)), folder
        self.window = self.parts.window
        self.window.field.bar.average_box.setCurrentIndex(3)
        self.window.safety.operator.setText("A. Operator")
        self.window.resize(*size_px)
        self.window.show()
        self.player = Player(read_session(session, lambda fraction: None, lambda: False))

    def go_to(self, t_ns: int) -> None:
        """Show a moment."""
        self.player.go_to(t_ns)
        desk = self.window.desk
        desk.live, desk.clock = self.player.model, self.player.clock

    def draw(self, page: Any, name: str, looks: tuple[tuple[str, bool], ...] = LOOKS) -> None:
        """One page in every look, while time goes on a little."""
        for theme, large in looks:
            self.window.set_theme(theme, large)
            self.window.show_page(self.window.pages.index(page))
            for _ in range(N_STEPS):
                self.go_to(self.player.t_ns + STEP_NS)
                pause(0.05)
            self.save(f"{name}-{'large' if large else theme}")
        self.window.set_theme("dark", False)

    def save(self, name: str) -> None:
        """Grab the window, in 256 colours: half the bytes, and nobody sees it."""
        path = self.folder / f"{name}.png"
        self.window.grab().save(str(path))
        with Image.open(path) as image:
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path)


def pause(seconds: float) -> None:
    """Let the window work."""
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def first_moment(player: Player, interlock: str) -> int | None:
    """Log time of the first state of the interlock that is as asked."""
    found = (
        one.t_log_ns
        for one in player.recorded.landmarks["state"]
        if isinstance(one.header, StateHeader) and one.header.interlock == interlock
    )
    return next(found, None)


def draw_all(stage: Stage, session: Path) -> None:
    """Every page."""
    window, player = stage.window, stage.player
    armed_ns = first_moment(player, "armed") or player.recorded.start_ns
    tripped_ns = first_moment(player, "tripped")
    stage.go_to((armed_ns + (tripped_ns or player.recorded.end_ns)) // 2 + 10 * NS_PER_S)
    for page in window.pages:
        if page is not window.review:
            stage.draw(page, page.title.lower())
    window.show_page(0)
    window.show_keys()
    stage.go_to(player.t_ns + STEP_NS)
    pause(0.5)
    stage.save("keys-dark")
    window.overlay.take_away()
    if tripped_ns is not None:
        stage.go_to(tripped_ns + 4 * NS_PER_S)
        window.safety.reason.setText("fibre reseated, path checked with the card")
        stage.draw(window.safety, "tripped")
    window.desk.live.state = RigState()
    window.review.open(session)
    while window.review.player is None:
        pause(0.2)
    stage.draw(window.review, "review")


def main(folder: Path, session: Path | None, size_px: tuple[int, int]) -> None:
    """Run the rig, if need be, and draw."""
    folder.mkdir(parents=True, exist_ok=True)
    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    with tempfile.TemporaryDirectory() as scratch:
        recorded = session or Path(scratch) / "20260101T120000Z-virtual_rig"
        if session is None:
            record(recorded)
        stage = Stage(recorded, folder, size_px)
        draw_all(stage, recorded)
        stage.parts.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("session", type=Path, nargs="?")
    parser.add_argument("--size", default="1280x720", help="of the window, pixels")
    arguments = parser.parse_args()
    width, height = (int(one) for one in arguments.size.split("x"))
    main(arguments.folder, arguments.session, (width, height))

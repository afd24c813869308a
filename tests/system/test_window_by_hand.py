"""A whole session by mouse and keyboard, in a real window on a screen of its own (Xvfb, driven by xdotool).

Where to click is read off a second window of the same size that is never shown on that screen. What was reached is
asked of the rig and its journal, never of the window.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from system_rig import command, small_rig, spikeloop, write_rig

from gui.endpoints import Endpoints
from gui.launch import Parts, build
from gui.settings import Settings
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.recording.reader import open_session

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool"),
]
DEADLINE_S = 300.0
SIZE = "1280x720x24"


class Hand:
    """Mouse and keyboard of the screen `display`."""

    def __init__(self, display: str, reference: Parts, qtbot: Any) -> None:
        self._environment = os.environ | {"DISPLAY": display}
        self.reference, self._qtbot = reference, qtbot

    def do(self, *arguments: str) -> str:
        """One call of xdotool."""
        done = subprocess.run(
            ["xdotool", *arguments], env=self._environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def page(self, key: str) -> None:
        """Turn to a page, here and there."""
        self.do("key", key)
        self.reference.window.show_page(int(key) - 1)
        self._qtbot.wait(1200)

    def move_to(self, widget: Any) -> None:
        """Put the mouse on the middle of a widget."""
        at = widget.mapTo(self.reference.window, widget.rect().center())
        self.do("mousemove", "--sync", str(at.x()), str(at.y()))

    def click(self, widget: Any) -> None:
        """Click on a widget."""
        self.move_to(widget)
        self.do("click", "1")
        self._qtbot.wait(400)

    def hold(self, widget: Any) -> None:
        """Press a button for long."""
        self.move_to(widget)
        self.do("mousedown", "1")
        self._qtbot.wait(2200)
        self.do("mouseup", "1")
        self._qtbot.wait(400)

    def write(self, widget: Any, text: str) -> None:
        """Replace what stands in a field."""
        self.click(widget)
        self.do("key", "ctrl+a")
        self.do("type", "--delay", "15", text)
        self._qtbot.wait(300)

    def until(self, what: str, done: Callable[[], bool]) -> None:
        """Wait, with the reference window alive, until the rig says so."""
        end_s = time.monotonic() + DEADLINE_S
        while not done():
            if time.monotonic() > end_s:
                raise TimeoutError(what)
            self._qtbot.wait(300)

    def title(self) -> str:
        """Title of the window on the screen."""
        return self.do("search", "--onlyvisible", "--name", "spikeloop", "getwindowname")


@pytest.fixture
def screen() -> Iterator[str]:
    """A screen without a window manager."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", SIZE, "-nolisten", "tcp"], pass_fds=[write]
    )
    number = os.read(read, 16).decode().strip()
    yield f":{number}"
    server.terminate()
    server.wait()
    os.close(read)
    os.close(write)


def test_a_whole_session_by_mouse_and_keyboard(screen: str, qtbot: Any, tmp_path: Path) -> None:
    rig = small_rig(microscope__pace="real_time")
    rig_path, movie, calibration = write_rig(tmp_path, rig), tmp_path / "movie.tif", tmp_path / "cal.h5"
    done = spikeloop("simulate", rig_path, "-o", movie, "--duration", "60", "--seed", "1")
    assert done.returncode == 0, done.stderr
    environment = os.environ | {"DISPLAY": screen, "QT_QPA_PLATFORM": "xcb"}
    log = (tmp_path / "window.log").open("wb")
    window = subprocess.Popen(
        command("gui", "--rig", rig_path, "--settings", tmp_path / "settings.json"),
        env=environment,
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    )
    parts = build(Endpoints("127.0.0.1", load_rig(rig_path).ports), Settings(None))
    qtbot.addWidget(parts.window)
    parts.window.resize(1280, 720)
    parts.window.show()
    hand = Hand(screen, parts, qtbot)
    try:
        _drive(hand, parts.window, rig_path, movie, calibration, tmp_path)
        assert window.poll() is None, (tmp_path / "window.log").read_text()
    finally:
        spikeloop("ctl", "stop", "--rig", rig_path)
        parts.close()
        window.terminate()
        window.wait()
        log.close()
    said = (tmp_path / "window.log").read_text()
    assert "Traceback" not in said, said


def _drive(hand: Hand, window: Any, rig: Path, movie: Path, calibration: Path, folder: Path) -> None:
    live, session, safety = window.desk.live, window.session, window.safety
    hand.until("the window on the screen", lambda: _appeared(hand))
    hand.page("7")
    card = session.calibrate_card
    hand.write(card.source, str(movie))
    hand.write(card.target, str(calibration))
    hand.write(card.indicator, "jGCaMP8m")
    hand.click(card.go)
    hand.until("the calibration's picture", lambda: calibration.with_suffix(".png").is_file())
    start = session.start_card
    hand.write(start.rig, str(rig))
    hand.write(start.calibration, str(calibration))
    hand.click(start.start)
    hand.until("the run to go live and arm", lambda: bool(live.state.interlock == "armed"))
    hand.page("1")
    hand.do("key", "d")
    hand.until("disarmed by a key", lambda: bool(live.state.interlock == "disarmed"))
    hand.do("key", "n")
    hand.page("6")
    hand.write(window.cells.tag, "chosen")
    hand.click(window.cells.tag_button)
    hand.until("the tag on one cell", lambda: any("chosen" in tags for tags in live.cells[0].tags))
    hand.page("5")
    hand.write(safety.operator, "Ada")
    safety.operator.setText("Ada")
    hand._qtbot.wait(800)
    hand.hold(safety.arm_button)
    hand.until("armed by hand", lambda: bool(live.state.interlock == "armed"))
    hand.do("key", "Escape")
    hand.until("tripped by Esc", lambda: bool(live.state.interlock == "tripped"))
    hand._qtbot.wait(1500)
    hand.write(safety.reason, "it was an exercise")
    hand.click(safety.reset_button)
    hand.until("reset", lambda: bool(live.state.interlock == "disarmed"))
    hand.page("7")
    hand.write(session.note, "the end is near")
    hand.do("key", "Return")
    hand.until("the mark", lambda: any(one.text == "the end is near" for one in live.logs))
    hand.hold(session.end_button)
    recorded = next(iter((folder / "sessions").iterdir()))
    hand.until("the report", lambda: (recorded / "report.html").is_file())
    hand.page("8")
    hand.write(window.review.path, str(recorded))
    hand.do("key", "Return")
    hand.until("the recorded session on the screen", lambda: recorded.name in hand.title())
    texts = [getattr(one.header, "text", "") for one in open_session(recorded).messages("log")]
    assert {"armed by Ada", "interlock reset: it was an exercise", "the end is near"} <= set(texts)


def _appeared(hand: Hand) -> bool:
    try:
        return bool(hand.title())
    except subprocess.CalledProcessError:
        return False

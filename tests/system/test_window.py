"""The window against a real run: every control does what it says, and shows only what the rig has acknowledged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets
from system_rig import RunningRig, small_rig, start_run
from window_bench import LEFT, Bench

from gui.endpoints import Endpoints
from gui.launch import build
from gui.numbers import NONE
from gui.settings import Settings
from gui.stop_line import StopState
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.recording.reader import open_session

RIG = small_rig(microscope__pace="real_time")
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_calibration: Path) -> Iterator[RunningRig]:
    """One run for all tests of this file, until a test ends it."""
    folder = tmp_path_factory.mktemp("window")
    running = start_run(
        folder, RIG, "--calibration", small_calibration, "--no-gui", name="session", file_size_limit=None
    )
    yield running
    if running.process.poll() is None:
        children = running.children()
        running.process.kill()
        for child in children:
            child.kill()
        running.process.wait()


@pytest.fixture
def bench(qtbot: Any, run: RunningRig, tmp_path: Path) -> Iterator[Bench]:
    """A window of the run."""
    parts = build(Endpoints("127.0.0.1", load_rig(run.rig).ports), Settings(tmp_path / "window.json"))
    qtbot.addWidget(parts.window)
    parts.window.resize(1280, 720)
    parts.window.show()
    yield Bench(qtbot, parts)
    parts.close()


def test_a_late_window_shows_picture_cells_traces_and_state(bench: Bench) -> None:
    window = bench.window
    bench.until(lambda: bool(bench.live.frames.pictures))
    bench.until(lambda: 0 in bench.live.cells and bench.live.cells[0].n_rois > 0)
    bench.until(lambda: 0 in bench.live.traces and bench.live.traces[0].n_taken > 10)
    bench.until(lambda: window.field.picture.size_px == (128, 128))
    bench.until(lambda: bool(window.desk.selection))
    bench.until(lambda: window.bar.phase.word == "LIVE")
    bench.until(lambda: window.bar.rate.text() != NONE)
    bench.until(lambda: 20 < float(window.bar.rate.text()) < 40)
    assert bench.live.n_malformed == 0


def test_stop_makes_it_dark_and_the_trip_shows_signal_value_and_limit(bench: Bench, record_property: Record) -> None:
    bench.bring("armed")
    bench.until_light()
    bench.show(bench.window.safety)
    bench.click(bench.window.bar.stop)
    bench.until_interlock("tripped")
    assert bench.window.stop_line.state is StopState.CONFIRMED
    trip = bench.live.state.header.trips[-1]
    assert trip["text"] == "STOP in the window"
    record_property("asked_to_dark_ms", bench.dark_after_ms())
    bench.until(lambda: bench.window.safety.trips.rowCount() > 0)
    shown = [bench.window.safety.trips.item(0, column).text() for column in range(1, 5)]
    assert shown == ["command", "trip", "-", "STOP in the window"]


def test_a_reset_wants_a_reason_and_an_arming_wants_a_name_and_a_long_press(bench: Bench) -> None:
    bench.bring("armed")
    bench.qtbot.keyClick(bench.window, QtCore.Qt.Key.Key_Escape)
    bench.until_interlock("tripped")
    safety = bench.window.safety
    bench.show(safety)
    bench.until(safety.reason.isEnabled)
    safety.reason.setText("x")
    bench.qtbot.wait(500)
    assert not safety.reset_button.isEnabled()
    bench.reset("fibre was loose")
    safety.operator.setText("")
    bench.qtbot.wait(500)
    assert not safety.arm_button.isEnabled()
    safety.operator.setText("Ada")
    bench.click(safety.arm_button)
    bench.qtbot.wait(1500)
    assert bench.live.state.interlock == "disarmed"
    bench.hold(safety.arm_button)
    bench.until_interlock("armed")


def test_the_key_d_disarms(bench: Bench) -> None:
    bench.bring("armed")
    bench.qtbot.keyClick(bench.window, "d")
    bench.until_interlock("disarmed")


def test_escape_stops_also_out_of_a_text_field_and_over_a_sheet(bench: Bench) -> None:
    bench.bring("armed")
    bench.show(bench.window.session)
    bench.window.session.note.setFocus()
    bench.qtbot.keyClick(bench.window.session.note, QtCore.Qt.Key.Key_Escape)
    bench.until_interlock("tripped")
    bench.bring("armed")
    bench.window.show_keys()
    bar, sheet = bench.window.bar, bench.window.overlay
    top = bar.stop.mapToGlobal(bar.stop.rect().center())
    assert sheet.isVisible()
    assert not sheet.rect().contains(sheet.mapFromGlobal(top))
    bench.click(bar.stop)
    bench.until_interlock("tripped")
    sheet.take_away()


def test_stop_gets_out_while_the_window_is_overloaded(bench: Bench, record_property: Record) -> None:
    """Every turn of the event loop burns 40 ms; a key that waits in the queue still trips."""
    bench.bring("armed")
    burner = QtCore.QTimer()

    def burn() -> None:
        end_s = time.perf_counter() + 0.04
        while time.perf_counter() < end_s:
            pass

    bench.until_light()
    burner.timeout.connect(burn)
    burner.start(0)
    bench.qtbot.wait(500)
    handle, pressed_ns = bench.window.windowHandle(), time.perf_counter_ns()
    for kind in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.KeyRelease):
        key = QtGui.QKeyEvent(kind, QtCore.Qt.Key.Key_Escape, QtCore.Qt.KeyboardModifier.NoModifier)
        QtWidgets.QApplication.postEvent(handle, key)
    bench.until_interlock("tripped")
    burner.stop()
    assert bench.live.state.header.trips[-1]["text"] == "STOP in the window"
    trip = bench.live.state.header.trips[-1]
    record_property("key_to_trip_ms", (trip["t_ns"] - pressed_ns) / 1e6)
    record_property("asked_to_dark_ms", bench.dark_after_ms())


def test_a_pause_stops_decisions_and_going_on_continues(bench: Bench) -> None:
    bench.bring("disarmed")
    session = bench.window.session
    bench.show(session)
    bench.click(session.pause_button)
    bench.until(lambda: bench.live.mode.get(0) == "paused")
    bench.until(lambda: bench.window.bar.phase.word == "PAUSED")
    bench.until(lambda: session.pause_button.text() == "Go on")
    bench.click(session.pause_button)
    bench.until(lambda: bench.live.mode.get(0) == "live")


def test_a_mark_is_acknowledged_and_journalled(bench: Bench, run: RunningRig) -> None:
    bench.bring("disarmed")
    session = bench.window.session
    bench.qtbot.keyClick(bench.window, "m")
    bench.until(session.note.hasFocus)
    session.note.setText("bubble under the lens")
    bench.click(session.mark_button)
    bench.until(lambda: session.note.text() == "")
    bench.until(lambda: any(one.level == "mark" for one in bench.live.logs))

    def journalled() -> bool:
        messages = open_session(run.session).messages("log")
        return any(getattr(one.header, "text", "") == "bubble under the lens" for one in messages)

    bench.until(journalled)


@pytest.mark.skipif(os.name != "posix", reason="a process is halted with SIGSTOP")
def test_a_hung_engine_greys_and_does_not_hold_up_stop(bench: Bench, run: RunningRig, record_property: Record) -> None:
    bench.bring("armed")
    engine = psutil.Process(int(run.ctl("status")["pids"]["inference"]))
    engine.send_signal(signal.SIGSTOP)
    try:
        bench.show(bench.window.traces)
        before_ns = bench.window.desk.now_ns()
        bench.click(bench.window.bar.stop)
        bench.until(lambda: bench.window.stop_line.state is StopState.CONFIRMED)
        bench.until_interlock("tripped")
        assert bench.window.desk.now_ns() > before_ns
        record_property("asked_to_dark_ms", bench.dark_after_ms())
        bench.until(lambda: bench.window.traces.card._veil.isVisible())
        assert "stale" in bench.window.traces.card._veil.text
    finally:
        engine.send_signal(signal.SIGCONT)
    bench.until(lambda: not bench.window.traces.card._veil.isVisible())


def test_cells_are_chosen_by_a_click_in_the_field_and_by_keys(bench: Bench) -> None:
    bench.until(lambda: 0 in bench.live.cells and bool(bench.window.desk.selection))
    bench.until(lambda: bench.window.field.picture.size_px == (128, 128))
    bench.qtbot.wait(300)
    cells, desk = bench.live.cells[0], bench.window.desk
    y, x = cells.centroid_yx_px[-1]
    plot = bench.window.field.plot
    at = plot.mapFromScene(plot.getViewBox().mapViewToScene(QtCore.QPointF(x, y)))
    bench.qtbot.mouseClick(plot.viewport(), LEFT, pos=at)
    bench.until(lambda: desk.selection == [int(cells.at(y, x))])
    row = cells.row_of[desk.selection[0]]
    bench.qtbot.keyClick(bench.window, "n")
    assert desk.selection == [int(cells.roi_id[(row + 1) % cells.n_rois])]


def test_every_page_theme_and_size_can_be_shown_and_is_remembered(bench: Bench, tmp_path: Path) -> None:
    for key in "123456789":
        bench.qtbot.keyClick(bench.window, key)
        assert bench.window.stack.currentIndex() == int(key) - 1
        bench.qtbot.wait(60)
    for key in "lggl":
        bench.qtbot.keyClick(bench.window, key)
        bench.qtbot.wait(60)
    bench.qtbot.keyClick(bench.window, "l")
    bench.window.close()
    assert Settings(tmp_path / "window.json")["theme"] == "light"
    assert Settings(tmp_path / "window.json")["page"] == 8


@pytest.mark.realtime
def test_the_end_of_a_run_is_a_long_press_and_the_next_run_is_found(
    bench: Bench, run: RunningRig, small_calibration: Path, tmp_path: Path
) -> None:
    bench.until(lambda: bool(bench.live.session is not None))
    bench.show(bench.window.session)
    bench.hold(bench.window.session.end_button)
    bench.until(lambda: run.process.poll() is not None)
    assert run.wait() == 0, run.output()
    bench.until(lambda: bench.window.bar.phase.word == "RUN ENDED")
    bench.until(lambda: "UNKNOWN" in bench.window.bar.interlock.word)
    bench.click(bench.window.bar.stop)
    bench.until(lambda: bench.window.stop_line.state is StopState.UNCONFIRMED)
    bench.until(lambda: "hardware" in bench.window.bar.confirmation.text())
    again = start_run(
        tmp_path,
        RIG,
        "--calibration",
        small_calibration,
        "--duration",
        "2",
        "--no-gui",
        name="again",
        file_size_limit=None,
    )
    bench.until(lambda: bool(bench.live.session.session == "again" and bench.live.frames.pictures))
    bench.until(lambda: again.process.poll() is not None)
    assert again.wait() == 0, again.output()


def test_a_run_opens_its_window_and_goes_on_when_that_dies(
    small_calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":no-such-screen")
    monkeypatch.setenv("HOME", str(tmp_path))
    rig = small_rig(microscope__pace="real_time")
    run = start_run(tmp_path, rig, "--calibration", small_calibration, name="seen", file_size_limit=None)
    try:
        run.live()
        windows = [one for one in run.children() if "gui" in one.cmdline()]
        assert len(windows) == 1, [one.cmdline() for one in run.children()]
        windows[0].kill()
        windows[0].wait(60)
        frames = run.ctl("status")["frames"]
        run.wait_for("more frames", lambda status: status["frames"] > frames + 20)
    finally:
        run.ctl("stop")
    assert run.wait() == 0, run.output()
    assert "the window opens beside the run" in run.output()
    assert (run.session / "window.log").read_text() == ""

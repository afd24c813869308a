"""What a session asks of the window beside safety: cells, thresholds, protocols, stop line, review; on a real run.

Every command is judged by what the rig says afterwards, in its messages or its journal, never by the window alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtCore
from system_rig import RunningRig, small_rig, spikeloop, start_run
from window_bench import LEFT, Bench

from gui.endpoints import Endpoints
from gui.launch import build
from gui.settings import Settings
from rt_engine.interfaces.rig_config import load_rig

pytestmark = pytest.mark.realtime
RIG = small_rig(
    microscope__pace="real_time",
    inputs={"red button": {"driver": "virtual"}},
    stop_line={"line": "red button", "closed": "high"},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_calibration: Path) -> Iterator[RunningRig]:
    """One run for all tests of this file."""
    folder = tmp_path_factory.mktemp("window-session")
    running = start_run(
        folder, RIG, "--calibration", small_calibration, "--no-gui", name="session", file_size_limit=None
    )
    running.live()
    yield running
    if running.process.poll() is None:
        children = running.children()
        running.process.kill()
        for child in children:
            child.kill()
        running.process.wait()


@pytest.fixture
def bench(qtbot: Any, run: RunningRig, tmp_path: Path) -> Iterator[Bench]:
    """A window of the run, which knows its cells."""
    parts = build(Endpoints("127.0.0.1", load_rig(run.rig).ports), Settings(tmp_path / "window.json"))
    qtbot.addWidget(parts.window)
    parts.window.resize(1280, 720)
    parts.window.show()
    made = Bench(qtbot, parts)
    made.until(lambda: 0 in made.live.cells and bool(made.window.desk.selection))
    made.until(lambda: made.live.mode.get(0) == "live")
    yield made
    parts.close()


def cells(bench: Bench) -> Any:
    """The cells as the rig told them last."""
    return bench.live.cells[0]


def at(bench: Bench, y_px: float, x_px: float) -> Any:
    """Where a pixel of the field is in the plot."""
    plot = bench.window.field.plot
    return plot.mapFromScene(plot.getViewBox().mapViewToScene(QtCore.QPointF(x_px, y_px)))


def choose(bench: Bench, n: int) -> list[int]:
    """Select the last `n` cells that are read."""
    chosen = list(cells(bench).read[-n:])
    bench.window.desk.select(chosen)
    bench.show(bench.window.cells)
    return chosen


def test_a_tag_is_put_on_and_taken_back(bench: Bench) -> None:
    (roi_id,) = choose(bench, 1)
    view = bench.window.cells
    view.tag.setText("interneuron")
    bench.click(view.tag_button)
    bench.until(lambda: "interneuron" in cells(bench).tags[cells(bench).row_of[roi_id]])
    bench.click(view.undo_button)
    bench.until(lambda: "interneuron" not in cells(bench).tags[cells(bench).row_of[roi_id]])


def test_a_cell_that_is_removed_is_read_no_longer_and_everything_else_goes_on(bench: Bench) -> None:
    (roi_id,) = choose(bench, 1)
    n_before = len(cells(bench).read)
    bench.click(bench.window.cells.remove)
    bench.until(lambda: roi_id not in cells(bench).row_of)
    assert len(cells(bench).read) == n_before - 1
    row = cells(bench).roi_id.tolist().index(roi_id)
    bench.until(lambda: bool(np.isnan(bench.live.traces[0].newest["dff"][row])))
    n_taken = bench.live.traces[0].n_taken
    bench.until(lambda: bench.live.traces[0].n_taken > n_taken + 20)
    bench.until(lambda: roi_id not in bench.window.desk.selection)
    assert bench.live.n_malformed == 0, bench.live.last_malformed
    assert bench.window.cells.undo_button.isEnabled()


def test_a_drawn_cell_is_watched_and_taken_back(bench: Bench) -> None:
    view, plot = bench.window.cells, bench.window.field.plot
    bench.show(view)
    bench.until(lambda: bench.window.field.picture.size_px == (128, 128))
    bench.qtbot.wait(300)
    bench.click(view.draw)
    for y_px, x_px in ((60.0, 60.0), (60.0, 70.0), (70.0, 70.0), (70.0, 60.0)):
        bench.qtbot.mouseClick(plot.viewport(), LEFT, pos=at(bench, y_px, x_px))
        bench.qtbot.wait(500)
    assert len(bench.window.field.draft) == 4
    bench.click(view.draw)
    bench.until(lambda: "watched" in view.said.text())

    def asked() -> list[int]:
        offered = bench.live.candidates.get(0)
        return [one.candidate_id for one in offered.candidates if one.asked] if offered is not None else []

    bench.until(lambda: len(asked()) == 1)
    bench.click(view.undo_button)
    bench.until(lambda: asked() == [])


def test_two_cells_merge_into_one_that_is_watched_first(bench: Bench) -> None:
    chosen = choose(bench, 2)
    bench.click(bench.window.cells.merge)

    def replacing() -> list[list[int]]:
        offered = bench.live.candidates.get(0)
        return [sorted(one.replaces) for one in offered.candidates] if offered is not None else []

    bench.until(lambda: sorted(chosen) in replacing() or not set(chosen) <= set(cells(bench).row_of))


def test_an_edit_disarms(bench: Bench) -> None:
    bench.bring("armed")
    choose(bench, 1)
    bench.window.cells.tag.setText("while armed")
    bench.click(bench.window.cells.tag_button)
    bench.until_interlock("disarmed")


def test_a_threshold_is_previewed_before_it_can_be_applied_and_applied_as_previewed(bench: Bench) -> None:
    bench.bring("armed")
    bench.show(bench.window.cells)
    card = bench.window.cells.threshold
    before = np.array(cells(bench).figures["threshold"])
    card.rate.setValue(0.05)
    bench.qtbot.wait(700)
    assert not card.apply.isEnabled()
    bench.click(card.preview)
    bench.until(lambda: "false events an hour" in card.says.text())
    bench.qtbot.wait(1500)
    np.testing.assert_array_equal(cells(bench).figures["threshold"], before)
    assert bench.live.state.interlock == "armed"
    bench.click(card.apply)
    bench.until_interlock("disarmed")
    read = list(cells(bench).row_of.values())
    bench.until(lambda: bool((cells(bench).figures["threshold"][read] > before[read]).all()))
    card.rate.setValue(0.06)
    bench.qtbot.wait(700)
    assert not card.apply.isEnabled()


def test_another_protocol_is_taken_disarmed(bench: Bench) -> None:
    bench.bring("armed")
    session = bench.window.session
    bench.show(session)
    session.protocol.setCurrentText("sham_control")
    bench.click(session.protocol_button)
    bench.until(lambda: bench.live.state.header.protocol == "sham_control")
    assert bench.live.state.interlock != "armed"
    session.protocol.setCurrentText("no_such_protocol")
    bench.click(session.protocol_button)
    bench.until(lambda: "no_such_protocol" in bench.window.foot.text())
    assert bench.live.state.header.protocol == "sham_control"


def test_the_hardware_stop_line_and_what_it_did_are_shown(bench: Bench, run: RunningRig) -> None:
    bench.bring("armed")
    safety = bench.window.safety
    bench.show(safety)
    bench.until(lambda: "(red button): closed" in safety.hardware.text())
    run.ctl("press", "red button")
    bench.until_interlock("tripped")
    assert bench.live.state.header.trips[-1]["signal"] == "stop_line"
    bench.until(lambda: "(red button): OPEN" in safety.hardware.text() and " ms" in safety.hardware.text())
    bench.until(lambda: bench.window.bar.confirmation.text().startswith("Hardware STOP"))
    run.ctl("press", "red button")
    bench.until(lambda: "(red button): closed" in safety.hardware.text())


def test_every_cell_tells_neuropil_certificate_and_valid_samples(bench: Bench) -> None:
    bench.show(bench.window.traces)
    bench.window.desk.select([cells(bench).read[0]])
    tiles = bench.window.traces.inspector.tiles

    def shown() -> list[str]:
        return [tiles[name].text() for name in ("neuropil_coefficient", "floor_hits", "valid", "snr", "false_alarms")]

    bench.until(lambda: "–" not in shown())
    assert 0 <= float(tiles["neuropil_coefficient"].text()) <= 1.2
    assert int(tiles["floor_hits"].text()) >= 0
    assert tiles["valid"].text().endswith("%")


def test_the_free_disk_and_every_heartbeat_are_shown(bench: Bench) -> None:
    bench.show(bench.window.pages[2])
    bench.until(lambda: bench.window.pages[2].tiles["disk"].text().endswith("B"))
    services = bench.window.services
    for name in ("acquisition", "inference", "recording", "stimulation"):
        bench.until(lambda name=name: f"●</span> {name}" in services.text())


def test_the_journal_of_a_run_that_was_killed_is_opened_and_scrubbed(bench: Bench, run: RunningRig) -> None:
    bench.until(lambda: bench.live.session is not None and "telemetry" in bench.live.health.heartbeats)
    children = run.children()
    run.process.kill()
    for child in children:
        child.kill()
    run.process.wait()
    bench.until(lambda: bench.window.bar.phase.word.startswith("SILENT"))
    bench.until(lambda: "silent" in bench.window.services.text())
    review = bench.window.review
    bench.show(review)
    review.path.setText(str(run.session))
    bench.qtbot.keyClick(review.path, QtCore.Qt.Key.Key_Return)
    bench.until(lambda: review.player is not None)
    player = review.player
    middle_ns = (player.recorded.start_ns + player.recorded.end_ns) // 2
    review.cursor.setValue((middle_ns - player.recorded.start_ns) / 1e9)
    bench.until(lambda: abs(player.t_ns - middle_ns) < 1e9)
    bench.until(lambda: bool(player.model.frames.pictures) and 0 in player.model.cells)
    assert bench.window.bar.phase.word.startswith("SILENT")
    assert spikeloop("recover", run.session).returncode == 0

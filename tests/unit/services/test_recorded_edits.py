"""What was done to the cells is read back from the journal, and done again gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_session import SessionMaker, make_calibration

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_bytes import pack_cells
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.messages import EditAction, EditHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.pipeline.engine import Engine
from rt_engine.services.live_cells import CellEdit, LiveCells
from rt_engine.services.recorded_edits import recorded_edits, replays_session

N_FRAMES, PERIOD_NS = 80, 40_000_000


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Two cells."""
    return make_calibration(tmp_path_factory.mktemp("c") / "c.h5", [(20, 20), (40, 40)], roi_ids=[1, 2])


@pytest.fixture(scope="module")
def movie(calibration: Calibration) -> NDArray[np.uint16]:
    """The template with noise, and light of a third cell."""
    rng = np.random.default_rng(1)
    return rng.poisson(calibration.template.clip(0), (N_FRAMES, 64, 64)).astype(np.uint16)


def _edits(folder: Path) -> list[CellEdit]:
    third = make_calibration(folder / "third.h5", [(50, 12)], roi_ids=[0])
    low = np.array([1.0, 1.5, 2.0]).astype("<f8").tobytes()
    return [
        CellEdit(action=EditAction.ADD, added=[3], removed=[], tagged=[], n_known=2, payload=pack_cells(third)),
        CellEdit(action=EditAction.REMOVE, added=[], removed=[1], tagged=[], n_known=2),
        CellEdit(action=EditAction.TAG, added=[], removed=[], tagged=[2], tag="pv", n_known=2),
        CellEdit(action=EditAction.THRESHOLD, added=[], removed=[], tagged=[], n_known=2, payload=low,
                 false_alarms_per_min=9.0),
    ]  # fmt: skip


def _run(
    calibration: Calibration, movie: NDArray[np.uint16], edits: list[tuple[int, CellEdit]]
) -> tuple[bytes, LiveCells, list[CellEdit]]:
    """Bytes of all activity; edits are queued before the frame that stands with each."""
    engine = Engine(calibration, 8.0, MonotonicClock(), spare_rois=2)
    engine.warm_up()
    cells, out, done = LiveCells(calibration, 8.0, 2), b"", []
    waiting = list(edits)
    for frame, image in enumerate(movie):
        while waiting and waiting[0][0] <= frame:
            cells.prepare(waiting.pop(0)[1])
        while cells.due(frame):
            done.append(cells.apply(frame, engine))
        engine.process(image, frame, (frame + 1) * PERIOD_NS, 0)
        out += engine.fill_activity().tobytes()
    return out, cells, done


def _replay_rig(path: Path) -> RigConfig:
    rig = load_rig(find_rig("virtual_rig"))
    return rig.model_copy(update={"microscope": ReplayMicroscope(driver="replay", path=str(path))})


def test_a_session_s_edits_are_done_again_at_the_same_frames(
    calibration: Calibration, movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    live, cells, done = _run(calibration, movie, list(zip([10, 20, 20, 40], _edits(tmp_path), strict=True)))
    maker = SessionMaker(tmp_path / "session")
    for rev, edit in enumerate(done, start=2):
        fields = edit.fields() | {"plane": 0, "rev": rev, "from_frame": edit.from_frame}
        maker.send("edit", EditHeader, "inference.0", edit.payload or b"", 0, **fields)
    maker.send("edit", EditHeader, "inference.1", b"", 0, **(fields | {"plane": 1}))
    maker.close()
    read = recorded_edits(_replay_rig(tmp_path / "session"), 0)
    assert [edit.from_frame for edit in read] == [10, 20, 20, 40]
    again, cells_again, _ = _run(calibration, movie, [(0, edit) for edit in read])
    assert again == live
    assert cells_again.describe() == cells.describe()
    assert cells.describe()[1].tags == ["pv"]
    untouched, _, _ = _run(calibration, movie, [])
    assert untouched != live


def test_only_a_session_is_a_session(tmp_path: Path) -> None:
    assert not replays_session(load_rig(find_rig("virtual_rig")))
    assert not replays_session(_replay_rig(tmp_path / "movie.tif"))
    assert recorded_edits(load_rig(find_rig("virtual_rig")), 0) == []


def test_a_cell_added_before_its_frame_comes_late_if_frames_were_skipped(calibration: Calibration) -> None:
    cells = LiveCells(calibration, 8.0, 2)
    cells.prepare(replace(CellEdit(action=EditAction.REMOVE, added=[], removed=[1], tagged=[]), from_frame=5))
    assert [cells.due(frame) for frame in (4, 5, 9)] == [False, True, True]

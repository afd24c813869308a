"""Cells that the calibration does not know, in real processes: found, taken, read, and there again in a replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_events import recorded_events
from system_rig import Start, small_rig, spikeloop

from rt_engine.interfaces.calibration import load_calibration, save_calibration
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import ActivityHeader, EditHeader, RoisHeader, SpikesHeader, StateHeader
from rt_engine.pipeline.cell_group import cells_of
from rt_engine.pipeline.gathering import GATHERED_FROM
from rt_engine.recording.reader import open_session


def _every(step: int, small_calibration: Path, folder: Path) -> Path:
    """The calibration of the small rig, of whose cells only every `step`-th is known."""
    whole = load_calibration(small_calibration)
    path = folder / "calibration.h5"
    save_calibration(path, cells_of(whole, np.arange(0, whole.n_rois, step), 0, whole.n_lines))
    return path


@pytest.fixture(scope="module")
def half_known(small_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The calibration of the small rig without every other cell."""
    return _every(2, small_calibration, tmp_path_factory.mktemp("half"))


@pytest.mark.realtime
def test_new_cells_become_rows_and_replay_gives_the_same_events(start: Start, half_known: Path, tmp_path: Path) -> None:
    known = [int(roi) for roi in load_calibration(half_known).roi_id]
    rig = small_rig(microscope__pace="real_time", inference__new_cells="take")
    run = start(rig, "--calibration", half_known)
    run.live()
    run.wait_for("two new cells", lambda status: status["n_rois"] >= len(known) + 2)
    assert run.ctl("status")["interlock"] == "armed"  # what is only added disarms nobody
    run.ctl("rois_edit", "remove", str(known[0]))
    run.wait_for("being disarmed", lambda status: status["interlock"] == "disarmed")
    run.ctl("rois_edit", "tag", "favourite", str(known[1]))
    told = run.ctl("set_threshold", "0.05", "--dry")
    assert told["dry"]
    run.ctl("set_threshold", "0.2")
    before = run.ctl("status")["frames"]
    run.wait_for("ten more seconds", lambda status: status["frames"] >= before + 300)
    run.ctl("stop")
    assert run.wait() == 0, run.output()

    session = open_session(run.session)
    edits = [m.header for m in session.messages("edit") if isinstance(m.header, EditHeader)]
    added = [roi for edit in edits for roi in edit.added]
    assert len(added) >= 2
    assert len(set(added)) == len(added)
    assert min(added) > max(known)
    assert [edit.rev for edit in edits] == list(range(2, 2 + len(edits)))
    last = [m.header for m in session.messages("rois") if isinstance(m.header, RoisHeader)][-1]
    assert [roi.roi_id for roi in last.rois] == known + added
    assert last.rois[0].kind == "removed"
    assert last.rois[1].tags == ["favourite"]
    assert last.rois[1].threshold < _thresholds(half_known)[1] + 1.0
    assert last.rois[1].threshold > _thresholds(half_known)[1]  # 0.2 false events a minute in place of 0.5
    activity = [m.header for m in session.messages("activity") if isinstance(m.header, ActivityHeader)]
    rows = {edit.rev: len(known) + sum(len(e.added) for e in edits if e.rev <= edit.rev) for edit in edits}
    assert all(header.n_rois == rows.get(header.rois_rev, len(known)) for header in activity)
    assert {int(roi) for roi in _event_ids(run.session)} & set(added)

    done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert recorded_events(tmp_path / "again") == recorded_events(run.session)


@pytest.mark.realtime
@pytest.mark.timeout(1200)
def test_cells_that_were_gathered_into_one_group_replay_alike(
    start: Start, small_calibration: Path, tmp_path: Path
) -> None:
    few = _every(5, small_calibration, tmp_path)
    known = load_calibration(few).n_rois
    run = start(small_rig(microscope__pace="real_time", inference__new_cells="take"), "--calibration", few)
    run.live()
    run.wait_for(
        "cells enough to be gathered",
        lambda status: status["n_rois"] >= known + GATHERED_FROM,
    )
    before = run.ctl("status")["frames"]
    # Long enough for the last of them to be settled, and for events after the change.
    run.wait_for("a minute more", lambda status: status["frames"] >= before + 1800)
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    events = recorded_events(run.session)
    assert max(roi for roi in _event_ids(run.session)) > max(int(roi) for roi in load_calibration(few).roi_id)
    assert recorded_events(tmp_path / "again") == events


def _thresholds(path: Path) -> list[float]:
    drive = load_calibration(path).drive
    assert drive is not None
    return [float(z) for z in drive.threshold]


def _event_ids(session: Path) -> list[int]:
    ids: list[int] = []
    for message in open_session(session).messages("spikes"):
        if isinstance(message.header, SpikesHeader) and message.header.mode == "live":
            ids += np.frombuffer(message.payload, EVENT_DTYPE)["roi_id"].tolist()
    return ids


def test_editing_cells_disarms_and_a_bad_edit_is_one_clear_line(start: Start, half_known: Path) -> None:
    run = start(small_rig(microscope__pace="real_time", inference__new_cells="off"), "--calibration", half_known)
    run.live()
    run.wait_for("being armed", lambda status: status["interlock"] == "armed")
    with pytest.raises(RuntimeError, match="no cell has roi id 999"):
        run.ctl("rois_edit", "remove", "999")
    run.wait_for("being disarmed", lambda status: status["interlock"] == "disarmed")
    run.ctl("arm", "somebody")
    run.wait_for("being armed", lambda status: status["interlock"] == "armed")
    run.ctl("set_threshold", "1.0", "--dry")
    assert run.ctl("status")["interlock"] == "armed"
    run.ctl("set_threshold", "1.0")
    run.wait_for("being disarmed", lambda status: status["interlock"] == "disarmed")
    with pytest.raises(RuntimeError, match="no candidate 1"):
        run.ctl("rois_edit", "add", "1")
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    states = [m.header for m in open_session(run.session).messages("state") if isinstance(m.header, StateHeader)]
    assert {"armed", "disarmed"} <= {state.interlock for state in states}

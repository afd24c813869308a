"""A session as arrays and tables: complete, running and crashed ones alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_session import MS, SessionMaker

from rt_engine.cli import main
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import Mode
from rt_engine.recording import open_session


def fill(maker: SessionMaker) -> None:
    maker.session()
    for frame in range(12):
        live = frame >= 2
        maker.spikes(
            frame, [(3, frame - 1), (5, frame)] if frame % 4 == 3 else [], Mode.LIVE if live else Mode.BASELINE
        )
        values = np.full((8, 2 if frame < 6 else 3), frame, np.float32)
        maker.activity(frame, values)
    maker.stim("d1", 7, "delivered", command_ms=3.0)
    maker.health("inference", dropped=2)


@pytest.fixture(params=["complete", "running", "crashed"])
def session(request, tmp_path: Path):
    maker = SessionMaker(tmp_path)
    fill(maker)
    if request.param == "complete":
        maker.close()
    else:
        maker.writer.flush()
    if request.param == "crashed":
        whole = maker.writer.path.read_bytes()
        maker.spikes(99)
        maker.close()
        maker.writer.path.write_bytes(whole + maker.writer.path.read_bytes()[len(whole) : len(whole) + 40])
    yield open_session(tmp_path)
    if request.param == "running":
        maker.close()


def test_events_are_one_array_with_the_moment_of_decision(session) -> None:
    events = session.events()
    assert events["roi_id"].tolist() == [3, 5, 3, 5, 3, 5]
    assert events["decided_frame"].tolist() == [3, 3, 7, 7, 11, 11]
    assert events["event_frame"].tolist() == [2, 3, 6, 7, 10, 11]
    assert np.all(events["t_decided_ns"] - events["t_event_ns"] >= 2 * MS)


def test_traces_are_one_array_with_nan_where_a_cell_was_not_there_yet(session) -> None:
    traces = session.activity("dff")
    assert traces.frame.tolist() == list(range(12))
    assert traces.values.shape == (12, 3)
    np.testing.assert_array_equal(traces.values[:, 0], np.arange(12))
    assert np.isnan(traces.values[:6, 2]).all()
    part = session.activity("z", first_frame=3, last_frame=5)
    assert part.frame.tolist() == [3, 4, 5]


def test_headers_are_tables(session) -> None:
    pytest.importorskip("pandas")
    stim = session.table("stim")
    assert stim["outcome"].isna().tolist() == [True, False]
    assert stim["outcome"][1] == "delivered"
    assert stim["phase"].tolist() == ["intent", "done"]
    assert session.table("health")["dropped"].tolist() == [2]
    assert len(session.table("spikes.0")) == 12
    assert len(session.table("sync")) == 0


def test_a_slip_of_the_pen_does_not_look_like_no_data(session) -> None:
    slips = (
        (lambda: session.activity("nope"), r"no field 'nope'.*dff"),
        (lambda: session.activity("dff", plane=5), r"no plane 5 on topic activity\. there are 0"),
        (lambda: session.events(plane=5), r"no plane 5 on topic spikes\. there are 0"),
        (lambda: session.table("nope"), r"no topic 'nope'.*topics are .*spikes"),
        (lambda: list(session.messages("spikes", "nope.1")), r"no topic 'nope\.1'"),
    )
    for slip, words in slips:
        with pytest.raises(RecordingError, match=words):
            slip()


def test_what_did_not_happen_is_no_slip_of_the_pen(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    maker.close()
    empty = open_session(tmp_path)
    assert len(empty.events()) == len(empty.activity().frame) == len(empty.table("light")) == 0
    assert list(empty.messages("stim")) == []


@pytest.mark.parametrize("option", [("--frame-rate-hz", "15"), ("--axes", "TYX"), ("--shape", "64x64")])
def test_a_replayed_session_refuses_what_only_movies_need_to_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    assert main(["replay", str(tmp_path), *option]) == 2
    assert f"{option[0]}: is for movies" in capsys.readouterr().err

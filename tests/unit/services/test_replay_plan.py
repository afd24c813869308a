"""A replay knows what it is of, and says in what it is not the same experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from synthetic_session import T_MONO_NS, T_WALL_NS, SessionMaker, make_calibration

from rt_engine.interfaces.calibration import load_calibration, save_calibration
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import InputHeader, InputKind, Mode
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.interfaces.virtual_inputs import VirtualLine
from rt_engine.recording.recover import recover
from rt_engine.services.replay_plan import (
    PixelPlan,
    StartsFrom,
    pixel_plan,
    replay_of_session,
    require_same_cells,
    session_rig,
    start_of_session,
    with_false_alarms,
)
from rt_engine.services.session_folder import file_digest, keep_protocol, kept_protocol, machine, write_config


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    maker = SessionMaker(folder)
    maker.session()
    maker.close()
    make_calibration(folder / "calibration.h5", [(20, 20)])
    protocol = tmp_path / "mine.yaml"
    protocol.write_text("a: 1\n")
    keep_protocol(folder, protocol)
    return folder


def test_the_same_calibration_and_protocol_make_no_difference(recorded: Path) -> None:
    replay = replay_of_session(recorded, recorded / "calibration.h5", kept_protocol(recorded), ())
    assert (replay.session, replay.t_wall_ns, replay.t_monotonic_ns) == ("s1", T_WALL_NS, T_MONO_NS)
    assert replay.differs == ()
    assert replay.described()["what_would_have_happened"] is False
    assert "numpy 2.4 then" in " ".join(replay.notes)  # the journal was "recorded" with another version


def test_another_calibration_protocol_or_threshold_is_said(recorded: Path, tmp_path: Path) -> None:
    other = make_calibration(tmp_path / "other.h5", [(30, 30)])
    assert other.n_rois == 1
    protocol = tmp_path / "theirs.yaml"
    protocol.write_text("a: 2\n")
    replay = replay_of_session(recorded, tmp_path / "other.h5", protocol, ("2 false events",))
    assert replay.differs == (
        "2 false events", "another calibration: other.h5", "another protocol: theirs instead of mine"
    )  # fmt: skip
    assert replay.described()["what_would_have_happened"] is True
    without = replay_of_session(recorded, recorded / "calibration.h5", None, ())
    assert without.differs == ("another protocol: none instead of mine",)


def test_a_calibration_changed_since_the_session_is_said(recorded: Path) -> None:
    (recorded / "config.yaml").write_text("calibration_sha256: abc\n")
    replay = replay_of_session(recorded, recorded / "calibration.h5", kept_protocol(recorded), ())
    assert replay.differs == ("a calibration.h5 that is not the one recorded with",)


def test_a_protocol_or_rig_changed_since_the_session_is_said(recorded: Path) -> None:
    kept = kept_protocol(recorded)
    assert kept is not None
    config = {"protocol_sha256": file_digest(kept), "rig": {"name": "mine"}}
    maker = SessionMaker(recorded / "again")
    maker.session(config)
    maker.close()
    make_calibration(recorded / "again" / "calibration.h5", [(20, 20)])
    keep_protocol(recorded / "again", kept)
    own = kept_protocol(recorded / "again")
    assert own is not None
    write_config(recorded / "again", config)
    replay = replay_of_session(recorded / "again", recorded / "again" / "calibration.h5", own, ())
    assert replay.differs == ()
    own.write_text("a: 2\n")
    write_config(recorded / "again", config | {"rig": {"name": "yours"}})
    replay = replay_of_session(recorded / "again", recorded / "again" / "calibration.h5", own, ())
    assert replay.differs == tuple(f"a {what} that is not the one recorded with" for what in ("mine.yaml", "rig"))
    assert replay.sayings[0].startswith("what would have happened: a mine.yaml that is not")


def test_a_hole_in_the_middle_is_said_before_the_replay_begins(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    marks = []
    for frame in range(40):
        maker.spikes(frame)
        if frame % 10 == 9:
            maker.writer.flush()
            marks.append(maker.writer.bytes_written)
    make_calibration(maker.folder / "calibration.h5", [(20, 20)])
    maker.close()
    whole = replay_of_session(maker.folder, maker.folder / "calibration.h5", None, ())
    assert whole.hole is None
    assert "need not be" not in " ".join(whole.sayings)
    data = bytearray(maker.writer.path.read_bytes())
    data[(marks[1] + marks[2]) // 2] ^= 0xFF
    maker.writer.path.write_bytes(data)
    for folder in (maker.folder, recover(maker.folder).folder):  # also of the clean journal, whose bytes are all whole
        replay = replay_of_session(folder, folder / "calibration.h5", None, ())
        assert replay.hole == "10 messages of spikes.0 between frames 19 and 30 are lost"
        assert "need not be what was recorded" in " ".join(replay.sayings)
        assert replay.described()["hole"] == replay.hole


def test_a_protocol_that_was_changed_in_the_run_is_said(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    for name in ("mine", "mine", "theirs"):  # loaded anew for other cells, then another
        maker.send(
            "input", InputHeader, "stimulation", kind=InputKind.LOAD, name=name, edge=None, t_edge_ns=None,
            after=[1, 0, 0],
        )  # fmt: skip
    maker.close()
    make_calibration(tmp_path / "calibration.h5", [(20, 20)])
    protocol = tmp_path / "mine.yaml"
    protocol.write_text("a: 1\n")
    keep_protocol(tmp_path, protocol)
    replay = replay_of_session(tmp_path, tmp_path / "calibration.h5", kept_protocol(tmp_path), ())
    assert replay.differs == ("protocol mine all through, where the session went on to theirs",)


def test_a_protocol_whose_text_the_journal_has_is_changed_again_and_that_is_a_note(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    for name, digest in (("mine", "a"), ("mine", "a"), ("mine", "b"), ("theirs", "c")):
        maker.send(
            "input", InputHeader, "stimulation", kind=InputKind.LOAD, name=name, edge=None, t_edge_ns=None,
            after=[1, 0, 0], sha256=digest,
        )  # fmt: skip
    maker.close()
    make_calibration(tmp_path / "calibration.h5", [(20, 20)])
    protocol, other = tmp_path / "mine.yaml", tmp_path / "other.yaml"
    protocol.write_text("a: 1\n")
    other.write_text("a: 2\n")
    keep_protocol(tmp_path, protocol)
    replay = replay_of_session(tmp_path, tmp_path / "calibration.h5", kept_protocol(tmp_path), ())
    assert replay.differs == ()
    assert "the protocol is changed where the session changed it: mine, then mine, then theirs" in replay.notes
    replay = replay_of_session(tmp_path, tmp_path / "calibration.h5", other, ())
    assert replay.differs == ("another protocol: other instead of mine, then mine, then theirs",)


def test_another_processor_is_told_and_makes_no_other_experiment(recorded: Path) -> None:
    config = {"host": "rig-pc", "machine": {"processor": "Abacus 3000"}}
    write_config(recorded, config)
    replay = replay_of_session(recorded, recorded / "calibration.h5", kept_protocol(recorded), ())
    assert replay.differs == ()
    assert "recorded on rig-pc (Abacus 3000), replayed on" in " ".join(replay.sayings)
    write_config(recorded, config | {"machine": machine()})
    replay = replay_of_session(recorded, recorded / "calibration.h5", kept_protocol(recorded), ())
    assert "replayed on" not in " ".join(replay.notes)


def test_a_journal_that_tells_no_times_is_refused(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.spikes(0)
    maker.close()
    with pytest.raises(ConfigError, match="no `session` message"):
        replay_of_session(tmp_path, tmp_path / "calibration.h5", None, ())


def test_outputs_are_virtual_and_the_bound_of_silence_is_that_of_the_recording() -> None:
    rig = load_rig(find_rig("virtual_rig"))
    replayed = session_rig(rig, ReplayMicroscope(driver="replay", path="x"), (0,))
    assert replayed.all_outputs_virtual
    assert isinstance(replayed.microscope, ReplayMicroscope)
    assert (replayed.microscope.live_silence_s, replayed.microscope.um_per_px) == (1.0, 0.8)
    again = session_rig(replayed, ReplayMicroscope(driver="replay", path="y"), (0,))
    assert isinstance(again.microscope, ReplayMicroscope)
    assert again.microscope.live_silence_s == 1.0


@pytest.mark.parametrize(("pace", "borne"), [("real_time", 120), ("max", 100_000)])
def test_refusals_trip_where_they_would_have_tripped_the_recording(pace: str, borne: int) -> None:
    """Where the source was not tied to a clock they did not, neither then nor in a replay of the replay."""
    rig = load_rig(find_rig("virtual_rig"))
    rig = rig.model_copy(update={"microscope": rig.microscope.model_copy(update={"pace": pace})})
    replayed = session_rig(rig, ReplayMicroscope(driver="replay", path="x"), (0,))
    assert replayed.outputs["led"].limits.max_refused_per_min == borne
    again = session_rig(replayed, ReplayMicroscope(driver="replay", path="y"), (0,))
    assert again.outputs["led"].limits.max_refused_per_min == borne


def test_white_noise_exceeds_the_moved_threshold_at_the_rate_asked_for(tmp_path: Path) -> None:
    calibration = make_calibration(tmp_path / "c.h5", [(20, 20)], rate_hz=30.0)
    taps = np.array([[0.0], [1.0], [1.0]], np.float32) / np.float32(np.sqrt(2))
    z = np.convolve(np.random.default_rng(2).normal(size=8_000_000), taps[:, 0])

    def exceeding(rate_per_min: float) -> float:
        """The threshold that this noise itself rises to at that rate, from counting."""
        low, high = 1.0, 6.0
        for _ in range(30):
            middle = (low + high) / 2
            n = np.count_nonzero((z[1:] >= middle) & (z[:-1] < middle))
            low, high = (middle, high) if n / len(z) > rate_per_min / 1800 else (low, middle)
        return low

    old = dataclasses.replace(
        calibration, filter_taps=taps, false_alarms_per_min=5.0, threshold=np.array([exceeding(5.0)], np.float32)
    )
    moved = with_false_alarms(old, 0.5)
    assert moved.threshold[0] == pytest.approx(exceeding(0.5), abs=0.03)


def test_a_calibration_that_decides_by_cost_is_moved_to_no_rate(tmp_path):
    calibration = make_calibration(tmp_path / "c.h5", [(20, 20)], rate_hz=30.0)
    with pytest.raises(ConfigError, match="false event costing 2 times"):
        with_false_alarms(dataclasses.replace(calibration, false_event_cost=2.0), 0.5)


@pytest.mark.parametrize(
    ("kept", "asked", "starts_from"),
    [
        ({}, None, StartsFrom.FRAMES),
        ({}, "traces", StartsFrom.TRACES),
        ({"frames": "none"}, None, StartsFrom.TRACES),
        ({"frames": "crops"}, None, StartsFrom.TRACES),
        ({"every_nth_frame": 2}, None, StartsFrom.TRACES),
        ({"every_nth_frame": 2}, "frames", StartsFrom.FRAMES),
    ],
)
def test_traces_stand_in_where_not_all_frames_were_kept(
    recorded: Path, kept: dict[str, object], asked: str | None, starts_from: StartsFrom
) -> None:
    rig = load_rig(find_rig("virtual_rig"))
    rig = rig.model_copy(update={"recording": rig.recording.model_copy(update=kept)})
    assert start_of_session(rig, asked) is starts_from
    replay = replay_of_session(recorded, recorded / "calibration.h5", None, (), PixelPlan(starts_from))
    assert replay.described()["starts_from"] == starts_from.value
    assert (replay.said is not None) is (starts_from is StartsFrom.TRACES)


@pytest.mark.parametrize(
    ("frames_kept", "asked", "plan"),
    [
        (range(10), None, PixelPlan(StartsFrom.FRAMES)),
        (range(6), None, PixelPlan(StartsFrom.FRAMES, traces_from_frame=6)),
        ((0, 1, 2, 3, 5, 6, 7, 8, 9), None, PixelPlan(StartsFrom.FRAMES, traces_from_frame=4)),
        (range(6), "frames", PixelPlan(StartsFrom.FRAMES, first_missing_frame=6)),
        (range(6), "traces", PixelPlan(StartsFrom.TRACES)),
        (range(2), None, PixelPlan(StartsFrom.TRACES)),
    ],
)
def test_frames_are_replayed_as_far_as_they_go(
    tmp_path: Path, frames_kept: Iterable[int], asked: str | None, plan: PixelPlan
) -> None:
    folder = tmp_path / "session"
    maker = SessionMaker(folder)
    maker.session()
    for frame in range(10):
        if frame in frames_kept:
            maker.frame(frame, np.zeros((16, 16), np.uint16))
        maker.spikes(frame, mode=Mode.LIVE if frame > 1 else Mode.BASELINE)
    maker.close()
    own = folder / "calibration.h5"
    make_calibration(own, [(20, 20)])
    rig = load_rig(find_rig("virtual_rig"))
    assert pixel_plan(folder, rig, asked, own, (0,), (0,)) == plan
    replay = replay_of_session(folder, own, None, (), plan)
    assert (replay.said is None) is (plan == PixelPlan(StartsFrom.FRAMES))
    assert replay.described()["traces_from_frame"] == plan.traces_from_frame
    make_calibration(tmp_path / "other.h5", [(30, 30)])
    if plan.traces_from_frame is not None:  # traces of other cells cannot stand in
        other = pixel_plan(folder, rig, asked, tmp_path / "other.h5", (0,), (0,))
        assert other == PixelPlan(StartsFrom.FRAMES, first_missing_frame=plan.traces_from_frame)
        replay = replay_of_session(folder, tmp_path / "other.h5", None, (), other)
        assert f"frame {plan.traces_from_frame} and others after it missing" in replay.differs


def test_a_replay_from_traces_journals_no_dark_frames() -> None:
    rig = load_rig(find_rig("virtual_rig"))
    microscope = ReplayMicroscope(driver="replay", path="session", from_traces=True)
    assert session_rig(rig, microscope, (0,)).recording.frames == "none"
    later = ReplayMicroscope(driver="replay", path="session", traces_from_frame=7)
    assert session_rig(rig, later, (0,)).recording.frames == "none"
    assert session_rig(rig, microscope.model_copy(update={"from_traces": False}), (0,)).recording.frames == "all"


def test_traces_are_of_their_own_cells_alone(recorded: Path, tmp_path: Path) -> None:
    own = recorded / "calibration.h5"
    changed = tmp_path / "thresholds.h5"
    save_calibration(changed, with_false_alarms(load_calibration(own), 7.0))
    require_same_cells(recorded, changed, (0,))
    make_calibration(tmp_path / "other.h5", [(30, 30)])
    with pytest.raises(ConfigError, match="has other cells than those whose traces were recorded"):
        require_same_cells(recorded, tmp_path / "other.h5", (0,))
    own.unlink()
    with pytest.raises(ConfigError, match="traces mean nothing without their cells"):
        require_same_cells(recorded, changed, (0,))


def test_a_replay_opens_no_card_for_its_inputs(recorded: Path) -> None:
    rig = load_rig(find_rig("virtual_rig")).model_dump(mode="json")
    rig |= {
        "inputs": {
            "frames": {"driver": "ni_edges", "device": "Dev1", "counter": "ctr0", "terminal": "PFI0"},
            "lever": {"driver": "ni_line", "device": "Dev1", "line": "port0/line1"},
            "button": {"driver": "virtual", "level": "high"},
        },
        "frame_clock": "frames",
    }
    replayed = session_rig(RigConfig.model_validate(rig), ReplayMicroscope(driver="replay", path=str(recorded)), (0,))
    again = RigConfig.model_validate(replayed.model_dump(mode="json"))  # as every service does
    assert {name: (one.driver, one.level) for name, one in again.inputs.items() if isinstance(one, VirtualLine)} == {
        "frames": ("virtual", "low"), "lever": ("virtual", "low"), "button": ("virtual", "high")
    }  # fmt: skip

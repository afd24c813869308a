"""Several planes in one run: each inferred by a process of its own, one calibration, one protocol, one session."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from system_rig import DEADLINE_S, RunningRig, Start, small_rig, spikeloop, summary_of, wait_gone, write_rig
from volume_source import VolumeSource

from rt_engine.interfaces.calibration_planes import load_planes
from rt_engine.interfaces.events import EVENT_DTYPE, FrameFlag
from rt_engine.interfaces.messages import (
    FrameHeader,
    InputHeader,
    InputKind,
    LightHeader,
    Mode,
    SpikesHeader,
    StimHeader,
    encode,
)
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import Session, open_session
from rt_engine.services.conclusion import facts_again
from rt_engine.services.frame_join import place_of
from rt_engine.services.protocol_results import effects_of
from rt_engine.transport.free_ports import free_ports

PLANES = (0, 1)
PER_VOLUME = 3


def volume_rig(**changes: Any) -> dict[str, Any]:
    """The small rig with two planes and one flyback frame, 20 volumes a second."""
    rig = small_rig(**changes)
    rig["microscope"] |= {"frame_rate_hz": 60.0, "n_planes": 2, "n_flyback_frames": 1}
    return rig


def loaded_early(session: Path, copy: Path) -> Path:
    """The session as a busy computer records it: the protocol was loaded one message before the baseline ended.

    Cells reach the protocol and the recorder by ways of their own, so that it may know them when the recorder does not.
    """
    shutil.copytree(session, copy, ignore=shutil.ignore_patterns("session_*.mcap"))
    journal, writer = open_session(session), JournalWriter(copy, 0, 0)
    baseline = [m.header for m in journal.messages("spikes") if m.header.mode is Mode.BASELINE]
    n_moved = 0
    for message in journal.messages():
        header, header_bytes = message.header, bytes(message.header_bytes)
        if isinstance(header, InputHeader) and header.kind is InputKind.LOAD:
            header_bytes = encode(msgspec.structs.replace(header, after=place_of(baseline[-2])))
            n_moved += 1
        writer.write(message.topic, header_bytes, message.payload, message.t_log_ns, sequence=message.sequence)
    writer.close()
    assert n_moved == 1
    return copy


@pytest.fixture(scope="session")
def volume_calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both planes of the small rig, calibrated on a movie of the volume."""
    folder = tmp_path_factory.mktemp("volume")
    rig, movie, calibration = write_rig(folder, volume_rig()), folder / "movie.tif", folder / "calibration.h5"
    done = spikeloop("simulate", rig, "-o", movie, "--duration", "60", "--seed", "1")
    assert done.returncode == 0, done.stderr
    done = spikeloop("calibrate", movie, "-o", calibration, "--json", folder / "figures.json")
    assert done.returncode == 0, done.stderr
    return calibration


def events_of(session: Session) -> dict[tuple[int, int], tuple[float, ...]]:
    """Live events by cell and frame of the spike."""
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    for message in session.messages("spikes"):
        header = message.header
        assert isinstance(header, SpikesHeader)
        for event in np.frombuffer(message.payload, EVENT_DTYPE) if header.mode == "live" else ():
            key = int(event["roi_id"]), int(event["event_frame"])
            assert key not in found
            numbers = (float(event[name]) for name in ("n_spikes", "probability", "amplitude", "z"))
            found[key] = (header.plane, header.frame, *numbers)
    return found


def decisions_of(session: Session) -> list[tuple[Any, ...]]:
    """Triggers in order: frame, plane, cells, targets and their planes, arm."""
    headers = [message.header for message in session.messages("stim")]
    return [
        (h.frame, h.plane, h.roi_ids, h.target_ids, h.target_planes, h.arm)
        for h in headers
        if isinstance(h, StimHeader) and h.phase == "done" and h.arm
    ]


def test_a_volume_is_calibrated_inferred_and_lit_in_one_run_and_replays_alike(tmp_path: Path) -> None:
    rig, session = write_rig(tmp_path, volume_rig()), tmp_path / "session"
    done = spikeloop("run", rig, "--output", session, "--baseline", "60", "--duration", "30")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout
    summary, journal = summary_of(session), open_session(session)
    assert (summary["frames"], summary["frames_lost"]) == (2 * 600, 0)
    assert summary["duration_s"] == pytest.approx(30.0)
    assert summary["recall"] > 0.8
    assert summary["precision"] > 0.8
    assert {"inference.0", "inference.1"} <= set(summary["services"])
    assert journal.is_complete

    headers = [message.header for message in journal.messages("frame")]
    frames = [header for header in headers if isinstance(header, FrameHeader)]
    assert [header.frame for header in frames] == list(range(len(frames)))
    assert all(divmod(h.frame, PER_VOLUME) == (h.volume, h.plane) for h in frames)
    assert all(bool(h.flags & FrameFlag.DISCARD) == (h.plane == 2) for h in frames)
    assert all(not h.flags & FrameFlag.LOST_BEFORE for h in frames)
    assert all(a.t_scan_ns < b.t_scan_ns for a, b in itertools.pairwise(frames))

    planes = load_planes(session / "calibration.h5")
    assert list(planes) == list(PLANES)
    ids = {plane: set(map(int, one.roi_id)) for plane, one in planes.items()}
    assert min(map(len, ids.values())) > 0
    assert not ids[0] & ids[1]
    assert all(one.frame_rate_hz == 20.0 for one in planes.values())
    events = events_of(journal)
    assert all(roi_id in ids[plane] for (roi_id, _), (plane, *_) in events.items())
    assert {plane for plane, *_ in events.values()} == set(PLANES)
    assert all(frame % PER_VOLUME == plane for (_, frame), (plane, *_) in events.items())

    decisions = decisions_of(journal)
    assert decisions
    for frame, plane, cells, targets, target_planes, _ in decisions:
        assert frame % PER_VOLUME == plane
        assert set(cells) <= ids[plane]
        assert all(target in ids[where] for target, where in zip(targets, target_planes, strict=True))
    _, concluded = facts_again(journal)
    assert json.loads(json.dumps(effects_of(concluded))) == summary["effects"], "made again from the journal alone"
    early = open_session(loaded_early(session, tmp_path / "early"))
    assert json.loads(json.dumps(effects_of(facts_again(early)[1]))) == summary["effects"], (
        "cells told before the spikes"
    )
    lights = [message.header for message in journal.messages("light")]
    assert all(len(h.target_planes) == len(h.targets_yx_px) for h in lights if isinstance(h, LightHeader))

    again = tmp_path / "again"
    done = spikeloop("replay", session, "--speed", "max", "--output", again)
    assert done.returncode == 0, done.stderr
    assert events_of(open_session(again)) == events
    assert decisions_of(open_session(again)) == decisions
    for plane in PLANES:
        done = spikeloop("diff", session, again, "--plane", str(plane))
        assert done.returncode == 0, done.stdout
    report = (session / "report.html").read_text(encoding="utf-8")
    assert all(f"Field of view, plane {plane}" in report for plane in PLANES)


@pytest.mark.realtime
def test_a_movie_of_a_volume_is_replayed_over_all_its_planes(volume_calibration: Path, tmp_path: Path) -> None:
    movie, session = volume_calibration.with_name("movie.tif"), tmp_path / "session"
    done = spikeloop(
        "replay", movie, "--calibration", volume_calibration, "--speed", "max", "--output", session
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = summary_of(session)
    assert (summary["frames"], summary["frames_lost"]) == (2 * 1200, 0)
    assert {plane for plane, *_ in events_of(open_session(session)).values()} == set(PLANES)


def test_a_calibration_that_lacks_a_plane_is_refused_before_anything_starts(
    volume_calibration: Path, tmp_path: Path
) -> None:
    movie, one = volume_calibration.with_name("movie.tif"), tmp_path / "one.h5"
    done = spikeloop("calibrate", movie, "--plane", "1", "-o", one)
    assert done.returncode == 0, done.stderr
    assert list(load_planes(one)) == [1]
    done = spikeloop("run", write_rig(tmp_path, volume_rig()), "--calibration", one, "--output", tmp_path / "s")
    assert done.returncode == 2
    assert "holds no plane 0, only 1" in done.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(os.name == "nt", reason="kills and freezes processes by POSIX signals")
@pytest.mark.realtime
def test_the_death_of_one_planes_engine_trips_ends_the_run_in_order_and_is_told(
    start: Start, volume_calibration: Path
) -> None:
    run = start(volume_rig(microscope__pace="real_time"), "--calibration", volume_calibration)
    status = run.live()
    assert set(status["planes"]) == {"0", "1"}
    os.kill(status["pids"]["inference.1"], signal.SIGKILL)
    assert run.wait() == 1
    assert "inference.1" in run.output()
    assert "Traceback" not in run.output()
    assert wait_gone(list(status["pids"].values())) == []
    summary = summary_of(run.session)
    assert "inference.1" in summary["failure"]
    assert any("inference.1" in trip["text"] for trip in summary["trips"])
    _require_dark_after(run, summary["trips"][0]["t_ns"])


@pytest.mark.skipif(os.name == "nt", reason="kills and freezes processes by POSIX signals")
@pytest.mark.realtime
def test_one_planes_frozen_engine_trips_though_the_other_goes_on(start: Start, volume_calibration: Path) -> None:
    run = start(volume_rig(microscope__pace="real_time"), "--calibration", volume_calibration)
    pids = run.live()["pids"]
    os.kill(pids["inference.1"], signal.SIGSTOP)
    status = run.wait_for("a trip", lambda status: status["interlock"] == "tripped")
    assert "no sign of the engine of plane 1" in status["trip"]
    before = status["planes"]["0"]["frames"]
    run.wait_for("frames of plane 0", lambda status: status["planes"]["0"]["frames"] > before + 10)
    os.kill(pids["inference.1"], signal.SIGCONT)
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    _require_dark_after(run, summary_of(run.session)["trips"][0]["t_ns"])


def _require_dark_after(run: RunningRig, t_trip_ns: int) -> None:
    lights = [message.header for message in open_session(run.session).messages("light")]
    assert all(header.t_on_ns < t_trip_ns for header in lights if isinstance(header, LightHeader))


def stream_rig(port: int, **changes: Any) -> dict[str, Any]:
    """A rig of planes 0 and 1 whose indicator is in channel 1."""
    rig = small_rig()
    rig["microscope"] = {"driver": "stream", "endpoint": f"tcp://127.0.0.1:{port}"}
    rig["inference"] |= {"max_backlog_frames": 1000, "deadline_ms": 60_000.0}  # frames come in bursts: none is left out
    return rig | {"planes": list(PLANES), "channel": 1} | changes


@pytest.mark.realtime
@pytest.mark.parametrize("numbers_volumes", [True, False])
def test_a_stream_of_more_planes_and_channels_than_are_inferred_is_recorded_whole_and_answered_where_asked(
    start: Start, numbers_volumes: bool
) -> None:
    (port,) = free_ports(1)
    run = start(stream_rig(port), "--baseline", "12")
    source = VolumeSource(port, (0, 1, 5), (0, 1), numbers_volumes=numbers_volumes)
    try:
        run.wait_for("the services", lambda status: status["phase"] == "waiting")
        deadline_s = time.monotonic() + DEADLINE_S
        status: dict[str, Any] = {"phase": "waiting", "frames": 0}
        while not (status["phase"] == "live" and status["frames"] > 200) and time.monotonic() < deadline_s:
            for _ in range(50):
                source.send_volume()
            status = run.ctl("status")
        run.ctl("stop")
        assert run.wait() == 0, run.output()
    finally:
        source.close()
    summary, journal = summary_of(run.session), open_session(run.session)
    assert summary["frames"] > 200
    assert summary["frames_lost"] == 0
    assert summary["duration_s"] == pytest.approx(summary["frames"] / 2 * 0.06, abs=0.07)
    assert "plane 5 comes as well" in run.output()
    assert "channel 0 of plane 1 comes as well" in run.output()
    topics = {f"frame.{plane}.{channel}" for plane in (0, 1, 5) for channel in (0, 1)}
    counts = {topic: sum(1 for _ in journal.messages(topic)) for topic in topics}
    assert min(counts.values()) > 250
    assert max(counts.values()) - min(counts.values()) <= 1
    answered = {message.topic for message in journal.messages("spikes")}
    assert answered == {"spikes.0", "spikes.1"}
    assert {plane for plane, *_ in events_of(journal).values()} == set(PLANES)


def test_a_plane_that_never_comes_ends_the_run_with_what_did_come(start: Start) -> None:
    (port,) = free_ports(1)
    run = start(stream_rig(port, max_idle_s=2.0), "--baseline", "60")
    source = VolumeSource(port, (0, 5), (1,))
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while run.process.poll() is None and time.monotonic() < deadline_s:
            source.send_volume()
        assert run.wait() == 1
    finally:
        source.close()
    assert "delivers nothing of plane 1, channel 1 (plane.channel seen: 0.1, 5.1)" in run.output()
    assert "set `planes` and `channel` in the rig file" in run.output()


def test_a_stream_of_none_of_the_planes_asked_for_is_refused(start: Start) -> None:
    (port,) = free_ports(1)
    run = start(stream_rig(port), "--baseline", "60")
    source = VolumeSource(port, (0, 1), (0,))
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while run.process.poll() is None and time.monotonic() < deadline_s:
            source.send_volume()
        assert run.wait() == 1
    finally:
        source.close()
    assert "sends frames of plane.channel 0.0, 1.0, none of 0.1" in run.output()

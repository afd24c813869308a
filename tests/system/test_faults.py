"""Whatever dies: light is off, what was recorded can be read, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from system_rig import Start, small_rig, spikeloop, summary_of, wait_gone

from rt_engine.interfaces.messages import LightHeader, SpikesHeader
from rt_engine.recording.reader import open_session
from rt_engine.safety.wal import read_wal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills and freezes processes by POSIX signals")
SERVICES = ("acquisition", "inference", "stimulation", "recording")


def _readable_live_frames(session: Path) -> int:
    """Live `spikes` messages that can be read back; every header decodes."""
    return sum(
        isinstance(message.header, SpikesHeader) and message.header.mode == "live"
        for message in open_session(session).messages("spikes")
    )


@pytest.mark.parametrize(
    "service", [one if one == "inference" else pytest.param(one, marks=pytest.mark.realtime) for one in SERVICES]
)
def test_a_killed_service_ends_the_run_in_order_and_the_session_can_be_read(
    service: str, start: Start, small_calibration: Path
) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    pids = run.live()["pids"]
    os.kill(pids[service], signal.SIGKILL)
    assert run.wait() == 1
    assert service in run.output()
    assert "Traceback" not in run.output()
    assert wait_gone(list(pids.values())) == []
    assert _readable_live_frames(run.session) > 5
    assert all(content.torn == 0 for content in map(read_wal, run.session.glob("stim_*.wal")))
    if service == "recording":
        recovered = spikeloop("recover", run.session)
        assert recovered.returncode == 0, recovered.stderr
    assert spikeloop("report", run.session).returncode == 0


@pytest.mark.realtime
def test_killed_telemetry_is_said_and_the_run_goes_on(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration, "--duration", "6")
    os.kill(run.live()["pids"]["telemetry"], signal.SIGKILL)
    assert run.wait() == 0, run.output()
    assert "telemetry" in run.output()
    assert summary_of(run.session)["frames"] == 180


def test_services_stop_by_themselves_when_the_supervisor_is_killed(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    pids = run.live()["pids"]
    run.process.kill()
    run.process.wait()
    assert wait_gone(list(pids.values())) == []
    assert _readable_live_frames(run.session) > 5


def test_ctrl_c_while_live_is_a_normal_end(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    pids = run.live()["pids"]
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 0, run.output()
    assert wait_gone(list(pids.values())) == []
    summary = summary_of(run.session)
    assert summary["ended"] == "stopped"
    assert summary["frames_lost"] == 0
    assert (run.session / "report.html").stat().st_size > 10_000
    assert open_session(run.session).is_complete


def test_a_second_ctrl_c_aborts(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    pids = run.live()["pids"]
    os.kill(pids["inference"], signal.SIGSTOP)
    run.process.send_signal(signal.SIGINT)
    wait = psutil.Process(run.process.pid)
    assert wait.is_running()
    run.wait_for_output("stopping")
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 1
    assert wait_gone(list(pids.values())) == []


def test_stop_trip_and_reset_by_command(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    assert run.live()["interlock"] in ("armed", "disarmed")
    assert run.ctl("trip", "smell of smoke")["interlock"] == "tripped"
    with pytest.raises(RuntimeError, match="reset first"):
        run.ctl("arm", "Ada")
    assert run.ctl("reset", "it was the coffee machine")["interlock"] == "disarmed"
    assert run.ctl("arm", "Ada")["interlock"] == "armed"
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    trips = summary_of(run.session)["trips"]
    assert [trip["text"] for trip in trips] == ["smell of smoke"]


def test_a_frozen_engine_trips_and_no_light_follows(start: Start, small_calibration: Path) -> None:
    run = start(small_rig(microscope__pace="real_time"), "--calibration", small_calibration)
    pids = run.live()["pids"]
    os.kill(pids["inference"], signal.SIGSTOP)
    status = run.wait_for("a trip", lambda status: status["interlock"] == "tripped")
    assert "no sign of the engine" in status["trip"]
    os.kill(pids["inference"], signal.SIGCONT)
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    session = open_session(run.session)
    trip_ns = summary_of(run.session)["trips"][0]["t_ns"]
    assert all(
        message.header.t_on_ns < trip_ns
        for message in session.messages("light")
        if isinstance(message.header, LightHeader)
    )


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="missing the command prlimit (util-linux)")
def test_a_disk_that_fills_up_ends_the_frames_and_nothing_else(
    tmp_path: Path, small_calibration: Path, start: Start
) -> None:
    # The limit on files would be one on shared memory too, which no full disk is.
    rig = small_rig(microscope__pace="real_time", inference__frames_by="messages")
    arguments = ("--calibration", small_calibration, "--duration", "20")
    run = start(rig, *arguments, file_size_limit=6_000_000)
    assert run.wait() == 0, run.output()
    assert "going on in session_001.mcap: frames are no longer recorded" in run.output()
    assert "Traceback" not in run.output()
    session = open_session(run.session)
    decided = [m.header.frame for m in session.messages("spikes") if m.header.mode == "live"]
    kept = [header.frame for header, _ in session.frames()]
    assert max(decided) - min(decided) > 500  # to the end of 20 s
    assert 5 < max(kept) - min(decided) < 300
    assert sum(session.lost.values()) < 60  # the block that the disk refused, by number


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="missing the command prlimit (util-linux)")
@pytest.mark.realtime
def test_a_disk_too_full_for_events_ends_the_run_and_keeps_what_was_written(
    tmp_path: Path, small_calibration: Path, start: Start
) -> None:
    rig = small_rig(microscope__pace="real_time", inference__frames_by="messages")
    run = start(rig, "--calibration", small_calibration, file_size_limit=1_200_000)
    assert run.wait() == 1, run.output()
    assert "session_001.mcap" in run.output()
    assert "Traceback" not in run.output()


@pytest.mark.realtime
def test_a_journal_removed_underneath_is_said(small_calibration: Path, start: Start) -> None:
    rig = small_rig(microscope__pace="real_time")
    run = start(rig, "--calibration", small_calibration, "--duration", "20")
    run.live()
    journal = max(run.session.glob("session_*.mcap"))
    journal.unlink()
    assert run.wait() == 0, run.output()
    assert f"{journal.name} was removed" in run.output()
    assert sum(m.topic == "spikes.0" for m in open_session(run.session).messages("spikes")) > 100

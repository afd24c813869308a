"""A disk that really fills up, a small one in memory: frames end, events do not, and what was said is what happened.

Opt-in: ``pytest -m realtime tests/system/test_full_disk.py``. Mounts a tmpfs, so it needs Linux and root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from system_rig import Start, small_rig, spikeloop, summary_of

from rt_engine.interfaces.messages import Mode, SpikesHeader
from rt_engine.recording.reader import Session, open_session

may_mount = sys.platform == "linux" and os.geteuid() == 0
pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not may_mount, reason="mounting a small disk in memory needs Linux and root"),
]
DISK_MB = 48


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of `DISK_MB`, mounted where the session folder will be."""
    folder = tmp_path / "session"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Somebody else's file that takes all that is left."""
    path = folder / "somebody_elses.bin"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return path


def live_frames(session: Session) -> list[int]:
    """Numbers of the frames decided live, as the journal has them."""
    found = []
    for message in session.messages("spikes"):
        if isinstance(message.header, SpikesHeader) and message.header.mode is Mode.LIVE:
            found.append(message.header.frame)
    return found


def test_below_the_bound_frames_end_and_the_session_is_complete(
    small_disk: Path, start: Start, small_calibration: Path, tmp_path: Path
) -> None:
    rig = small_rig(microscope__pace="real_time", recording={"frames": "all", "min_free_mb": 30.0})
    run = start(rig, "--calibration", small_calibration, "--duration", "20")
    assert run.wait() == 0, run.output()
    assert "MB are left on the disk: frames are no longer recorded, everything else is" in run.output()
    session = open_session(small_disk)
    assert session.is_complete
    decided = live_frames(session)
    assert decided == list(range(decided[0], decided[0] + 600))
    kept = [header.frame for header, _ in session.frames()]
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert 60 < kept[-1] - decided[0] < 550
    assert summary_of(small_disk)["frames"] == 600

    again, lacking = tmp_path / "again", tmp_path / "lacking"
    done = spikeloop("replay", small_disk, "--speed", "max", "--output", again)
    assert done.returncode == 0, done.stderr
    assert f"frame {kept[-1] + 1} and those after it were not all kept: from there on" in done.stdout
    assert summary_of(again)["replay"]["traces_from_frame"] == kept[-1] + 1
    found = spikeloop("diff", small_disk, again)
    assert found.returncode == 0, found.stdout
    done = spikeloop("replay", small_disk, "--from", "frames", "--speed", "max", "--output", lacking)
    assert done.returncode == 0, done.stderr
    assert "the replay lacks them" in done.stdout
    assert summary_of(lacking)["frames"] == kept[-1] - decided[0] + 1


def test_a_disk_that_somebody_else_fills_costs_frames_and_one_block(
    small_disk: Path, start: Start, small_calibration: Path
) -> None:
    rig = small_rig(microscope__pace="real_time", recording={"frames": "all", "min_free_mb": 0.001})
    run = start(rig, "--calibration", small_calibration)
    run.live()
    other = fill(small_disk)
    run.wait_for_output("frames are no longer recorded")
    before = run.ctl("status")["frames"]
    status = run.wait_for("four more seconds", lambda status: status["frames"] >= before + 120)
    assert status["interlock"] != "tripped"
    other.unlink()
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    assert "Traceback" not in run.output()
    session = open_session(small_disk)
    decided = live_frames(session)
    assert len(decided) > decided[-1] - decided[0] - 30  # a block of 64 KiB that the disk refused
    assert sum(session.lost.values()) < 90
    assert max(header.frame for header, _ in session.frames()) < decided[-1] - 100


def test_a_disk_that_is_still_full_at_the_end_is_said_in_one_line(
    small_disk: Path, start: Start, small_calibration: Path
) -> None:
    rig = small_rig(microscope__pace="real_time", recording={"frames": "all", "min_free_mb": 0.001})
    run = start(rig, "--calibration", small_calibration)
    run.live()
    fill(small_disk)
    run.wait_for_output("frames are no longer recorded")
    run.ctl("stop")
    run.wait()
    assert "Traceback" not in run.output()
    recovered = spikeloop("report", small_disk)
    assert "Traceback" not in recovered.stderr
    assert len(live_frames(open_session(small_disk))) > 5

"""A disk that really is too slow: the kernel throttles it; frames give way, events and light do not.

Opt-in: ``pytest -m realtime tests/system/test_slow_disk.py``. Mounts a file as a disk of its own without a cache and
bounds its rate by a control group, so it needs Linux, root, loop devices and the first version of control groups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from system_rig import Start, small_rig, summary_of

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.messages import Mode, Outcome, Phase, SpikesHeader, StateHeader, StimHeader
from rt_engine.recording.reader import Session, open_session

BLKIO = Path("/sys/fs/cgroup/blkio")
may_throttle = sys.platform == "linux" and os.geteuid() == 0 and BLKIO.is_dir()
pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not may_throttle, reason="a throttled disk needs Linux, root and /sys/fs/cgroup/blkio"),
]
BYTES_PER_S = 500_000
"""Half of what the frames of the small rig take."""


def told(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class SlowDisk:
    """A file system of its own in `folder`; what a process of `group` writes there waits for the disk."""

    def __init__(self, folder: Path, image: Path, group: Path) -> None:
        with image.open("wb") as file:
            file.truncate(256 << 20)
        told("mkfs.ext4", "-q", str(image))
        told("mount", "-o", "loop,sync", str(image), str(folder))
        self.folder, self.group = folder, group
        source = told("findmnt", "-no", "SOURCE", str(folder))
        number = told("lsblk", "-ndo", "MAJ:MIN", source)
        group.mkdir()
        (group / "blkio.throttle.write_bps_device").write_text(f"{number} {BYTES_PER_S}\n", encoding="utf-8")

    def slows(self, pid: int) -> None:
        """From now on, this process."""
        (self.group / "cgroup.procs").write_text(str(pid), encoding="utf-8")

    def close(self) -> None:
        """Unmount; the group goes when nobody is in it."""
        told("umount", str(self.folder))
        self.group.rmdir()


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[SlowDisk]:
    """Mounted where the session folder will be."""
    folder = tmp_path / "session"
    folder.mkdir()
    disk = SlowDisk(folder, tmp_path / "disk.img", BLKIO / f"spikeloop-{os.getpid()}")
    yield disk
    disk.close()


RIG = small_rig(microscope__pace="real_time", recording={"frames": "all", "min_free_mb": 5.0})
SECONDS = 40
FRAMES = 30 * SECONDS


def live_frames(session: Session) -> list[int]:
    """Numbers of the frames decided live, as the journal has them."""
    headers = [message.header for message in session.messages("spikes")]
    return [one.frame for one in headers if isinstance(one, SpikesHeader) and one.mode is Mode.LIVE]


def trips_of(session: Session) -> list[str]:
    """Signals that tripped the interlock."""
    headers = [message.header for message in session.messages("state")]
    return [trip["signal"] for one in headers if isinstance(one, StateHeader) for trip in one.trips]


def test_frames_give_way_and_nothing_else_does(slow_disk: SlowDisk, start: Start, small_calibration: Path) -> None:
    """The recorder alone is slowed: what the loop does is compared with what the journal has."""
    run = start(RIG, "--calibration", small_calibration, "--protocol", "spike_triggered", "--duration", str(SECONDS))
    slow_disk.slows(run.live()["pids"]["recording"])
    assert run.wait() == 0, run.output()
    assert "the disk does not keep up with the frames" in run.output()
    session, summary = open_session(slow_disk.folder), summary_of(slow_disk.folder)
    assert session.is_complete
    assert session.lost == {}
    decided = live_frames(session)
    assert decided == list(range(decided[0], decided[0] + FRAMES))
    assert trips_of(session) == []
    kept = [header.frame for header, _ in session.frames()]
    assert len(kept) == len(set(kept))
    left_out = set(range(kept[0], decided[-1] + 1)) - set(kept)
    print(f"{len(kept)} frames kept, {len(left_out)} left out, {len(decided)} decided")
    assert FRAMES / 4 < len(left_out) < FRAMES
    assert summary["services"]["recording"]["dropped"] == len(left_out)
    done = [message.header for message in session.messages("stim")]
    lit = [one for one in done if isinstance(one, StimHeader) and one.outcome is Outcome.DELIVERED]
    assert len(lit) == summary["stim"]["delivered"] > 0


def test_a_run_that_waits_for_its_disk_gives_no_old_light(
    slow_disk: SlowDisk, start: Start, small_calibration: Path
) -> None:
    """The log that stands before every pulse is on that disk, too: light may be refused, and is never late."""
    run = start(RIG, "--calibration", small_calibration, "--protocol", "spike_triggered", "--duration", str(SECONDS))
    slow_disk.slows(run.process.pid)
    assert run.wait() in (0, 1), run.output()
    assert "Traceback" not in run.output()
    session = open_session(slow_disk.folder)
    decided = live_frames(session)
    assert decided == list(range(decided[0], decided[0] + FRAMES))
    done = [message.header for message in session.messages("stim")]
    lit = [one for one in done if isinstance(one, StimHeader) and one.outcome is Outcome.DELIVERED]
    outcomes = Counter(str(one.outcome) for one in done if isinstance(one, StimHeader) and one.phase is Phase.DONE)
    print(dict(outcomes), trips_of(session), summary_of(slow_disk.folder)["latency_ms"]["scan_to_command"])
    ages_ms = [(one.t_command_ns - one.t_scan_ns) / NS_PER_MS for one in lit]
    assert all(age_ms <= RIG["outputs"]["led"]["limits"]["max_decision_age_ms"] for age_ms in ages_ms)

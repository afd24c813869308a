"""Two computers, as two network namespaces of this one: a rig beyond loopback, a client that is cut off from it, and a
window.

Linux and root alone: ``pytest -m realtime tests/system/test_hosts.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import until
from system_rig import ROOT, command, small_rig, summary_of, write_rig

from rt_engine.interfaces.control import Role
from rt_engine.transport.key_store import KeyStore

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(
        shutil.which("ip") is None or getattr(os, "geteuid", lambda: 1)() != 0, reason="needs ip (iproute2) and root"
    ),
]
RIG, DESK = f"loop-rig-{os.getpid()}", f"loop-desk-{os.getpid()}"
RIG_ADDRESS, DESK_ADDRESS = "10.77.0.1", "10.77.0.2"


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[None]:
    """Two computers and a cable. Its delay stays that of the kernel: `tc netem` is not in every kernel."""
    for name in (RIG, DESK):
        ip("netns", "add", name)
    try:
        ip("link", "add", "loop-a", "netns", RIG, "type", "veth", "peer", "name", "loop-b", "netns", DESK)
        for name, link, address in ((RIG, "loop-a", RIG_ADDRESS), (DESK, "loop-b", DESK_ADDRESS)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in (RIG, DESK):
            ip("netns", "del", name)


class Desk:
    """A client on the other computer, with a key and without the rig's files."""

    def __init__(self, folder: Path, rig_file: Path, key: Path) -> None:
        self._at_desk = folder / "desk.yaml"
        text = rig_file.read_text().replace("keys: keys", "keys: null").replace(RIG_ADDRESS, "127.0.0.1")
        self._at_desk.write_text(text)
        self.who = ("--rig", str(self._at_desk), "--connect", RIG_ADDRESS, "--key", str(key))

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`spikeloop ctl` from there, to its end."""
        line = command("ctl", *words, *self.who)
        return subprocess.run(["ip", "netns", "exec", DESK, *line], capture_output=True, text=True, check=False)

    def until_live(self, run: subprocess.Popen[bytes], log: Path) -> None:
        """Until it is told so, or the run has ended."""
        for _ in range(200):
            if '"phase": "live"' in self.ctl("status").stdout or run.poll() is not None:
                break
        assert run.poll() is None, log.read_text()


@contextlib.contextmanager
def rig_beyond_loopback(folder: Path, *options: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], Desk]]:
    """A run at its address, and a desk with an operator's key."""
    key = KeyStore(folder / "keys").new_client("desk", Role.OPERATOR)
    rig = small_rig(keys="keys", microscope__pace="real_time")
    rig["ports"]["host"] = RIG_ADDRESS
    rig_file = write_rig(folder, rig)
    line = command("run", rig_file, "--output", folder / "session", "--no-gui", *options)
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(["ip", "netns", "exec", RIG, *line], stdout=log, stderr=log)
    try:
        yield run, Desk(folder, rig_file, key)
    finally:
        run.kill()
        run.wait()


def test_a_rig_beyond_loopback_outlives_the_loss_of_a_desk(
    network: None, small_calibration: Path, tmp_path: Path
) -> None:
    with rig_beyond_loopback(tmp_path, "--calibration", small_calibration) as (run, desk):
        desk.until_live(run, tmp_path / "log")
        assert desk.ctl("mark", "before").returncode == 0
        ip("-n", DESK, "link", "set", "loop-b", "down")
        cut_off = desk.ctl("mark", "lost")
        assert cut_off.returncode == 1
        assert "no answer" in cut_off.stderr
        ip("-n", DESK, "link", "set", "loop-b", "up")
        until(lambda: desk.ctl("mark", "after").returncode == 0, "the desk is back")
        assert desk.ctl("stop").returncode == 0
        assert run.wait(600) == 0, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "mark: before" in said
    assert "mark: after" in said
    assert "mark: lost" not in said
    assert summary_of(tmp_path / "session")["frames_lost"] == 0


def test_a_window_on_another_computer_shows_the_rig_and_stops_it(
    network: None, small_calibration: Path, tmp_path: Path
) -> None:
    with rig_beyond_loopback(tmp_path, "--calibration", small_calibration) as (run, desk):
        desk.until_live(run, tmp_path / "log")
        child = [sys.executable, str(ROOT / "tests" / "window_child.py"), *desk.who]
        window = subprocess.run(
            ["ip", "netns", "exec", DESK, *child, "--settings", str(tmp_path / "window.json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert window.returncode == 0, window.stdout + window.stderr
        assert window.stdout.split() == ["picture", "cells", "live", "tripped"]
        told = json.loads(desk.ctl("status").stdout)
        assert told["interlock"] == "tripped"
        assert "STOP in the window" in str(told["trip"])
        assert desk.ctl("stop").returncode == 0
        assert run.wait(600) == 0, (tmp_path / "log").read_text()

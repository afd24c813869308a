"""Two computers, as two network namespaces of this one: a rig beyond loopback, and a client that is cut off from it.

Linux and root alone: ``pytest -m realtime tests/system/test_hosts.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import until
from system_rig import command, small_rig, summary_of, write_rig

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


def test_a_rig_beyond_loopback_outlives_the_loss_of_a_desk(
    network: None, small_calibration: Path, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys")
    key = store.new_client("desk", Role.OPERATOR)
    rig = small_rig(keys="keys", microscope__pace="real_time")
    rig["ports"]["host"] = RIG_ADDRESS
    rig_file, session = write_rig(tmp_path, rig), tmp_path / "session"
    at_desk = tmp_path / "desk.yaml"
    at_desk.write_text(rig_file.read_text().replace("keys: keys", "keys: null").replace(RIG_ADDRESS, "127.0.0.1"))

    def desk(*words: str) -> subprocess.CompletedProcess[str]:
        line = command("ctl", *words, "--rig", at_desk, "--connect", RIG_ADDRESS, "--key", key)
        return subprocess.run(["ip", "netns", "exec", DESK, *line], capture_output=True, text=True, check=False)

    line = command("run", rig_file, "--calibration", small_calibration, "--output", session, "--no-gui")
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(["ip", "netns", "exec", RIG, *line], stdout=log, stderr=log)
    try:
        for _ in range(200):
            if '"phase": "live"' in desk("status").stdout or run.poll() is not None:
                break
        assert run.poll() is None, (tmp_path / "log").read_text()
        assert desk("mark", "before").returncode == 0
        ip("-n", DESK, "link", "set", "loop-b", "down")
        cut_off = desk("mark", "lost")
        assert cut_off.returncode == 1
        assert "no answer" in cut_off.stderr
        ip("-n", DESK, "link", "set", "loop-b", "up")
        until(lambda: desk("mark", "after").returncode == 0, "the desk is back")
        assert desk("stop").returncode == 0
        assert run.wait(600) == 0, (tmp_path / "log").read_text()
    finally:
        run.kill()
        run.wait()
    said = (tmp_path / "log").read_text()
    assert "mark: before" in said
    assert "mark: after" in said
    assert "mark: lost" not in said
    assert summary_of(session)["frames_lost"] == 0

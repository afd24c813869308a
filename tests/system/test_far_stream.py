"""A program on another computer, with another clock, is the microscope: the documented one, with a key.

Linux and root alone: ``pytest -m realtime tests/system/test_far_stream.py``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from far_rig import AHEAD_S, CAN_RUN, FarRun, Network, address, network
from system_rig import ROOT, small_rig, summary_of, write_rig

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.control import Role
from rt_engine.recording import open_session
from rt_engine.transport.key_store import KeyStore

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not CAN_RUN, reason="needs ip (iproute2), unshare and root"),
]
THERE = "acquisition"
"""The computer with the program; all services live on ``rig``."""
PROGRAM = ROOT / "docs" / "how-to" / "frames_from_elsewhere.py"


@pytest.fixture
def cables() -> Iterator[Network]:
    with network() as made:
        yield made


class Program:
    """The documented one on the other computer, its ports as the rig has them."""

    def __init__(
        self, cables: Network, folder: Path, key: Path, ports: dict[str, int], frames: int, fps: float
    ) -> None:
        text = PROGRAM.read_text(encoding="utf-8")
        path = folder / f"{key.stem}.py"
        path.write_text(text.replace("5570", str(ports["control"])).replace("5999", str(frames)), encoding="utf-8")
        ahead = ("unshare", "--time", "--monotonic", str(AHEAD_S[THERE]), "--fork", "--kill-child")
        words = ["ip", "netns", "exec", cables.name(THERE), *ahead, sys.executable, str(path)]
        self._process = subprocess.Popen([*words, str(key), address("rig"), str(fps)])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.timeout(1800)
def test_a_program_with_a_key_and_another_clock_drives_a_run(cables: Network, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    keys = {role: store.new_client(f"the_{role}", role) for role in (Role.SOURCE, Role.OPERATOR)}
    rig = small_rig(keys="keys")
    listen = rig["ports"]["control"] + 2000 if rig["ports"]["control"] < 60_000 else rig["ports"]["control"] - 2000
    rig["microscope"] = {"driver": "stream", "listen": f"tcp://{address('rig')}:{listen}"}
    rig["ports"] |= {"host": address("rig")}
    run = FarRun(cables, tmp_path, write_rig(tmp_path, rig), ())
    programs: list[Program] = []

    def program(role: Role) -> None:
        programs.append(Program(cables, tmp_path, keys[role], rig["ports"], listen, 50.0))

    try:
        run.start("--baseline", "6")
        run.until("the services", lambda status: status["phase"] == "waiting")
        program(Role.OPERATOR)  # may do everything but this
        run.until("the refusal", lambda status: "is of role operator" in run.said("run"))
        program(Role.SOURCE)
        run.until("live", lambda status: status["phase"] == "live" and status["frames"] > 300)
        store.revoke("the_source")
        run.until("the refusal", lambda status: "may send no frames any more" in run.said("run"))
        run.until("the trip", lambda status: status["interlock"] != "armed")
        assert run.ctl("stop") is not None
        assert run.wait() == 0, run.said()
    finally:
        for one in programs:
            one.close()
        run.close()
    assert f"refused {address(THERE)}: the key 'the_operator'" in run.said("run")
    summary = summary_of(run.session)
    assert summary["frames_lost"] == 0
    headers = [header for header, _ in open_session(run.session).frames()]
    print(
        sorted((header.t_scan_uncertainty_ns or 0) for header in headers)[len(headers) // 2], "ns uncertainty, median"
    )
    for header in headers:
        assert header.t_scan_uncertainty_ns is not None
        # Stamped before it was sent and taken in after: on one clock, whatever was ahead by 5,000 s.
        assert -header.t_scan_uncertainty_ns <= header.t_sent_ns - header.t_scan_ns < NS_PER_S

"""One run whose planes are inferred on two computers, with light on a third: both light, and each is missed alone.

Linux and root alone: ``pytest -s -m realtime tests/system/test_far_planes.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from far_rig import CAN_RUN, FarRun, Network, address, network, true_offset_ns
from system_rig import small_rig, summary_of, write_rig

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.messages import ClockHeader, Outcome, Phase, SpikesHeader, StimHeader
from rt_engine.recording import open_session
from rt_engine.transport.free_ports import free_port_block
from rt_engine.transport.key_store import KeyStore

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not CAN_RUN, reason="needs ip (iproute2), unshare and root"),
]
FAR = ("acquisition", "inference.0", "inference.1", "stimulation")


@pytest.fixture
def cables() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def run(cables: Network, tmp_path: Path) -> Iterator[FarRun]:
    KeyStore(tmp_path / "keys").new_client("desk", Role.OPERATOR)
    rig = small_rig(keys="keys", microscope__pace="real_time", microscope__n_planes=2)
    rig["ports"] |= {
        "host": address("rig"),
        "hosts": {name: address(name) for name in FAR},
        "inference": free_port_block(2),
    }
    made = FarRun(cables, tmp_path, write_rig(tmp_path, rig), FAR)
    try:
        made.start("--baseline", "20", "--protocol", "spike_triggered")
        yield made
    finally:
        made.close()


def delivered(status: dict[str, Any]) -> int:
    return int(status["stim"].get("delivered", 0))


@pytest.mark.timeout(1800)
def test_planes_on_two_computers_light_and_are_missed_one_by_one(run: FarRun) -> None:
    lit = delivered(run.until("light", lambda status: status["interlock"] == "armed" and delivered(status) > 4))
    cut_ns = time.perf_counter_ns()
    run.network.cut("inference.1", "stimulation")
    tripped = run.until("the trip", lambda status: status["interlock"] == "tripped")
    run.network.heal("inference.1", "stimulation")
    assert "plane 1" in str(tripped["trip"])
    run.until("the reset", lambda status: run.ctl("reset", "the cable is back") is not None)
    run.until("arming", lambda status: run.ctl("arm", "test") is not None)
    armed_ns = time.perf_counter_ns()
    KeyStore(run.computer("inference.0") / "keys").revoke("desk")
    run.until("light again", lambda status: delivered(status) > lit + 4)
    folders = [run.rig.parent, *(run.computer(service) for service in FAR)]
    run.until(
        "the word to all", lambda status: not any(KeyStore(folder / "keys").role_of("desk") for folder in folders)
    )
    assert run.ctl("stop") is not None
    assert run.wait() == 0, run.said()
    assert f"the key 'desk' was revoked on {address('inference.0')}" in run.said("run")

    session = open_session(run.session)
    stim = [message.header for message in session.messages("stim")]
    lights = [
        one
        for one in stim
        if isinstance(one, StimHeader) and one.phase is Phase.DONE and one.outcome is Outcome.DELIVERED
    ]
    for plane in (0, 1):
        times_ns = [one.t_command_ns or 0 for one in lights if one.plane == plane]
        assert min(times_ns) < cut_ns
        assert max(times_ns) > armed_ns
    offsets: dict[str, list[int]] = {address(name): [] for name in FAR}
    for message in session.messages("clock"):
        header = message.header
        assert isinstance(header, ClockHeader)
        host = next(name for name in FAR if address(name) == header.peer)
        assert abs(header.offset_ns - true_offset_ns(host)) <= header.uncertainty_ns
        offsets[header.peer].append(header.uncertainty_ns)
    assert min(map(len, offsets.values())) > 10
    spikes = [message.header for message in session.messages("spikes")]
    for plane in (0, 1):
        ages_ms = sorted(
            (one.t_decided_ns - one.t_scan_ns) / 1e6
            for one in spikes
            if isinstance(one, SpikesHeader) and one.plane == plane and one.mode == "live"
        )
        assert ages_ms
        n_lights = sum(one.plane == plane for one in lights)
        print(
            f"plane {plane}: {len(ages_ms)} frames, scan to decision {ages_ms[len(ages_ms) // 2]:.1f} ms median, "
            f"{n_lights} lit"
        )
    print(
        f"frames lost {summary_of(run.session)['frames_lost']}; "
        f"uncertainty at best {min(map(min, offsets.values())) / 1000:.0f} us"
    )

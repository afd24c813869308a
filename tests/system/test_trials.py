"""A microscope that works in trials: silence between them is a pause without light, and trips nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from system_rig import DEADLINE_S, Start, small_rig
from volume_source import VolumeSource

from rt_engine.recording.reader import open_session
from rt_engine.transport.free_ports import free_ports


def _rig(port: int, **changes: Any) -> dict[str, Any]:
    rig = small_rig(**changes)
    rig["channel"] = 1
    rig["microscope"] = {"driver": "stream", "endpoint": f"tcp://127.0.0.1:{port}"}
    return rig


def _trials(run: Any, source: VolumeSource, n_live: int) -> None:
    """A baseline, then trials of a second with two seconds of silence between."""
    run.wait_for("the services", lambda status: status["phase"] == "waiting")
    end_s = time.monotonic() + DEADLINE_S
    while run.ctl("status")["phase"] != "live" and time.monotonic() < end_s:
        for _ in range(100):
            source.send_volume()
    for _ in range(n_live):
        time.sleep(2.0)
        for _ in range(50):
            source.send_volume()
    run.ctl("stop")
    assert run.wait() == 0, run.output()


@pytest.mark.realtime
@pytest.mark.parametrize("trial_gated", [True, False])
def test_silence_between_trials_is_a_pause_where_the_rig_says_so_and_a_trip_where_not(
    start: Start, trial_gated: bool
) -> None:
    (port,) = free_ports(1)
    run = start(_rig(port, trial_gated=trial_gated, protocol="spike_triggered"), "--baseline", "12")
    source = VolumeSource(port, (0,), (1,), numbers_volumes=False)
    try:
        _trials(run, source, 4)
    finally:
        source.close()
    journal = open_session(run.session)
    states = [message.header for message in journal.messages("state")]
    interlock = [header.interlock for header in states]
    modes = [message.header.mode for message in journal.messages("spikes.0")]
    assert ("tripped" in interlock) == (not trial_gated)
    if trial_gated:
        assert modes.count("paused") >= 3
        assert any(header.inhibited for header in states)
        after = modes[modes.index("paused") :]
        assert after.count("live") > 50

"""One run whose services live on four computers with four clocks, and what happens when a link between two is cut.

Linux and root alone: ``pytest -m realtime tests/system/test_far_services.py``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from far_rig import CAN_RUN, FarRun, Network, address, network, true_offset_ns
from system_rig import small_rig, write_rig

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.messages import ClockHeader, Outcome, Phase, StateHeader, StimHeader
from rt_engine.recording import open_session
from rt_engine.recording.recover import recover
from rt_engine.safety.watchdog import live_silence_ns
from rt_engine.transport.key_store import KeyStore

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not CAN_RUN, reason="needs ip (iproute2), unshare and root"),
]
FAR = ("acquisition", "inference", "stimulation")
BOUND_NS = live_silence_ns(NS_PER_S // 30)
LOOKS_NS = NS_PER_S // 10
"""How late the interlock may look, that of a busy computer included; it looks every 20 ms."""
MAX_AGE_NS = 50 * NS_PER_MS
"""`max_decision_age_ms` of the rig."""
LINKS: dict[str, Callable[[Network], None]] = {
    "20 kbit/s": lambda network: network.slow("stimulation", 20_000),
    "120 ms late": lambda network: network.worsen("stimulation", 120.0, 20.0, 0.0),
    "5 percent lost": lambda network: network.worsen("stimulation", 5.0, 0.0, 0.05),
}
"""Links that are slow, late or lossy, between whoever decides and the light."""


@pytest.fixture
def cables() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def run(cables: Network, small_calibration: Path, tmp_path: Path) -> Iterator[FarRun]:
    KeyStore(tmp_path / "keys").new_client("desk", Role.OPERATOR)
    rig = small_rig(keys="keys", microscope__pace="real_time")
    rig["ports"] |= {"host": address("rig"), "hosts": {name: address(name) for name in FAR}}
    made = FarRun(cables, tmp_path, write_rig(tmp_path, rig), FAR)
    try:
        made.start("--calibration", small_calibration, "--protocol", "spike_triggered")
        yield made
    finally:
        made.close()


def delivered(status: dict[str, dict[str, int]]) -> int:
    return status["stim"].get("delivered", 0)


@pytest.mark.timeout(1800)
def test_a_cut_between_engine_and_light_is_dark_and_heals_without_a_restart(run: FarRun) -> None:
    lit = delivered(run.until("light", lambda status: status["interlock"] == "armed" and delivered(status) > 2))
    cut_ns = time.perf_counter_ns()
    run.network.cut("inference", "stimulation")
    dark_by_ns = time.perf_counter_ns() + BOUND_NS + LOOKS_NS
    run.until("the trip", lambda status: status["interlock"] == "tripped")
    run.network.heal("inference", "stimulation")
    healed_ns = time.perf_counter_ns()
    run.until("the reset", lambda status: run.ctl("reset", "the cable is back") is not None)
    run.until("arming", lambda status: run.ctl("arm", "test") is not None)
    armed_ns = time.perf_counter_ns()
    run.until("light again", lambda status: delivered(status) > lit + 2)
    assert run.ctl("stop") is not None
    assert run.wait() == 0, run.said()

    session = open_session(run.session)  # in the clock of the rig's computer, which is that of this test
    stim = [message.header for message in session.messages("stim")]
    commands = sorted(
        one.t_command_ns
        for one in stim
        if isinstance(one, StimHeader) and one.phase is Phase.DONE and one.outcome is Outcome.DELIVERED
    )
    assert any(t_ns < cut_ns for t_ns in commands)
    assert [t_ns for t_ns in commands if cut_ns + BOUND_NS < t_ns < healed_ns] == []
    assert [t_ns for t_ns in commands if t_ns > armed_ns]
    states = [message.header for message in session.messages("state")]
    trips = [trip for state in states if isinstance(state, StateHeader) for trip in state.trips]
    assert {trip["signal"] for trip in trips} == {"engine_heartbeat"}
    assert trips[0]["limit"] == BOUND_NS / NS_PER_MS
    widest_ns = max(one.header.uncertainty_ns for one in session.messages("clock"))  # type: ignore[attr-defined]
    assert cut_ns < trips[0]["t_ns"] < dark_by_ns + widest_ns
    assert 0 < trips[0]["dark_after_ns"] < LOOKS_NS, "from the moment at which the bound was over"
    logs = " ".join(message.header.text for message in session.messages("log"))
    assert "interlock reset: the cable is back" in logs
    assert "stimulation runs on" in logs
    assert min(clocks_heard(session).values()) > 10
    assert (run.session / "stim_000.wal").is_file()
    assert recover(run.session) is not None


def clocks_heard(session: Any) -> dict[str, int]:
    """How often each clock was told, never further from the truth than its uncertainty."""
    seen = dict.fromkeys(map(address, FAR), 0)
    for message in session.messages("clock"):
        header = message.header
        assert isinstance(header, ClockHeader)
        host = next(name for name in FAR if address(name) == header.peer)
        assert abs(header.offset_ns - true_offset_ns(host)) <= header.uncertainty_ns
        seen[header.peer] += 1
    return seen


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("link", LINKS)
def test_over_a_bad_link_no_light_follows_an_old_decision_and_it_heals(run: FarRun, link: str) -> None:
    lit = delivered(run.until("light", lambda status: status["interlock"] == "armed" and delivered(status) > 2))
    worse_ns = time.perf_counter_ns()
    LINKS[link](run.network)
    frames = run.until("status", lambda status: True)["frames"]
    run.until("frames", lambda status: status["frames"] > frames + 300)
    run.network.mend("stimulation")
    healed_ns = time.perf_counter_ns()
    before = run.until("status", lambda status: True)

    def lit_again(status: dict[str, Any]) -> bool:
        # What is shown may be of before, for it came over that link too.
        if status["interlock"] == "tripped":
            run.ctl("reset", "the link is whole")
        elif status["interlock"] == "disarmed":
            run.ctl("arm", "test")
        return bool(delivered(status) > lit + 2)

    after = run.until("light again", lit_again)
    assert after["pids"] == before["pids"]
    assert run.ctl("stop") is not None
    assert run.wait() == 0, run.said()

    session = open_session(run.session)
    done = [one.header for one in session.messages("stim") if one.header.phase is Phase.DONE]  # type: ignore[attr-defined]
    meanwhile = [one for one in done if worse_ns < one.t_decided_ns < healed_ns]
    outcomes = Counter(str(one.outcome) for one in meanwhile)
    states = [message.header for message in session.messages("state")]
    signals = {trip["signal"] for state in states if isinstance(state, StateHeader) for trip in state.trips}
    print(f"{link}: trips {sorted(signals)}, {dict(outcomes)}")
    lit_ages_ns = [one.t_command_ns - one.t_scan_ns for one in done if one.outcome is Outcome.DELIVERED]
    assert lit_ages_ns
    assert max(lit_ages_ns) <= MAX_AGE_NS
    assert min(clocks_heard(session).values()) > 10


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("one", "other"), [("stimulation", "rig"), ("acquisition", "inference")])
def test_every_other_cut_that_the_light_depends_on_is_dark_too_and_heals(run: FarRun, one: str, other: str) -> None:
    """From the recorder, which lives with the run: nothing would be kept. From the source: nothing is seen."""
    run.until("light", lambda status: status["interlock"] == "armed" and delivered(status) > 2)
    run.network.cut(one, other)
    cut_ns = time.perf_counter_ns()
    time.sleep(6 * BOUND_NS / NS_PER_S)
    healed_ns = time.perf_counter_ns()
    run.network.heal(one, other)
    run.until("the trip", lambda status: status["interlock"] == "tripped")
    run.until("the reset", lambda status: run.ctl("reset", "the cable is back") is not None)
    run.until("arming", lambda status: run.ctl("arm", "test") is not None)
    lit = delivered(run.until("status", lambda status: True))
    run.until("light again", lambda status: delivered(status) > lit + 2)
    assert run.ctl("stop") is not None
    assert run.wait() == 0, run.said()
    session = open_session(run.session)
    recover(run.session)
    states = [message.header for message in session.messages("state")]
    trips = [trip for state in states if isinstance(state, StateHeader) for trip in state.trips]
    print(f"{one} from {other}: {sorted({(trip['signal'], trip['limit']) for trip in trips})}")
    assert cut_ns < trips[0]["t_ns"] < healed_ns
    stim = [message.header for message in session.messages("stim")]
    lit_ns = [s.t_command_ns for s in stim if isinstance(s, StimHeader) and s.outcome is Outcome.DELIVERED]
    assert [t_ns for t_ns in lit_ns if trips[0]["t_ns"] < t_ns < healed_ns] == []


@pytest.mark.timeout(1800)
def test_a_computer_that_is_cut_off_for_a_while_is_said_and_comes_back(run: FarRun) -> None:
    run.until("light", lambda status: status["interlock"] == "armed" and delivered(status) > 0)
    run.network.cut("rig", "acquisition")
    run.until("the word", lambda status: f"no word from {address('acquisition')}" in run.said("run"))
    run.network.heal("rig", "acquisition")
    run.until("its return", lambda status: f"{address('acquisition')} (acquisition) is back" in run.said("run"))
    frames = run.until("status", lambda status: True)["frames"]
    run.until("frames", lambda status: status["frames"] > frames + 30)
    assert run.ctl("stop") is not None
    assert run.wait() == 0, run.said()

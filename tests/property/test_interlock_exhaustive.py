"""Every reachable state of the interlock, under every input: no path to light but the one through arming."""

from __future__ import annotations

from collections.abc import Callable

from safety_rig import IDLE_BOUND_NS, LIVE_BOUND_NS, MS, Rig, S

from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.safety.interlock import InterlockState, Precondition

MAX_REFUSED = 10
LIT = (InterlockState.ARMED, InterlockState.FIRING)
SETTABLE = (Precondition.OPERATOR, Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES)


def ask(rig: Rig, **changes) -> None:
    rig.interlock.request(rig.request(**changes))


def failing(rig: Rig, act: Callable[[Rig], None]) -> None:
    rig.outputs["led"].failing = True
    act(rig)
    rig.outputs["led"].failing = False


def disk_full(rig: Rig, act: Callable[[Rig], None]) -> None:
    rig.log.full = True
    act(rig)
    rig.log.full = False


def silence(rig: Rig, ns: int) -> None:
    rig.clock.step(ns)
    rig.interlock.tend(rig.clock.now_ns())


def expire(rig: Rig) -> None:
    rig.outputs["led"].expired = True
    rig.interlock.tend(rig.clock.now_ns())
    rig.outputs["led"].expired = False


def clock_back(rig: Rig) -> None:
    rig.clock.offset_ns -= 121 * MS
    rig.interlock.tend(rig.clock.now_ns())
    rig.clock.offset_ns += 121 * MS


def runaway(rig: Rig) -> None:
    for _ in range(MAX_REFUSED + 1):
        ask(rig, power_mw=25.0)


INPUTS: dict[str, Callable[[Rig], None]] = {
    **{f"{mode} heartbeat": lambda rig, mode=mode: rig.beat(mode) for mode in Mode},
    **{f"{name} holds": lambda rig, name=name: rig.interlock.set_precondition(name, True) for name in SETTABLE},
    **{f"{name} is lost": lambda rig, name=name: rig.interlock.set_precondition(name, False) for name in SETTABLE},
    "self-test": lambda rig: rig.interlock.self_test(),
    "self-test fails": lambda rig: failing(rig, lambda rig: rig.interlock.self_test()),
    "arm": lambda rig: rig.interlock.arm(),
    "arm automatically": lambda rig: rig.interlock.arm(automatic=True),
    "arm, output fails": lambda rig: failing(rig, lambda rig: rig.interlock.arm()),
    "arm, disk full": lambda rig: disk_full(rig, lambda rig: rig.interlock.arm()),
    "disarm": lambda rig: rig.interlock.disarm("asked"),
    "trip": lambda rig: rig.interlock.trip("operator", "stop", "", "stop button"),
    "reset": lambda rig: rig.interlock.reset("looked at it"),
    "reset without reason": lambda rig: rig.interlock.reset(" "),
    "tended": lambda rig: rig.interlock.tend(rig.clock.now_ns()),
    "watchdog expires": expire,
    "clock goes back": clock_back,
    "stop line opens": lambda rig: rig.interlock.stop_line(False, rig.clock.now_ns()),
    "stop line closes": lambda rig: rig.interlock.stop_line(True, rig.clock.now_ns()),
    "request for a train": lambda rig: ask(rig, pulses=3, period_ms=2000.0),
    "requests beyond a limit": runaway,
    "limits reloaded": lambda rig: rig.interlock.set_protocol_limits({"led": {"max_power_mw": 15.0}}),
    "template changed": lambda rig: rig.interlock.set_template("another"),
    "withheld request": lambda rig: ask(rig, withheld=True),
    "silence": lambda rig: silence(rig, LIVE_BOUND_NS + MS),
    "long silence": lambda rig: silence(rig, 11 * S),
    "unseen silence": lambda rig: rig.clock.step(LIVE_BOUND_NS + MS),
    "request": ask,
    "request, output fails": lambda rig: failing(rig, ask),
    "request, disk full": lambda rig: disk_full(rig, ask),
    "request from the future": lambda rig: ask(rig, t_scan_ns=rig.clock.now_ns() + MS),
}


def step(rig: Rig, name: str) -> None:
    rig.clock.step(120 * MS)
    try:
        INPUTS[name](rig)
    except SafetyError:
        rig.outputs["led"].failing = rig.log.full = False


def replay(path: tuple[str, ...]) -> Rig:
    rig = Rig(virtual=False, capacity=16, has_stop_line=True, max_refused_per_min=MAX_REFUSED)
    for name in path:
        step(rig, name)
    return rig


def signature(rig: Rig) -> tuple:
    """All that decides what happens next, apart from dose: state, preconditions, and how old the heartbeat is."""
    now_ns = rig.clock.now_ns()
    age_ns = 0 if rig.heartbeat.mode is None else rig.heartbeat.age_ns(now_ns)
    age = (age_ns > LIVE_BOUND_NS) + (age_ns > IDLE_BOUND_NS)
    lock = rig.interlock
    refused = sum(len(one._times_ns) > MAX_REFUSED for one in lock._refusals.values())
    return (lock.state, lock.inhibited, *sorted(lock._held.items()), rig.heartbeat.mode, age, refused > 0)


def test_light_needs_an_armed_interlock_all_preconditions_and_a_live_engine():
    seen = {signature(replay(())): ()}
    queue = list(seen.values())
    lit = 0
    while queue:
        path = queue.pop()
        for name in INPUTS:
            rig = replay(path)
            before, held, fired = rig.interlock.state, dict(rig.interlock.preconditions()), rig.n_fired
            n_fed = len(rig.outputs["led"].fed)
            rig.clock.step(120 * MS)
            fresh = rig.heartbeat.mode is Mode.LIVE and rig.heartbeat.age_ns(rig.clock.now_ns()) <= LIVE_BOUND_NS
            rig.clock.step(-120 * MS)
            step(rig, name)
            after = rig.interlock.state
            if rig.n_fired > fired:
                lit += 1
                assert before in LIT, (path, name)
                assert all(held.values()), (path, name)
                assert fresh, (path, name)
                assert name in ("request", "request for a train"), (path, name)
            elif name == "request" and before in LIT and fresh:
                assert rig.interlock.counts[Outcome.REFUSED] > 0, (path, name)
            if before is InterlockState.TRIPPED:
                assert after is InterlockState.TRIPPED or (name == "reset" and after is InterlockState.DISARMED)
            if after in LIT and before not in LIT:
                assert name == "arm", (path, name)
                assert all(rig.interlock.preconditions().values()), (path, name)
            if after is InterlockState.FIRING:
                assert before is InterlockState.FIRING or rig.n_fired > fired, (path, name)
            assert rig.outputs["led"].armed == (after in LIT and not rig.interlock.inhibited), (path, name)
            assert not rig.interlock.inhibited or after is InterlockState.ARMED, (path, name)
            if len(rig.outputs["led"].fed) > n_fed:
                assert after in LIT or name == "watchdog expires", (path, name)
                assert rig.heartbeat.fresh(rig.clock.now_ns()), (path, name)
            key = signature(rig)
            if key not in seen:
                seen[key] = (*path, name)
                queue.insert(0, seen[key])
    assert lit > 0
    assert {key[0] for key in seen} == set(InterlockState)
    assert any(key[1] for key in seen), "no state was inhibited"
    print(f"{len(seen)} states, {len(seen) * len(INPUTS)} transitions, {lit} of them lit")
    assert len(seen) > 100

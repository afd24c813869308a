"""Every reachable state of the interlock, under every input: no path to light but the one through arming."""

from __future__ import annotations

from collections.abc import Callable

from safety_rig import LIVE_BOUND_NS, MS, Rig, S

from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.safety.interlock import InterlockState, Precondition

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
    rig.interlock.check(rig.clock.now_ns())


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
    rig = Rig(virtual=False, capacity=16)
    for name in path:
        step(rig, name)
    return rig


def signature(rig: Rig) -> tuple:
    """All that decides what happens next, apart from dose: state, preconditions, and how old the heartbeat is."""
    now_ns = rig.clock.now_ns()
    age = 0 if rig.heartbeat.mode is None else min(rig.heartbeat.age_ns(now_ns), 12 * S) // LIVE_BOUND_NS
    return (rig.interlock.state, *sorted(rig.interlock._held.items()), rig.heartbeat.mode, age)


def test_light_needs_an_armed_interlock_all_preconditions_and_a_live_engine():
    seen = {signature(replay(())): ()}
    queue = list(seen.values())
    lit = 0
    while queue:
        path = queue.pop()
        for name in INPUTS:
            rig = replay(path)
            before, held, fired = rig.interlock.state, dict(rig.interlock.preconditions()), rig.n_fired
            rig.clock.step(120 * MS)
            fresh = rig.heartbeat.mode is Mode.LIVE and rig.heartbeat.age_ns(rig.clock.now_ns()) <= LIVE_BOUND_NS
            rig.clock.step(-120 * MS)
            step(rig, name)
            after = rig.interlock.state
            if rig.n_fired > fired:
                lit += 1
                assert before is InterlockState.ARMED, (path, name)
                assert all(held.values()), (path, name)
                assert fresh, (path, name)
                assert name == "request", (path, name)
            elif name == "request" and before is InterlockState.ARMED and fresh:
                assert rig.interlock.counts[Outcome.REFUSED] > 0, (path, name)
            if before is InterlockState.TRIPPED:
                assert after is InterlockState.TRIPPED or (name == "reset" and after is InterlockState.DISARMED)
            if after is InterlockState.ARMED and before is not InterlockState.ARMED:
                assert name == "arm", (path, name)
                assert all(rig.interlock.preconditions().values()), (path, name)
            assert rig.outputs["led"].armed == (after is InterlockState.ARMED), (path, name)
            key = signature(rig)
            if key not in seen:
                seen[key] = (*path, name)
                queue.insert(0, seen[key])
    assert lit > 0
    assert {key[0] for key in seen} == set(InterlockState)
    assert len(seen) > 100

"""What makes the interlock go dark, trip or pause, and what brings it back."""

from __future__ import annotations

import math

import pytest
from safety_rig import IDLE_BOUND_NS, LIVE_BOUND_NS, MS, Rig, S

from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.safety.interlock import Interlock, InterlockState, Precondition
from rt_engine.safety.wal import RecordKind
from rt_engine.safety.watchdog import live_silence_ns


def test_silence_of_a_live_engine_trips_and_a_paused_one_only_inhibits():
    rig = Rig().armed()
    rig.clock.step(LIVE_BOUND_NS)
    assert rig.interlock.check(rig.clock.now_ns()) is InterlockState.ARMED
    rig.beat(Mode.PAUSED)
    rig.clock.step(5 * S)
    assert rig.interlock.check(rig.clock.now_ns()) is InterlockState.ARMED
    decision = rig.interlock.request(rig.request())
    assert (decision.outcome, decision.reason) == (Outcome.REFUSED, "engine is paused; light is allowed in live")
    rig.beat()
    assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
    rig.clock.step(LIVE_BOUND_NS + 1)
    assert rig.interlock.check(rig.clock.now_ns()) is InterlockState.TRIPPED
    assert rig.interlock.trips[-1].signal == "engine_heartbeat"


def test_silence_of_a_paused_engine_trips_beyond_the_idle_bound():
    rig = Rig().armed()
    rig.beat(Mode.PAUSED)
    rig.clock.step(10 * S + 1)
    assert rig.interlock.check(rig.clock.now_ns()) is InterlockState.TRIPPED


def test_the_bound_of_silence_grows_with_the_frame_period():
    assert live_silence_ns(33 * MS) == 1 * S
    assert live_silence_ns(10 * S) == 100 * S


def test_a_clock_that_goes_backwards_trips():
    rig = Rig().armed()
    rig.interlock.check(rig.clock.now_ns())
    rig.clock.offset_ns -= 1
    assert rig.interlock.check(rig.clock.now_ns()) is InterlockState.TRIPPED
    assert rig.interlock.trips[-1].signal == "clock_ms"


def test_a_decision_is_not_blamed_for_a_clock_that_goes_backwards():
    rig = Rig().armed()
    rig.interlock.check(rig.clock.now_ns())
    request = rig.request()
    rig.clock.offset_ns -= 5 * S
    assert rig.interlock.request(request).outcome is Outcome.REFUSED
    assert rig.interlock.trips[0].signal == "clock_ms"
    assert rig.interlock.state is InterlockState.TRIPPED


def test_trips_latch_until_a_person_says_why():
    rig = Rig().armed()
    rig.interlock.trip("operator", "stop", "", "stop button")
    assert not rig.outputs["led"].armed
    with pytest.raises(SafetyError, match="stop button"):
        rig.interlock.arm()
    for reason in ("", "   "):
        with pytest.raises(SafetyError, match="reason"):
            rig.interlock.reset(reason)
    rig.interlock.reset("animal checked")
    assert rig.interlock.state is InterlockState.DISARMED
    with pytest.raises(SafetyError, match="operator, engine_heartbeat missing"):
        rig.interlock.arm()
    assert rig.log.records[-1] == (
        RecordKind.STATE,
        {"state": "reset", "reason": "animal checked", "t_ns": rig.clock.now_ns()},
    )


def test_a_storm_of_equal_trips_is_counted_and_logged_once():
    rig = Rig().armed()
    for _ in range(1000):
        rig.interlock.trip("hardware", "stop", "", "stop line")
    assert rig.interlock.n_trips == 1000
    assert len(rig.interlock.trips) == 1
    assert sum(kind is RecordKind.TRIP for kind, _ in rig.log.records) == 1


def test_a_restarted_service_comes_up_tripped():
    rig = Rig(restarted=True)
    assert rig.interlock.state is InterlockState.TRIPPED
    with pytest.raises(SafetyError, match="restarted"):
        rig.interlock.arm(automatic=True)


def test_a_real_output_is_never_armed_automatically():
    rig = Rig(virtual=False).armed()
    rig.interlock.disarm("pause")
    with pytest.raises(SafetyError, match="never armed automatically"):
        rig.interlock.arm(automatic=True)
    virtual = Rig().armed()
    virtual.interlock.disarm("pause")
    virtual.interlock.arm(automatic=True)
    assert virtual.interlock.state is InterlockState.ARMED


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (Precondition.RECORDING_LIVE, InterlockState.TRIPPED),
        (Precondition.CALIBRATION_MATCHES, InterlockState.DISARMED),
        (Precondition.OPERATOR, InterlockState.DISARMED),
    ],
)
def test_losing_a_precondition_ends_light(name, state):
    rig = Rig().armed()
    rig.interlock.set_precondition(name, False)
    assert rig.interlock.state is state
    assert not rig.outputs["led"].armed
    with pytest.raises(SafetyError):
        rig.interlock.set_precondition(Precondition.OUTPUTS_TESTED, True)


def test_an_output_that_fails_trips_and_needs_a_new_self_test():
    rig = Rig().armed()
    rig.outputs["led"].failing = True
    assert rig.interlock.request(rig.request()).outcome is Outcome.FAILED
    assert rig.interlock.state is InterlockState.TRIPPED
    assert not rig.interlock.preconditions()["outputs_tested"]
    assert rig.log.records[-1][1]["outcome"] == "failed"


def test_all_outputs_go_dark_also_when_one_of_them_raises_what_nobody_expects():
    rig = Rig(outputs=("laser", "led")).armed()
    rig.outputs["led"].fire = lambda command: 1 // 0
    rig.outputs["led"].safe_state = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        rig.interlock.request(rig.request())
    assert rig.interlock.state is InterlockState.TRIPPED
    assert not rig.outputs["laser"].armed


def test_maintenance_that_fails_trips():
    rig = Rig().armed()
    rig.interlock.maintain()
    assert rig.interlock.state is InterlockState.ARMED
    rig.log.full = True
    rig.interlock.maintain()
    assert rig.interlock.state is InterlockState.TRIPPED


def test_watchdogs_are_fed_only_while_armed_with_a_fresh_heartbeat_and_no_pause():
    rig = Rig(outputs=("led", "laser"))
    fed = rig.outputs["laser"].fed

    def tended():
        before = len(fed)
        rig.interlock.tend(rig.clock.now_ns())
        return len(fed) > before

    assert not tended()
    rig.armed()
    assert tended()
    assert fed[-1] == rig.clock.now_ns()
    rig.clock.step(LIVE_BOUND_NS)
    assert tended()
    rig.beat(Mode.PAUSED)
    assert not tended()
    rig.beat()
    assert tended()
    rig.clock.step(LIVE_BOUND_NS + 1)
    assert not tended()
    assert rig.interlock.state is InterlockState.TRIPPED
    rig.interlock.reset("looked at it")
    rig.beat()
    assert not tended()


def test_an_expired_watchdog_trips_and_asks_for_another_self_test():
    rig = Rig(outputs=("led", "laser")).armed()
    rig.outputs["laser"].expired = True
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.TRIPPED
    trip = rig.interlock.trips[-1]
    assert (trip.signal, trip.value) == ("output", "laser")
    assert not rig.outputs["led"].armed
    assert not rig.interlock.preconditions()["outputs_tested"]


def test_a_pause_makes_the_outputs_dark_without_a_trip_and_they_come_back_by_themselves():
    rig = Rig().armed()
    rig.beat(Mode.PAUSED)
    rig.interlock.tend(rig.clock.now_ns())
    assert rig.interlock.inhibited
    assert (rig.interlock.state, rig.outputs["led"].armed) == (InterlockState.ARMED, False)
    rig.clock.step(9 * S)
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.ARMED
    rig.beat()
    assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
    assert not rig.interlock.inhibited
    rig.beat(Mode.PAUSED)
    rig.clock.step(IDLE_BOUND_NS + 1)
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.TRIPPED
    assert rig.interlock.trips[-1].signal == "engine_heartbeat"


def test_an_output_that_does_not_come_back_after_a_pause_trips():
    rig = Rig().armed()
    rig.beat(Mode.PAUSED)
    rig.interlock.tend(rig.clock.now_ns())
    rig.outputs["led"].failing = True
    rig.beat()
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.TRIPPED


def test_arming_during_a_pause_waits_for_its_end():
    rig = Rig()
    rig.armed(Mode.PAUSED)
    assert (rig.interlock.state, rig.outputs["led"].armed) == (InterlockState.ARMED, False)
    rig.beat()
    rig.interlock.tend(rig.clock.now_ns())
    assert rig.outputs["led"].armed


def test_an_open_stop_line_trips_at_once_and_keeps_from_arming():
    rig = Rig(has_stop_line=True)
    with pytest.raises(SafetyError, match="stop_line_closed missing"):
        rig.armed()
    rig.interlock.stop_line(True, rig.clock.now_ns())
    rig.armed()
    t_edge_ns = rig.clock.now_ns()
    rig.clock.step(3 * MS)
    rig.interlock.stop_line(False, t_edge_ns, "red button")
    trip = rig.interlock.trips[-1]
    assert (trip.signal, trip.value, trip.limit) == ("stop_line", "open", "closed")
    assert trip.dark_after_ns == 3 * MS
    assert not rig.outputs["led"].armed
    rig.interlock.reset("looked at it")
    rig.beat()
    with pytest.raises(SafetyError, match="stop_line_closed"):
        rig.armed()
    rig.interlock.stop_line(True, rig.clock.now_ns())
    assert rig.interlock.state is InterlockState.DISARMED
    rig.armed()


@pytest.mark.parametrize(("rate_hz", "bound_s"), [(30.0, 1.0), (5.0, 2.0), (0.1, 100.0)])
def test_the_silence_that_is_borne_scales_with_the_frame_period(rate_hz, bound_s):
    rig = Rig().armed()
    rig.heartbeat.set_live_bound(live_silence_ns(round(S / rate_hz)))
    rig.clock.step(round(bound_s * S))
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.ARMED
    rig.clock.step(1)
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.TRIPPED


@pytest.mark.parametrize("watchdog_ms", [100.1, math.inf, 0.0, math.nan])
def test_a_real_output_without_a_short_watchdog_gets_no_interlock_and_a_virtual_one_may_be_lax(watchdog_ms):
    rig = Rig(virtual=False)
    for is_virtual in (True, False):
        rig.outputs["led"].is_virtual, rig.outputs["led"].watchdog_ms = is_virtual, watchdog_ms
        parts = (rig.limits, rig.outputs, rig.clock, rig.ledger, rig.log, rig.heartbeat)
        if is_virtual:
            assert Interlock(*parts).all_virtual
        else:
            with pytest.raises(SafetyError, match="led: watchdog_ms"):
                Interlock(*parts)

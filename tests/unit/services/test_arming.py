"""A run whose outputs are virtual arms by itself, or goes on dark where a person must act first."""

from __future__ import annotations

from typing import Any

import pytest
from safety_rig import FakeClock, Rig, S

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import ServiceError
from rt_engine.safety.states import Precondition
from rt_engine.services.arming import arm_or_say_why


class Interlock:
    """Answers as the stimulation service does; `after` turns of a second each, `missing` is all there."""

    def __init__(self, missing: set[str], after: int = 10**6, state: str = "disarmed") -> None:
        self.missing, self.after, self.state, self.turns, self.armed = missing, after, state, 0, False

    def now_ns(self) -> int:
        return self.turns * NS_PER_S

    def turn(self) -> None:
        self.turns += 1

    def ask(self, cmd: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        if cmd == "arm":
            assert args == {"automatic": True}
            self.armed = True
            return {}
        missing = self.missing if self.turns < self.after else set()
        held = {one.value: one.value not in missing and one is not Precondition.OPERATOR for one in Precondition}
        return {"can_arm": not missing and self.state == "disarmed", "preconditions": held, "interlock": self.state}


def arm(interlock: Interlock) -> str | None:
    return arm_or_say_why(interlock.ask, interlock.turn, interlock, 20.0)


def test_it_is_armed_as_soon_as_nothing_is_missing() -> None:
    interlock = Interlock({"engine_heartbeat", "stop_line_closed"}, after=7)
    assert arm(interlock) is None
    assert (interlock.armed, interlock.turns) == (True, 7)


def test_an_open_stop_line_alone_lets_the_run_go_on_dark_and_says_what_to_do() -> None:
    interlock = Interlock({"stop_line_closed"})
    assert arm(interlock) == "release the stop button; if it is released, look at its wiring and its input"
    assert not interlock.armed
    assert interlock.turns < 5


def test_a_stop_line_that_is_merely_read_late_is_waited_for() -> None:
    interlock = Interlock({"stop_line_closed"}, after=1)
    assert arm(interlock) is None


def test_a_trip_before_arming_is_told_and_the_run_goes_on() -> None:
    interlock = Interlock(set(), state="tripped")
    assert "spikeloop ctl reset" in str(arm(interlock))
    assert not interlock.armed


def test_what_no_person_can_mend_ends_the_run_after_a_while() -> None:
    interlock = Interlock({"recording_live", "stop_line_closed"})
    with pytest.raises(ServiceError, match="waited 20 s for the interlock; missing: recording_live, stop_line_closed"):
        arm(interlock)


def test_what_a_real_interlock_lacks_is_named_with_its_remedy() -> None:
    lock, clock = Rig().interlock, FakeClock()
    lock.self_test()

    def ask(cmd: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"can_arm": False, "interlock": lock.state.value, "preconditions": lock.preconditions()}

    with pytest.raises(ServiceError) as error:
        arm_or_say_why(ask, lambda: clock.step(S), clock, 20.0)
    told = str(error.value)
    assert "missing: recording_live, engine_heartbeat, calibration_matches" in told
    assert "start the microscope" in told
    assert "operator" not in told

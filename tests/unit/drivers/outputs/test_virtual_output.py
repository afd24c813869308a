"""The virtual output says on the wire what it was commanded, and nothing unless armed by the interlock."""

from __future__ import annotations

import msgspec
import pytest
from safety_rig import MS, FakeClock, Rig

from drivers.outputs.virtual import VirtualOutput
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.messages import Header, LightHeader, Mode, Outcome
from rt_engine.safety.interlock import InterlockState


@pytest.fixture
def rig():
    rig = Rig(FakeClock())
    rig.light = []
    rig.outputs["led"] = VirtualOutput("led", rig.clock, rig.light.append, watchdog_ms=100.0)
    rig.interlock._outputs["led"] = rig.outputs["led"]
    return rig


def turn(rig, ms):
    """The decision loop for so long, five milliseconds a turn, with a live engine."""
    for _ in range(ms // 5):
        rig.clock.step(5 * MS)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())


def test_it_is_an_output_whose_fields_are_those_of_a_light_message(rig):
    assert isinstance(rig.outputs["led"], Output)
    rig.armed()
    request = rig.request(pulses=3, period_ms=200.0, targets_yx_px=((1.0, 2.0), (30.0, 40.0)))
    decision = rig.interlock.request(request)
    assert decision.outcome is Outcome.DELIVERED
    turn(rig, 410)
    own = {f.name for f in msgspec.structs.fields(LightHeader)} - {f.name for f in msgspec.structs.fields(Header)}
    assert all(set(one) == own for one in rig.light)
    assert [one["t_on_ns"] - decision.t_command_ns for one in rig.light] == [0, 200_000_000, 400_000_000]
    assert rig.light[0]["power_uw"] == [8000, 8000]
    assert rig.light[0]["targets_yx_px"] == [[1.0, 2.0], [30.0, 40.0]]
    assert rig.outputs["led"].pulses == 3


def test_it_fires_only_when_armed_only_its_own_commands_and_each_once(rig):
    rig.armed()
    kept = []
    fire = rig.outputs["led"].fire
    rig.outputs["led"].fire = lambda command: (kept.append(command), fire(command))[1]
    rig.interlock.request(rig.request())
    with pytest.raises(DeviceError, match="fired before"):
        fire(kept[0])
    other = VirtualOutput("laser", rig.clock, rig.light.append, watchdog_ms=100.0)
    other.open()
    other.arm()
    with pytest.raises(DeviceError, match="output led"):
        other.fire(kept[0])
    for make_dark in (rig.outputs["led"].safe_state, rig.outputs["led"].close):
        make_dark()
        make_dark()
        with pytest.raises(DeviceError, match="not armed"):
            fire(kept[0])
    with pytest.raises(DeviceError, match="not open"):
        rig.outputs["led"].arm()
    with pytest.raises(DeviceError, match="PulseCommand"):
        fire("light!")
    assert len(rig.light) == 1


@pytest.mark.parametrize("end", ["trip", "disarm", "pause"])
def test_the_rest_of_a_train_is_recalled(rig, end):
    rig.armed()
    decision = rig.interlock.request(rig.request(pulses=5, period_ms=150.0))
    turn(rig, 310)
    assert len(rig.light) == 3
    if end == "trip":
        rig.interlock.trip("command", "trip", "-", "stop")
    elif end == "disarm":
        rig.interlock.disarm("asked")
    else:
        rig.beat(Mode.PAUSED)
        rig.interlock.tend(rig.clock.now_ns())
    turn(rig, 1000)
    assert len(rig.light) == 3
    assert rig.interlock.take_cut_trains() == [(decision.decision_id, 3)]
    assert rig.interlock.take_cut_trains() == []


def test_a_whole_train_is_not_told_as_cut(rig):
    rig.armed()
    rig.interlock.request(rig.request(pulses=3, period_ms=150.0))
    turn(rig, 400)
    rig.interlock.disarm("asked")
    assert (len(rig.light), rig.interlock.take_cut_trains()) == (3, [])
    assert rig.outputs["led"].next_due_ns is None


@pytest.mark.parametrize("stall_ms", [101, 5000])
def test_a_loop_that_stalls_longer_than_the_watchdog_gets_no_light_out_afterwards(rig, stall_ms):
    rig.armed()
    rig.interlock.request(rig.request(pulses=5, period_ms=150.0))
    rig.clock.step(stall_ms * MS)
    rig.beat()
    again = rig.interlock.request(rig.request(targets_yx_px=((90.0, 90.0),)))
    rig.interlock.tend(rig.clock.now_ns())
    assert again.outcome in (Outcome.REFUSED, Outcome.FAILED)
    assert rig.interlock.state is InterlockState.TRIPPED
    assert len(rig.light) == 1
    assert "watchdog expired" in rig.interlock.trips[-1].text


def test_a_pulse_of_a_train_that_would_be_late_is_left_out(rig):
    rig.armed()
    rig.interlock.request(rig.request(pulses=3, period_ms=150.0))
    turn(rig, 140)
    rig.clock.step(21 * MS)
    turn(rig, 200)
    first, last = rig.light
    assert last["t_on_ns"] - first["t_on_ns"] == 300 * MS
    assert [cut.emitted for cut in rig.interlock.take_cut_trains()] == [2]

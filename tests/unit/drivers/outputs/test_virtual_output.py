"""The virtual output says on the wire what it was commanded, and nothing unless armed by the interlock."""

from __future__ import annotations

import msgspec
import pytest
from safety_rig import FakeClock, Rig

from drivers.outputs.virtual import VirtualOutput
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.messages import Header, LightHeader, Outcome


@pytest.fixture
def rig():
    rig = Rig(FakeClock())
    rig.light = []
    rig.outputs["led"] = VirtualOutput("led", rig.clock, rig.light.append)
    rig.interlock._outputs["led"] = rig.outputs["led"]
    return rig


def test_it_is_an_output_whose_fields_are_those_of_a_light_message(rig):
    assert isinstance(rig.outputs["led"], Output)
    rig.armed()
    request = rig.request(pulses=3, period_ms=200.0, targets_yx_px=((1.0, 2.0), (30.0, 40.0)))
    decision = rig.interlock.request(request)
    assert decision.outcome is Outcome.DELIVERED
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
    other = VirtualOutput("laser", rig.clock, rig.light.append)
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

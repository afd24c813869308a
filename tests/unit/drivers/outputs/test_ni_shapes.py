"""What an NI output has prepared is not prepared again, and little is kept."""

from __future__ import annotations

import pytest
from ni_rig import EDGE, ni_rig
from safety_rig import MS

from rt_engine.interfaces.messages import Outcome

KINDS = ["gate", "analog", "counter"]


@pytest.mark.parametrize("trigger", [None, EDGE], ids=["call", "edge"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_train_of_the_same_shape_is_one_call_to_the_driver(kind, trigger):
    with ni_rig(kind=kind, trigger=trigger) as rig:
        rig.armed()
        rig.interlock.request(rig.request())
        rig.turn(300)
        before = dict(rig.servicer.calls)
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
        made = {name: n - before.get(name, 0) for name, n in rig.servicer.calls.items() if n != before.get(name, 0)}
        assert made == ({"StartTask": 1} if trigger is None else {"WriteDigitalLines": 1})
        rig.turn(100)
        assert len(rig.light()) == 4


def calls_since(rig, before):
    return {name: n - before.get(name, 0) for name, n in rig.servicer.calls.items() if n != before.get(name, 0)}


@pytest.mark.parametrize("shutter", [None, {"counter": "ctr2", "lead_ms": 2.0, "lag_ms": 1.0}], ids=["bare", "shutter"])
@pytest.mark.parametrize("trigger", [None, EDGE], ids=["call", "edge"])
def test_another_power_of_the_same_shape_is_one_write_more(trigger, shutter):
    with ni_rig(trigger=trigger, shutter=shutter) as rig:
        rig.armed()
        for i, power_mw in enumerate((4.0, 12.0, 4.0, 20.0)):
            before = dict(rig.servicer.calls)
            assert rig.interlock.request(rig.request(power_mw=power_mw)).outcome is Outcome.DELIVERED
            made = calls_since(rig, before)
            rig.turn(300)
            light = rig.light()
            assert [level for _, level in light[2 * i :]] == [{4.0: 1.0, 12.0: 1.5, 20.0: 2.0}[power_mw], 0.0]
            assert light[-1][0] - light[-2][0] == 5 * MS
            if i == 0:
                continue
            fired = {"WriteAnalogF64": 1} | ({"StartTask": 1} if trigger is None else {"WriteDigitalLines": 1})
            waits = {"StopTask": 1, "StartTask": 1} if trigger is not None or shutter is not None else {}
            assert made == {name: fired.get(name, 0) + waits.get(name, 0) for name in fired | waits}


@pytest.mark.parametrize("trigger", [None, EDGE], ids=["call", "edge"])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_that_were_fired_before_are_not_made_again_and_few_are_kept(kind, trigger):
    with ni_rig(kind=kind, trigger=trigger) as rig:
        rig.armed()

        def fire(width_us):
            before, lit = dict(rig.servicer.calls), len(rig.light())
            assert rig.interlock.request(rig.request(width_ms=width_us / 1000)).outcome is Outcome.DELIVERED
            made = calls_since(rig, before)
            rig.turn(300)
            (rise, _), (fall, _) = rig.light()[lit:]
            assert fall - rise == width_us * 1000
            return made

        for width_us in range(1000, 9000, 1000):
            assert fire(width_us)["CreateTask"] == 1
        again = fire(1000)
        assert "CreateTask" not in again
        assert sum(again.values()) <= 4
        for width_us in (1500, 2500, 3500):
            fire(width_us)
        assert sum(name.startswith("spikeloop-led-pulse") for name in rig.card.tasks) == 8
        rig.interlock.trip("command", "trip", "-", "stop")
        rig.interlock.reset("looked at it")
        rig.armed()
        assert "CreateTask" not in fire(3500)

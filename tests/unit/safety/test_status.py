"""What people are told about the interlock is what the ledger and the latch hold."""

from __future__ import annotations

import msgpack
import pytest
from safety_rig import LIVE_BOUND_NS, MS, Rig, S

from rt_engine.interfaces.messages import Mode
from rt_engine.safety.interlock import Precondition


def test_each_missing_precondition_comes_with_what_to_do():
    rig = Rig(has_stop_line=True)
    told = rig.interlock.snapshot()
    assert set(told["remedies"]) == {name for name, ok in told["preconditions"].items() if not ok}
    assert set(told["remedies"]) == {name.value for name in Precondition}
    rig.interlock.stop_line(True, rig.clock.now_ns())
    rig.armed()
    assert rig.interlock.snapshot()["remedies"] == {}


def test_a_trip_tells_signal_value_limit_time_how_soon_it_was_dark_and_the_way_back():
    rig = Rig().armed()
    rig.clock.step(3 * MS)
    t_cause_ns = rig.clock.now_ns()
    rig.clock.step(2 * MS)
    rig.interlock.trip("stop_line", "open", "closed", "the stop line opened", t_cause_ns=t_cause_ns)
    told = rig.interlock.snapshot()
    trip = {"signal": "stop_line", "value": "open", "limit": "closed", "text": "the stop line opened"}
    assert told["trips"] == [trip | {"t_ns": t_cause_ns + 2 * MS, "dark_after_ns": 2 * MS}]
    assert "ctl reset" in told["remedies"]["reset"]


def test_the_heartbeat_is_told_with_its_age_and_bound():
    rig = Rig()
    assert rig.interlock.snapshot()["heartbeat"]["mode"] is None
    rig.beat(Mode.LIVE)
    rig.clock.step(7 * MS)
    assert rig.interlock.snapshot()["heartbeat"] == {"mode": "live", "age_ms": 7, "bound_ms": LIVE_BOUND_NS / MS}


def test_use_of_the_limits_is_told_as_fractions_by_output_and_by_target():
    rig = Rig(outputs=("led", "laser"), max_energy_per_target_mj=0.5, max_total_energy_mj=2.0).armed()
    targets = ((50.0, 50.0), (90.0, 10.0))
    for pulse in range(5):
        rig.beat()
        rig.interlock.request(rig.request(power_mw=10.0, width_ms=10.0, targets_yx_px=targets[: 1 + (pulse == 0)]))
        rig.clock.step(150 * MS)
    dose = rig.interlock.snapshot()["dose"]
    assert dose["led"]["fractions"] == pytest.approx(
        {"total_energy": 0.6 / 2.0, "energy_per_target": 0.5 / 0.5, "duty": 0.05 / 0.5, "rate": 5 / 10}
    )
    assert set(dose["laser"]["fractions"].values()) == {0}
    first, second = dose["led"]["targets"]
    assert first == pytest.approx({"y_px": 50.0, "x_px": 50.0, "energy_mj": 0.5, "fraction": 1.0})
    assert second == pytest.approx({"y_px": 90.0, "x_px": 10.0, "energy_mj": 0.1, "fraction": 0.2})
    rig.clock.step(70 * S)
    later = rig.interlock.snapshot()["dose"]["led"]
    assert (later["fractions"]["energy_per_target"], later["fractions"]["rate"]) == (0, 0)
    assert later["fractions"]["total_energy"] == pytest.approx(0.3)


def test_all_that_is_told_travels_as_messagepack():
    rig = Rig().armed()
    rig.interlock.request(rig.request())
    rig.interlock.trip("command", 1, 0, "stop")
    assert msgpack.unpackb(msgpack.packb(rig.interlock.snapshot())) == rig.interlock.snapshot()

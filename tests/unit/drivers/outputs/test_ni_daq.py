"""An NI output, by the official client against a simulated card: what leaves it is what the interlock allowed."""

from __future__ import annotations

import re

import pytest
from ni_rig import EDGE, ENABLE, NiRig, ni_rig, settings
from safety_rig import MS, FakeClock

from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.ni_shape import Shape
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.devices import Output, TellsVersions
from rt_engine.interfaces.errors import DeviceError, SafetyError
from rt_engine.interfaces.messages import Outcome
from rt_engine.safety.interlock import InterlockState

KINDS = ["gate", "analog", "counter"]
LEVEL = {"gate": 1.0, "analog": 1.25, "counter": 1.0}
"""8 mW lies a quarter of the way from 4 mW at 1 V to 20 mW at 2 V."""


@pytest.mark.parametrize("trigger", [None, EDGE], ids=["call", "edge"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_light_is_the_train_that_was_judged(kind, trigger):
    with ni_rig(kind=kind, trigger=trigger) as rig:
        assert isinstance(rig.output, Output)
        rig.armed()
        assert rig.light() == []
        decision = rig.interlock.request(rig.request(pulses=3, period_ms=200.0, width_ms=5.0))
        assert decision.outcome is Outcome.DELIVERED
        rig.turn(420)
        light = rig.light()
        rises = [t for t, level in light if level > 0]
        assert [level for _, level in light] == [LEVEL[kind], 0.0] * 3
        assert [fall - rise for (rise, _), (fall, _) in zip(light[::2], light[1::2], strict=True)] == [5 * MS] * 3
        assert [rise - rises[0] for rise in rises] == [0, 200 * MS, 400 * MS]
        assert 0 <= rises[0] - decision.t_command_ns < MS
        assert [one["t_on_ns"] - decision.t_command_ns for one in rig.emitted] == [0, 200 * MS, 400 * MS]
        assert rig.card.signal(rig.channel).steps()[-1][1] == 0.0
        assert rig.output.cut_trains() == ()


def test_driver_and_card_are_told_once_it_is_open():
    with ni_rig() as rig:
        assert isinstance(rig.output, TellsVersions)
        rig.armed()
        told = rig.output.versions
        assert set(told) == {"NI-DAQmx", "Dev1"}
        assert re.fullmatch(r"20\d\d\.\d+\.\d+ at \S+:\d+", told["NI-DAQmx"])
        assert re.fullmatch(r".+, serial [0-9A-F]+", told["Dev1"])


def test_another_power_is_another_voltage_and_none_is_extrapolated():
    with ni_rig(kind="analog") as rig:
        rig.armed()
        for power_mw, volts in ((2.0, 0.5), (4.0, 1.0), (12.0, 1.5), (20.0, 2.0)):
            before = len(rig.light())
            rig.interlock.request(rig.request(power_mw=power_mw))
            rig.turn(300)
            assert rig.light()[before][1] == pytest.approx(volts)
    with ni_rig(
        kind="analog", pulse__power={"date": "2026-11-29", "person": "t", "volts": [1, 2], "power_mw": [4, 6]}
    ) as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request(power_mw=8.0))
        assert decision.outcome is Outcome.FAILED
        assert "calibration" in decision.reason
        assert rig.light() == []


def test_a_beam_that_is_divided_carries_the_power_of_all_targets_up_to_its_limit():
    with ni_rig(kind="analog", splits_beam=True) as rig:
        rig.armed()
        rig.interlock.request(rig.request(power_mw=6.0, targets_yx_px=((1.0, 1.0), (90.0, 90.0))))
        rig.turn(300)
        assert rig.light()[0][1] == pytest.approx(1.5)
        targets = ((1.0, 1.0), (90.0, 90.0), (200.0, 200.0), (300.0, 300.0))
        decision = rig.interlock.request(rig.request(power_mw=6.0, targets_yx_px=targets))
        assert decision.outcome is Outcome.FAILED
        assert "beam" in decision.reason


def test_a_gated_source_fires_only_the_power_it_has():
    with ni_rig(kind="gate") as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request(power_mw=4.0))
        assert decision.outcome is Outcome.FAILED
        assert "8.0 mW" in decision.reason
        assert rig.light() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_trip_in_the_middle_of_a_pulse_is_dark_at_once_and_stays_dark(kind):
    with ni_rig(kind=kind) as rig:
        rig.armed()
        rig.interlock.request(rig.request(pulses=3, period_ms=200.0, width_ms=10.0))
        rig.turn(200)
        rig.clock.step(3 * MS)
        t_ns = rig.clock.now_ns()
        rig.interlock.trip("command", "trip", "-", "stop")
        assert rig.light()[-1] == (t_ns, 0.0)
        rig.clock.step(1000 * MS)
        assert rig.light()[-1] == (t_ns, 0.0)
        assert rig.card.signal(rig.channel).at(rig.clock.now_ns()) == 0.0
        assert [one.emitted for one in rig.interlock.take_cut_trains()] == [2]
        assert rig.output.self_test()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_stands_still_in_the_middle_of_a_pulse_is_dark_within_the_watchdog(kind):
    with ni_rig(kind=kind, bounds={"max_width_ms": 500.0, "max_duty": 1.0}) as rig:
        rig.armed()
        fed_ns = rig.clock.now_ns()
        assert (
            rig.interlock.request(rig.request(pulses=2, period_ms=800.0, width_ms=400.0)).outcome is Outcome.DELIVERED
        )
        rig.turn(5000, alive=False)
        assert [t for t, level in rig.light() if level == 0] == [fed_ns + 50 * MS]
        assert rig.card.signal(ENABLE).steps()[-1] == (fed_ns + 50 * MS, 0.0)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        assert rig.interlock.state is InterlockState.TRIPPED
        assert "feed it" in rig.interlock.trips[-1].text


def test_a_pulse_that_the_closed_enable_line_would_swallow_is_no_delivery():
    with ni_rig() as rig:
        rig.armed()
        rig.turn(60, alive=False)
        rig.beat()
        decision = rig.interlock.request(rig.request())
        assert decision.outcome is Outcome.FAILED
        assert "its watchdog expired: not fed for 60 ms" in decision.reason
        assert rig.light() == rig.card.signal("ao0").steps() == []
    with ni_rig() as rig:
        rig.armed()
        begin = rig.output._pulse.begin
        rig.output._pulse.begin = lambda: (rig.clock.step(70 * MS), begin())
        decision = rig.interlock.request(rig.request())
        assert decision.outcome is Outcome.FAILED
        assert rig.light() == []


@pytest.mark.parametrize("trigger", [None, EDGE], ids=["call", "edge"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_card_that_is_slow_to_be_primed_starts_no_train_that_has_become_too_old(kind, trigger):
    with ni_rig(kind=kind, trigger=trigger) as rig:
        rig.armed()
        prime = rig.output._pulse.prime
        rig.output._pulse.prime = lambda shape: (prime(shape), rig.clock.step(45 * MS))
        decision = rig.interlock.request(rig.request(t_scan_ns=rig.clock.now_ns() - 40 * MS))
        assert decision.outcome is Outcome.LATE
        assert decision.reason == "decision_age_ms 85 is beyond its limit 50"
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        rig.turn(300)
        assert rig.light() == rig.card.signal(rig.channel).steps() == []
        assert rig.emitted == []
        assert rig.interlock.is_armed
        rig.output._pulse.prime = prime
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
        rig.turn(100)
        assert len(rig.light()) == 2


@pytest.mark.parametrize("meanwhile", ["trip", "disarm", "silence"])
def test_a_trip_a_disarming_or_an_expired_watchdog_while_the_card_is_primed_leaves_no_light(meanwhile):
    with ni_rig() as rig:
        rig.armed()
        prime = rig.output._pulse.prime
        happen = {
            "trip": lambda: rig.interlock.trip("command", "trip", "-", "stop"),
            "disarm": lambda: rig.interlock.disarm("stop"),
            "silence": lambda: rig.clock.step(51 * MS),
        }[meanwhile]
        rig.output._pulse.prime = lambda shape: (prime(shape), happen())
        decision = rig.interlock.request(rig.request(t_scan_ns=rig.clock.now_ns()))
        words = {"trip": "interlock is tripped: stop", "disarm": "not armed", "silence": "not fed for 51 ms"}
        assert decision.outcome is (Outcome.FAILED if meanwhile == "silence" else Outcome.REFUSED)
        assert words[meanwhile] in decision.reason
        assert not rig.interlock.is_armed
        rig.clock.step(500 * MS)
        assert rig.light() == rig.card.signal("ao0").steps() == []
        assert rig.emitted == []
        assert rig.card.level(ENABLE) == 0.0


def test_after_a_trip_and_a_reset_it_fires_again():
    with ni_rig() as rig:
        rig.armed()
        rig.turn(500, alive=False)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        rig.interlock.reset("looked at it")
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
        rig.turn(100)
        assert len(rig.light()) == 2


@pytest.mark.parametrize("fault", ["unplugged", "underrun"])
def test_a_card_that_fails_trips_and_says_what_to_do(fault):
    with ni_rig(bounds={"max_width_ms": 500.0, "max_duty": 1.0}) as rig:
        rig.armed()
        if fault == "underrun":
            rig.card.faults.add(fault)
        rig.interlock.request(rig.request(width_ms=400.0))
        if fault == "unplugged":
            rig.clock.step(2 * MS)
            rig.card.unplug()
        rig.turn(20)
        assert rig.interlock.state is InterlockState.TRIPPED
        text = rig.interlock.trips[-1].text
        assert "Dev1" in text
        assert "led" in text
        assert {"unplugged": "check the cable", "underrun": "sample_rate_hz"}[fault] in text
        rises = [t for t, level in rig.light() if level > 0]
        falls = [t for t, level in rig.light() if level == 0]
        assert len(rises) == len(falls) == 1
        assert falls[0] - rises[0] <= 5 * MS
        rig.clock.step(500 * MS)
        assert len(rig.light()) == 2
        rig.interlock.reset("tried again")
        if fault == "unplugged":
            with pytest.raises(SafetyError):
                rig.interlock.arm()
            rig.card.faults.clear()
            rig.interlock.reset("plugged in again")
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED


def test_a_server_that_starts_anew_trips_and_is_taken_up_again_after_a_reset():
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (servicer, port):
        rig = NiRig(port, servicer, card, clock)
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
        rig.turn(200)
    rig.turn(20)
    assert rig.interlock.state is InterlockState.TRIPPED
    assert "start the NI gRPC Device Server" in rig.interlock.trips[-1].text
    clock.step(500 * MS)
    assert card.level(ENABLE) == 0.0
    card.tasks.clear()
    with serving([card], port):
        rig.interlock.reset("started it again")
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
        rig.turn(200)
        assert len(rig.light()) == 4
        rig.output.close()


BAD = {
    "no such device": ({"device": "Dev9"}, None, ["there: Dev1", "NI MAX"]),
    "no such channel": ({"pulse__channel": "ao9"}, None, ["ao9", "-200170", "pinout"]),
    "no such enable line": ({"enable_line": "port0/line77"}, None, ["port0/line77", "-200170"]),
    "reserved by another program": ({}, "reserved:ao:ao0", ["ao0", "-50103", "another program"]),
    "unplugged": ({}, "unplugged", ["no device Dev1"]),
    "an old driver": ({}, "old", ["too old", "install NI-DAQmx"]),
    "a short on the enable line": ({}, "stuck:port0/line1", ["reads high", "pull-up"]),
    "nobody at the server": ({"server": "127.0.0.1:9"}, None, ["UNAVAILABLE", "start the NI gRPC Device Server"]),
    "no driver in this computer": ({"server": None}, None, ["install NI-DAQmx"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_before_arming_with_a_remedy(case):
    changes, fault, words = BAD[case]
    with ni_rig(**changes) as rig:
        if fault:
            rig.card.faults.add(fault)
        assert not rig.interlock.self_test()
        text = rig.interlock.trips[-1].text
        assert text.startswith("led: ")
        for word in words:
            assert word in text, text
        assert rig.light() == []


def test_an_uncalibrated_output_fires_nothing():
    with ni_rig(pulse__power=None) as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request())
        assert decision.outcome is Outcome.FAILED
        assert "not calibrated" in decision.reason
        assert rig.light() == []


def test_what_a_dead_process_has_left_on_the_server_is_ended_and_taken_over():
    clock, light = FakeClock(), []
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (_, port):
        dead = NiDaqOutput("led", settings(port), clock, light.append)
        dead.open()
        dead.arm()
        # Primed, so that its task holds the channel.
        dead._pulse.prime(Shape(1, 5000, 0, 1.0))
        clock.step(1000 * MS)
        born = NiDaqOutput("led", settings(port), clock, light.append)
        born.open()
        assert born.self_test()
        born.arm()
        assert card.level(ENABLE) == 1.0
        born.close()
        assert card.level(ENABLE) == 0.0
        with pytest.raises(DeviceError):
            dead.feed(clock.now_ns())
        dead.close()


class SlowClock(FakeClock):
    """Every look at it takes long, until it has been looked at so often."""

    slow_looks = 0

    def now_ns(self):
        if self.slow_looks:
            self.slow_looks -= 1
            self.step(60 * MS)
        return super().now_ns()


def test_a_computer_so_busy_that_the_watchdog_bites_while_the_card_is_opened_opens_it_in_the_end():
    clock = SlowClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (_, port):
        output = NiDaqOutput("led", settings(port, "gate"), clock, lambda light: None)
        clock.slow_looks = 12
        output.open()
        assert card.level(ENABLE) == 0.0
        assert output.self_test()
        output.close()
        clock.slow_looks = 10_000
        with pytest.raises(DeviceError, match="watchdog timer expired"):
            output.open()
        clock.slow_looks = 0
        output.open()
        assert output.self_test()
        output.close()

"""A serial pulse box: the driver, the simulated box and the sketch agree, and none of them lights more than it may."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import serial
from safety_rig import MS, FakeClock, Rig

from drivers.outputs.pulse_box.output import PulseBoxOutput
from drivers.outputs.simulators.pulse_box import SimulatedBox, serving
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.pulse_box_config import PulseBoxSettings
from rt_engine.safety.interlock import InterlockState

ROOT = Path(__file__).parents[4]
US = 1000


class BoxRig(Rig):
    """An interlock whose output `led` is a pulse box."""

    def __init__(self, socket_port, box, clock, bounds, **changes):
        super().__init__(clock, virtual=False, **bounds)
        power = {"date": "2026-11-29", "person": "tests", "power_mw": 8.0}
        values = {
            "driver": "pulse_box",
            "port": f"socket://127.0.0.1:{socket_port}",
            "watchdog_ms": 50.0,
            "power": power,
        }
        self.box, self.emitted = box, []
        config = PulseBoxSettings.model_validate(values | changes)
        self.output = PulseBoxOutput("led", config, clock, self.emitted.append)
        self.outputs["led"] = self.interlock._outputs["led"] = self.output

    def turn(self, ms, alive=True):
        """The decision loop, five milliseconds a turn, each answer awaited: only the test's time passes."""
        for _ in range(round(ms / 5)):
            self.clock.step(5 * MS)
            if alive:
                self.beat()
                self.interlock.tend(self.clock.now_ns())
                self.settle()

    def settle(self):
        """Let the box answer what it was told, in real time and without a deadline of its own."""
        box = self.output._box
        for _ in range(20_000):
            if not self.output._armed or not box.waits or "silent" in self.box.faults:
                return
            box._sleep(0.0005)
            self.interlock.tend(self.clock.now_ns())

    def light(self):
        self.box.look()
        return self.box.light.steps()


@contextmanager
def box_rig(bounds=None, **changes):
    clock = FakeClock()
    box = SimulatedBox(clock.now_ns)
    with serving(box) as (port, pull):
        rig = BoxRig(port, box, clock, bounds or {}, **changes)
        rig.pull = pull
        try:
            yield rig
        finally:
            rig.output.close()


def test_the_light_is_the_train_that_was_judged():
    with box_rig() as rig:
        assert isinstance(rig.output, Output)
        rig.armed()
        assert rig.output.versions["pulse box"].startswith("firmware protocol 1, pulses up to ")
        assert rig.output.versions["pyserial"] == serial.__version__
        decision = rig.interlock.request(rig.request(pulses=3, period_ms=200.0, width_ms=5.0))
        assert decision.outcome is Outcome.DELIVERED
        rig.settle()
        rig.turn(600)
        first = decision.t_command_ns
        expected = [(first + i * 200 * MS + off, level) for i in range(3) for off, level in ((0, 1.0), (5 * MS, 0.0))]
        assert rig.light() == expected
        assert [one["t_on_ns"] - first for one in rig.emitted] == [0, 200 * MS, 400 * MS]
        assert rig.interlock.request(rig.request(pulses=3, period_ms=200.0)).outcome is Outcome.DELIVERED


def test_a_trip_cuts_the_train_and_a_loop_that_stands_still_is_dark_within_the_watchdog():
    bounds = {"max_width_ms": 50.0, "max_duty": 1.0}
    with box_rig(bounds) as rig:
        rig.armed()
        rig.interlock.request(rig.request(pulses=3, period_ms=200.0, width_ms=40.0))
        rig.settle()
        rig.turn(210)
        rig.interlock.trip("command", "trip", "-", "stop")
        t_ns = rig.clock.now_ns()
        rig.clock.step(1000 * MS)
        assert rig.light()[-1] == (t_ns, 0.0)
        assert [one.emitted for one in rig.interlock.take_cut_trains()] == [2]
    with box_rig(bounds) as rig:
        rig.armed()
        rig.turn(40)
        fed_ns = rig.box._fed_ns
        rig.interlock.request(rig.request(pulses=3, period_ms=200.0, width_ms=50.0))
        rig.settle()
        fed_ns = rig.box._fed_ns
        rig.turn(1000, alive=False)
        assert rig.light()[-1][0] <= fed_ns + 50 * MS
        assert rig.light()[-1][1] == 0.0
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        rig.settle()
        assert rig.interlock.state is InterlockState.TRIPPED


@pytest.mark.parametrize(("stall_ms", "outcome", "words"), [
    (45, Outcome.LATE, "decision_age_ms 85 is beyond its limit 50"),
    (51, Outcome.FAILED, "not fed for 51 ms"),
])  # fmt: skip
def test_a_box_that_is_slow_to_be_primed_fires_no_train_that_has_become_too_old(stall_ms, outcome, words):
    with box_rig() as rig:
        rig.armed()
        ask = rig.output._box.ask

        def slowly(line, *patience_s):
            answer = ask(line, *patience_s)
            rig.clock.step(stall_ms * MS * line.startswith("PRIME"))
            return answer

        rig.output._box.ask = slowly
        decision = rig.interlock.request(rig.request(t_scan_ns=rig.clock.now_ns() - 40 * MS))
        assert decision.outcome is outcome
        assert words in decision.reason
        assert rig.light() == rig.emitted == []


@pytest.mark.parametrize(("request_", "words"), [
    ({"power_mw": 4.0}, ["8.0 mW"]),
    ({"width_ms": 60.0}, ["up to 50000 us", "MAX_WIDTH_US"]),
])  # fmt: skip
def test_what_source_and_box_cannot_do_is_refused_before_it_is_sent(request_, words):
    with box_rig({"max_width_ms": 100.0, "max_duty": 1.0}) as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request(**request_))
        assert decision.outcome is Outcome.FAILED
        assert all(word in decision.reason for word in words), decision.reason
        assert rig.light() == []


def test_a_pulled_cable_and_a_silent_box_trip_with_a_remedy():
    with box_rig() as rig:
        rig.armed()
        rig.turn(50)
        rig.pull()
        rig.turn(50)
        assert rig.interlock.state is InterlockState.TRIPPED
        assert "check the cable" in rig.interlock.trips[-1].text
        rig.interlock.reset("plugged in again")
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
    with box_rig() as rig:
        rig.armed()
        rig.box.faults.add("silent")
        rig.turn(200)
        assert rig.interlock.state is InterlockState.TRIPPED
        assert "has not answered" in rig.interlock.trips[-1].text


def test_a_box_that_starts_anew_trips_and_is_armed_again_by_a_person_only():
    with box_rig() as rig:
        rig.armed()
        rig.turn(50)
        rig.box._dark(rig.clock.now_ns())
        rig.turn(50)
        rig.settle()
        assert rig.interlock.state is InterlockState.TRIPPED
        assert "the box has started anew" in rig.interlock.trips[-1].text
        assert rig.interlock.request(rig.request()).outcome is Outcome.REFUSED
        rig.interlock.reset("looked at it")
        rig.armed()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals on this system")
def test_a_port_that_another_program_holds_is_said():
    holder, port = os.openpty()
    try:
        with serial.serial_for_url(os.ttyname(port), exclusive=True), box_rig(port=os.ttyname(port)) as rig:
            assert not rig.interlock.self_test()
            assert "close other programs that use it" in rig.interlock.trips[-1].text
    finally:
        os.close(port)
        os.close(holder)


@pytest.mark.parametrize(("fault", "changes", "words"), [
    ("stranger", {}, ["no pulse box", "right port"]),
    ("old", {}, ["protocol 2", "load pulse_box.ino"]),
    (None, {"port": "socket://127.0.0.1:9"}, ["cannot be opened", "start what listens there"]),
    (None, {"port": "/dev/ttyNOWHERE"}, ["cannot be opened", "Device Manager"]),
])  # fmt: skip
def test_what_is_wrong_is_said_before_arming_and_by_the_doctor(fault, changes, words):
    with box_rig(**changes) as rig:
        rig.box.faults |= {fault} if fault else set()
        assert not rig.interlock.self_test()
        assert all(word in rig.interlock.trips[-1].text for word in words), rig.interlock.trips[-1].text
        (finding,) = rig.output.examine()
        assert finding.verdict is Verdict.FAIL


@pytest.fixture(scope="module")
def sketch(tmp_path_factory):
    """The sketch, compiled for this computer."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: the sketch is not compared with the simulated box")
    program = tmp_path_factory.mktemp("sketch") / "box"
    source = ROOT / "drivers" / "outputs" / "pulse_box" / "pulse_box.ino"
    include = f'-DSKETCH="{source}"'
    command = [compiler, "-w", "-o", str(program), include, str(ROOT / "tests" / "firmware_main.cpp")]
    subprocess.run(command, check=True, timeout=120)
    return program


def script(seed):
    """Lines and waits in a random order, sensible and not."""
    random = Random(seed)
    lines = ["HELLO", "FEED", "FIRE x", "PRIME 1 5000 0", "ARM 100"]
    for _ in range(120):
        lines.append(random.choice([
            *["FEED", "FEED", "FEED", "FIRE d-17", "FIRE d-18", "STATUS"],
            f"PRIME {random.choice([0, 1, 2, 5, 1001])} {random.choice([0, 1000, 20000, 50000, 50001])} "
            f"{random.choice([0, 1500, 21000, 30000, 80000])}",
            random.choice(["SAFE", "ARM 100", "ARM 0", "ARM 101", "NONSENSE", "HELLO"]),
        ]))  # fmt: skip
        lines.append(f"+{random.choice([0, 1000, 5000, 20000, 40000, 90000])}")
    return [*lines, "+400000"]


@pytest.mark.parametrize("seed", range(5))
def test_the_sketch_and_the_simulated_box_answer_alike_and_light_alike(sketch, seed):
    lines = script(seed)
    done = subprocess.run([str(sketch)], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    answers = [line for line in said if not line.startswith(("PIN", "NOW"))]
    pins = [(int(line.split()[1]), float(line.split()[2])) for line in said if line.startswith("PIN")]
    clock = FakeClock(true_ns=1_000_000 * US)
    box, expected = SimulatedBox(clock.now_ns), []
    for line in lines:
        if line.startswith("+"):
            clock.step(int(line[1:]) * US)
        else:
            expected.append(box.answer(line))
    assert answers == expected
    box.look()
    steps = [(t // US, level) for t, level in box.light.steps()]
    assert [level for _, level in pins] == [level for _, level in steps]
    assert all(abs(a - b) <= 1000 for (a, _), (b, _) in zip(pins, steps, strict=True))
    widths = [fall - rise for (rise, _), (fall, _) in zip(pins[::2], pins[1::2], strict=True)]
    assert max(widths, default=0) <= 50_010

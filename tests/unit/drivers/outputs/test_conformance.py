"""What every output keeps to, whoever made it; one of another package too, found by its entry point."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import get_args

import pytest
from ni_rig import EDGE, ni_rig
from pattern_rig import BY_HAND, BY_LINES, pattern_rig
from plugin_package import installed
from safety_rig import MS, FakeClock, Rig, limits
from system_rig import small_rig, write_rig

from drivers.outputs.simulators.pulse_box import SimulatedBox, serving
from drivers.outputs.virtual import VirtualOutput
from rt_engine.cli import main
from rt_engine.interfaces.devices import Output, PulseToken
from rt_engine.interfaces.errors import ConfigError, DeviceError
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.output_config import OutputConfig, PulseBoxOutput, virtual_shutter
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.services.interlock_setup import make_output, open_safety
from rt_engine.services.setup import Setup

PACKAGE = '''
class Lamp:
    """A lamp that remembers."""

    is_virtual = False
    next_due_ns = None

    def __init__(self, name, settings, watchdog_ms, clock, emit):
        self.name, self.watchdog_ms, self._clock, self._emit = name, watchdog_ms, clock, emit
        self.is_virtual = settings.get("pretends", False)
        self.longest_wait_ns = round(1e6 * settings.get("warms_up_ms", 0))
        self._colour = settings["colour"]
        self._open = self._armed = False
        self._last = None

    def open(self):
        self._open = True

    def self_test(self):
        return self._open and not self._armed

    def arm(self):
        from rt_engine.interfaces.errors import DeviceError
        if not self._open:
            raise DeviceError(self.name, "is not open")
        self._armed = True

    def feed(self, now_ns):
        pass

    def fire(self, command):
        from rt_engine.interfaces.devices import require_command
        command = require_command(self.name, command, armed=self._armed, last=self._last)
        self._last = command
        return command.last_word()

    def cut_trains(self):
        return ()

    def safe_state(self):
        self._armed = False

    def close(self):
        self._armed = self._open = False


def broken(name, settings, watchdog_ms, clock, emit):
    lamp = Lamp(name, settings, watchdog_ms, clock, emit)
    del lamp.longest_wait_ns
    return lamp
'''
POINTS = "[spikeloop.outputs]\nlamp = acme_lamp:Lamp\nbroken = acme_lamp:broken\ngone = acme_nothing:Lamp\n"


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """A package of somebody else, installed as pip would."""
    site = installed(tmp_path / "site", "acme_lamp", PACKAGE, POINTS)
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("acme_lamp", None)


def lamp_file(folder, **changes):
    rig = small_rig(microscope__pace="real_time")
    output = {"driver": "plugin", "name": "lamp", "watchdog_ms": 100.0, "settings": {"colour": "blue"}}
    power = {"date": "2026-11-29", "person": "t", "power_mw": 20.0}
    rig["outputs"]["led"] = output | {"power": power, "limits": rig["outputs"]["led"]["limits"]} | changes
    return write_rig(folder, rig)


@contextmanager
def made(kind, tmp_path):
    """A rig with an output of that kind."""
    if kind.startswith("ni"):
        _, pulse, trigger = kind.split("-")
        with ni_rig(kind=pulse, trigger=EDGE if trigger == "edge" else None) as rig:
            yield rig
        return
    if kind.startswith("pattern"):
        with pattern_rig({"pattern lines": BY_LINES, "pattern hand": BY_HAND}[kind]) as rig:
            yield rig
        return
    rig = Rig(FakeClock(), virtual=False)
    if kind == "pulse box":
        with serving(SimulatedBox(rig.clock.now_ns)) as (port, _):
            power = {"date": "2026-11-29", "person": "t", "power_mw": 8.0}
            values = {"driver": "pulse_box", "port": f"socket://127.0.0.1:{port}", "watchdog_ms": 100.0}
            config = PulseBoxOutput.model_validate(values | {"power": power, "limits": limits(max_power_mw=8.0)})
            rig.output = make_output("led", config, rig.clock, lambda light: None)
            yield rig
            rig.output.close()
        return
    if kind == "plugin":
        config = load_rig(lamp_file(tmp_path)).outputs["led"]
        rig.output = make_output("led", config, rig.clock, lambda light: None)
    else:
        rig.output = VirtualOutput("led", rig.clock, lambda light: None, watchdog_ms=100.0)
    yield rig
    rig.output.close()


KINDS = {
    **{"virtual": "virtual", "pulse box": "pulse_box", "plugin": "plugin"},
    **dict.fromkeys(["pattern lines", "pattern hand"], "pattern_ttl"),
    **dict.fromkeys(["ni-gate-call", "ni-analog-call", "ni-counter-call", "ni-analog-edge"], "ni_daq"),
}
"""Each kind that is tried, and the `driver` of rig files that it is."""


def test_every_output_that_a_rig_file_can_name_is_in_this_suite():
    in_rig_files = {one.model_fields["driver"].annotation for one in get_args(get_args(OutputConfig)[0])}
    assert {get_args(literal)[0] for literal in in_rig_files} == set(KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_keeps_the_rules(kind, tmp_path, acme):
    with made(kind, tmp_path) as rig:
        output = rig.output
        assert isinstance(output, Output)
        assert output.name == "led"
        assert 0 < output.watchdog_ms <= 100
        for _ in range(2):
            output.safe_state()
            output.close()
        with pytest.raises(DeviceError):
            output.arm()
        output.feed(rig.clock.now_ns())
        assert output.cut_trains() == ()
        for _ in range(2):
            output.open()
        assert output.self_test()
        for forgery in (None, {"pulses": 1}, PulseToken()):
            with pytest.raises(DeviceError):
                output.fire(forgery)
        kept = []
        fire = output.fire
        output.fire = lambda command: (kept.append(command), fire(command))[1]
        rig.outputs["led"] = rig.interlock._outputs["led"] = output
        rig.armed()
        assert not output.self_test()
        decision = rig.interlock.request(rig.request())
        assert decision.outcome is Outcome.DELIVERED
        with pytest.raises(DeviceError):
            fire(kept[0])
        rig.clock.step(20 * MS)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        for _ in range(2):
            output.safe_state()
        with pytest.raises(DeviceError):
            fire(kept[0])
        assert output.self_test()
        output.close()
        output.open()
        assert output.self_test()


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_has_the_last_word_of_the_interlock_before_light(kind, tmp_path, acme):
    with made(kind, tmp_path) as rig:
        output = rig.outputs["led"] = rig.interlock._outputs["led"] = rig.output
        fire = output.fire
        rig.armed()
        scanned_ns = rig.clock.now_ns() - 40 * MS
        output.fire = lambda command: (rig.clock.step(45 * MS), fire(command))[1]
        decision = rig.interlock.request(rig.request(t_scan_ns=scanned_ns))
        assert decision.outcome is Outcome.LATE
        assert decision.reason == "decision_age_ms 85 is beyond its limit 50"
        assert rig.interlock.is_armed
        assert output.cut_trains() == ()


@pytest.mark.parametrize(("changes", "words"), [
    ({"name": "lump"}, "no installed package offers 'lump'"),
    ({"name": "gone"}, "cannot be imported"),
    ({"name": "broken"}, "makes is no Output: it lacks longest_wait_ns\\."),
    ({"settings": {}}, "does not take this: KeyError"),
    ({"settings": {"colour": "blue", "pretends": True}}, "real light"),
    ({"settings": {"colour": "blue", "warms_up_ms": 12}, "longest_wait_ms": 11.9}, "12 ms after its command, not 11.9"),
])  # fmt: skip
def test_a_driver_of_another_package_is_checked_before_it_is_trusted(changes, words, tmp_path, acme):
    config = load_rig(lamp_file(tmp_path, **changes)).outputs["led"]
    with pytest.raises(ConfigError, match=words):
        make_output("led", config, FakeClock(), lambda light: None)


@pytest.mark.parametrize(("changes", "words"), [
    ({"watchdog_ms": 200.0}, "watchdog_ms"),
    ({"power": {"date": "2026-11-29", "person": "t", "power_mw": 5.0}}, "more than was measured"),
    ({"longest_wait_ms": 50.0}, "longest_wait_ms 50: after it a decision is older than limits.max_decision_age_ms 50"),
])  # fmt: skip
def test_its_watchdog_and_power_are_bounded_as_those_of_ours(changes, words, tmp_path, acme):
    with pytest.raises(ConfigError, match=words):
        load_rig(lamp_file(tmp_path, **changes))


@pytest.mark.parametrize("kind", ["plugin", "virtual"])
def test_light_that_waits_is_judged_alike_whoever_makes_it(kind, tmp_path, acme):
    settings = {"settings": {"colour": "blue", "warms_up_ms": 12}, "longest_wait_ms": 12.0}
    path = lamp_file(tmp_path, **settings)
    if kind == "virtual":
        path = write_rig(tmp_path, small_rig(outputs__led__shutter={"lead_ms": 12.0, "lag_ms": 0.0}))
    loaded = load_rig(path)
    config = loaded.outputs["led"]
    setup = Setup("stimulation", loaded.model_dump(mode="json"), "s", str(tmp_path), 0, 0, dry_run=True, lossless=False)
    safety = open_safety(setup, FakeClock(), print, print)
    safety.wal.close()
    judged = safety.interlock.limits["led"]
    rig = Rig(FakeClock(), virtual=kind == "virtual", max_decision_age_ms=judged.max_decision_age_ms)
    output = rig.outputs["led"] = rig.interlock._outputs["led"] = make_output("led", config, rig.clock, print)
    rig.armed()
    assert judged.max_decision_age_ms == config.limits.max_decision_age_ms - 12
    scanned_ns = rig.clock.now_ns()
    rig.clock.step(39 * MS)
    too_old = rig.interlock.request(rig.request(t_scan_ns=scanned_ns))
    assert too_old.outcome is Outcome.LATE
    fired = rig.interlock.request(rig.request(t_scan_ns=scanned_ns + 2 * MS))
    assert fired.outcome is Outcome.DELIVERED
    assert rig.interlock._firing_until_ns >= fired.t_command_ns + 12 * MS
    assert virtual_shutter(config).lead_ms == 12.0
    output.close()


def test_an_uncalibrated_one_runs_dry_only(tmp_path, acme, capsys):
    assert main(["run", str(lamp_file(tmp_path, power=None)), "--no-gui", "--output", str(tmp_path / "s")]) == 2
    assert "power" in capsys.readouterr().err

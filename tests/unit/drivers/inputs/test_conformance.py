"""What every input keeps to, whoever made it; one that is not in this suite is not registered."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from plugin_package import installed
from safety_rig import MS, FakeClock
from system_rig import small_rig, write_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.errors import ConfigError, DeviceError
from rt_engine.interfaces.inputs import EdgeInput, Input, LevelInput, SampleInput
from rt_engine.interfaces.rig_config import InputConfig, RigConfig, load_rig
from rt_engine.services.input_drivers import INPUT_DRIVERS, make_input

NOBODY = "127.0.0.1:9"
PACKAGE = '''
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.inputs import LineEdge


class Pedal:
    """A pedal that remembers."""

    def __init__(self, name, settings, clock):
        self.name, self._clock = settings.get("called", name), clock
        self.is_high = settings["level"] == "high"
        self._edges, self._open, self.broken = [], False, False

    def open(self):
        if self.broken:
            raise DeviceError(self.name, "the pedal is gone", "plug it in")
        self._open = True

    def change(self, is_high):
        self.is_high = is_high
        if self._open:
            self._edges.append(LineEdge(self._clock.now_ns(), is_high))

    def take_edges(self):
        if self.broken and self._open:
            raise DeviceError(self.name, "the pedal is gone", "plug it in")
        edges, self._edges = self._edges, []
        return edges

    def close(self):
        self._edges, self._open = [], False
'''
POINTS = "[spikeloop.inputs]\npedal = acme_pedal:Pedal\n"
CASES: dict[str, tuple[type[Input], dict[str, Any], str, int]] = {
    "virtual": (LevelInput, {"level": "low"}, "", 0),
    "virtual_edges": (EdgeInput, {"follows": "hand"}, "", 0),
    "virtual_voltage": (SampleInput, {"high_v": 1.0, "sample_rate_hz": 2000.0}, "", MS),
    "ni_edges": (EdgeInput, {"device": "Dev1", "counter": "ctr1", "terminal": "PFI3"}, "PFI3", 20_000),
    "ni_line": (LevelInput, {"device": "Dev1", "line": "port0/line4"}, "port0/line4", 5 * MS),
    "ni_analog": (SampleInput, {"device": "Dev1", "channel": "ai3", "sample_rate_hz": 2000.0}, "ai3", MS),
    "plugin": (LevelInput, {"name": "pedal", "kind": "level", "settings": {"level": "low"}}, "", 0),
}
"""Of each driver: what it tells, its section of a rig file, where the card drives it, how exact its times are."""


@pytest.fixture(autouse=True)
def acme(tmp_path, monkeypatch):
    """The pedal of another package."""
    monkeypatch.syspath_prepend(str(installed(tmp_path / "site", "acme_pedal", PACKAGE, POINTS)))
    yield
    sys.modules.pop("acme_pedal", None)


def config_of(driver, server=NOBODY, **changes):
    """The section of a rig file, read as a rig file is."""
    section = {"driver": driver} | CASES[driver][1] | changes
    if driver.startswith("ni_"):
        section["server"] = server
    return RigConfig.model_validate(small_rig() | {"inputs": {"one": section}}).inputs["one"]


class World:
    """A device, what drives it, and the clock of both."""

    def __init__(self, driver, device, card, clock):
        self.device, self.card, self.clock = device, card, clock
        self.kind, _, self.wire, self.tolerance_ns = CASES[driver]
        self.is_high = False

    def change(self, is_high):
        """Drive it, three milliseconds ago; when that was."""
        t_ns = self.clock.now_ns()
        if self.wire:
            self.card.drive(self.wire, [(t_ns, float(is_high))])
        elif hasattr(self.device, "change"):
            self.device.change(is_high)
        elif self.kind is EdgeInput:
            if is_high:
                self.device.press()
        elif self.is_high != is_high:
            self.device.press()
        self.is_high = is_high
        self.clock.step(3 * MS)
        return t_ns

    def rest(self, ms):
        """Time passes, and it is read meanwhile as often as a run reads it."""
        told = []
        for _ in range(round(ms / 50)):
            self.clock.step(50 * MS)
            told += self.take()
        return told

    def take(self):
        """Edges, or samples as (time, volts)."""
        if self.kind is not SampleInput:
            return self.device.take_edges()
        block = self.device.take_block()
        if block is None:
            return []
        period_ns = 1e9 / self.device.sample_rate_hz
        return [(block.t_first_ns + i * period_ns, float(volts)) for i, volts in enumerate(block.volts)]


@contextmanager
def world(driver):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=20.0)
    with serving([card]) as (_, port):
        device = make_input("one", config_of(driver, f"127.0.0.1:{port}"), clock)
        try:
            yield World(driver, device, card, clock)
        finally:
            device.close()


def tells_what_happens(it, times=12):
    """Whether every change is told once, in order, at its time."""
    told, changes = it.rest(3000), []
    if it.kind is SampleInput:
        for i in range(times):
            changes.append((it.change(i % 2 == 0), float(i % 2 == 0)))
            told += it.rest(100)
        steps = [b for a, b in pairwise(told) if a[1] != b[1]]
        assert np.diff([t for t, _ in told]) == pytest.approx(1e9 / it.device.sample_rate_hz, abs=2)
        assert [level for _, level in steps] == [level for _, level in changes]
        return np.abs([a[0] - b[0] for a, b in zip(steps, changes, strict=True)]).max() <= it.tolerance_ns
    assert told == []
    for i in range(times):
        changes.append((it.change(i % 2 == 0), i % 2 == 0))
        told += it.take()
        told += it.rest(50)
        if it.kind is LevelInput:
            assert it.device.is_high == (i % 2 == 0)
    if it.kind is EdgeInput:
        changes = [one for one in changes if one[1]]
    assert [edge.is_high for edge in told] == [level for _, level in changes]
    off_ns = [edge.t_edge_ns - t for edge, (t, _) in zip(told, changes, strict=True)]
    return np.abs(off_ns).max() <= it.tolerance_ns


def test_every_registered_input_is_in_this_suite():
    in_rig_files = {one.model_fields["driver"].annotation for one in get_args(get_args(InputConfig)[0])}
    assert {get_args(literal)[0] for literal in in_rig_files} == set(INPUT_DRIVERS) == set(CASES)


@pytest.mark.parametrize("driver", CASES)
def test_every_input_keeps_the_rules(driver):
    with world(driver) as it:
        kinds = [one for one in (SampleInput, LevelInput, EdgeInput) if isinstance(it.device, one)]
        assert kinds[0] is it.kind
        assert isinstance(it.device, Input)
        assert it.device.name == "one"
        for _ in range(2):
            it.device.close()
        it.change(True)
        it.change(False)
        assert it.take() == []
        for _ in range(2):
            it.device.open()
        assert tells_what_happens(it)
        for _ in range(2):
            it.device.close()
        it.change(True)
        it.change(False)
        assert it.take() == []
        it.clock.step(60_000 * MS)
        it.device.open()
        assert tells_what_happens(it)


@pytest.mark.parametrize("driver", [one for one in CASES if one.startswith("ni_")])
def test_a_constructor_touches_no_hardware_and_what_fails_to_open_is_as_before(driver):
    device = make_input("one", config_of(driver), FakeClock())
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"one: Dev1 at 127\.0\.0\.1:9"):
            device.open()
    assert (device.take_block() if isinstance(device, SampleInput) else device.take_edges()) in (None, [])
    device.close()


@pytest.mark.parametrize("driver", [one for one in CASES if not one.startswith("virtual")])
def test_one_that_fails_says_so_and_comes_back(driver):
    with world(driver) as it:
        it.device.open()
        it.rest(100)
        if driver == "plugin":
            it.device.broken = True
        else:
            it.card.unplug()
        with pytest.raises(DeviceError, match="one: ") as raised:
            it.take()
        assert raised.value.remedy
        it.device.close()
        with pytest.raises(DeviceError, match="one: "):
            it.device.open()
        it.clock.step(20_000 * MS)
        it.device.broken = False
        it.card.faults.clear()
        it.device.open()
        assert tells_what_happens(it)


FAULTS = {
    "wrong channel": (None, {"counter": "ctr9", "line": "port9/line9", "channel": "ai99"}, "-200170", "pinout"),
    "reserved": ("reserved", {}, "-50103", "another program"),
    "an old driver": ("old", {}, "too old", "install NI-DAQmx"),
    "another device": (None, {"device": "Dev9"}, "there: Dev1", "NI MAX"),
}
RESOURCE = {"ni_edges": "counter:ctr1", "ni_line": "di:port0/line4", "ni_analog": "ai:ai3"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("driver", RESOURCE)
def test_what_is_wrong_with_a_card_is_said_with_a_remedy(driver, fault):
    set_, changes, word, remedy = FAULTS[fault]
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    if set_:
        card.faults.add(f"reserved:{RESOURCE[driver]}" if set_ == "reserved" else set_)
    known = {key: value for key, value in changes.items() if key in CASES[driver][1]}
    with serving([card]) as (_, port):
        device = make_input("one", config_of(driver, f"127.0.0.1:{port}", **known), clock)
        with pytest.raises(DeviceError, match=word) as raised:
            device.open()
        assert str(raised.value).startswith("one: ")
        assert remedy in raised.value.remedy
        device.close()


@pytest.mark.parametrize("driver", RESOURCE)
def test_a_server_that_starts_anew_is_noticed_and_taken_up_again(driver):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (_, port):
        device = make_input("one", config_of(driver, f"127.0.0.1:{port}"), clock)
        device.open()
    it = World(driver, device, card, clock)
    with pytest.raises(DeviceError, match="start the NI gRPC Device Server"):
        it.take()
    device.close()
    card.tasks.clear()
    with serving([card], port):
        device.open()
        assert tells_what_happens(it)
        device.close()


@pytest.mark.parametrize(("changes", "words"), [
    ({"name": "peddle"}, "no installed package offers 'peddle'.*installed: pedal"),
    ({"kind": "samples"}, "makes is no SampleInput"),
    ({"settings": {}}, "does not take this: KeyError"),
    ({"settings": {"level": "low", "called": "two"}}, "says its name is 'two', not 'one'"),
])  # fmt: skip
def test_an_input_of_another_package_is_checked_before_it_is_trusted(changes, words):
    with pytest.raises(ConfigError, match=words):
        make_input("one", config_of("plugin", **changes), FakeClock())


@pytest.mark.parametrize(("driver", "words"), [
    ("ni_edges", "stop_line"), ("ni_analog", "stop_line"), ("virtual_edges", "stop_line"),
    ("virtual_voltage", "frame_clock"), ("virtual", "frame_clock"), ("ni_line", "frame_clock"),
    ("plugin", "frame_clock"),
])  # fmt: skip
def test_a_role_is_given_only_to_an_input_that_can_fill_it(driver, words, tmp_path):
    section = {"driver": driver} | CASES[driver][1]
    role = {"stop_line": {"line": "one", "closed": "high"}} if words == "stop_line" else {"frame_clock": "one"}
    path = write_rig(tmp_path, small_rig() | {"inputs": {"one": section}} | role)
    with pytest.raises(ConfigError, match=words):
        load_rig(path)

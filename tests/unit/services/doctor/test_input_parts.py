"""The doctor watches the inputs and says what does not fit what the rig uses them for."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from ni_rig import settings
from safety_rig import MS, FakeClock
from system_rig import small_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.doctor import input_parts


@contextmanager
def bench(drift_ppm=0.0, stop=True, **changes):
    """A rig with an input of each kind in each role, on a simulated card."""
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=drift_ppm)
    with serving([card]) as (_, port):
        ni = {"device": "Dev1", "server": f"127.0.0.1:{port}"}
        rig = small_rig(microscope__pace="real_time", microscope__frame_rate_hz=30.0)
        rig["inputs"] = {
            "frames": ni | {"driver": "ni_edges", "counter": "ctr1", "terminal": "PFI3"},
            "light": ni | {"driver": "ni_edges", "counter": "ctr2", "terminal": "PFI4"},
            "stop": ni | {"driver": "ni_line", "line": "port0/line4"},
            "wheel": ni | {"driver": "ni_analog", "channel": "ai0", "range_v": 5.0},
            "key": {"driver": "virtual"},
        }
        for key, value in changes.items():
            name, _, field = key.partition("__")
            rig["inputs"][name][field] = value
        rig["frame_clock"] = "frames"
        rig["stop_line"] = {"line": "stop", "closed": "high"} if stop else None
        led = settings(port).model_dump(mode="json") | {"measured_by": "light"}
        rig["outputs"]["led"] = led | {"limits": rig["outputs"]["led"]["limits"]}
        yield RigConfig.model_validate(rig), card, clock


def well(card, clock, period_ms=33.333, bounce=False, lever=1.0):
    """Frames at 30 Hz, a closed stop circuit, a wheel that turns."""
    now_ns = clock.now_ns()
    card.drive("port0/line4", [(now_ns, lever)])
    for i in range(110):
        t_ns = now_ns + round(i * period_ms * MS)
        card.drive("PFI3", [(t_ns, 1.0), (t_ns + MS, 0.0)])
        if bounce:
            card.drive("PFI3", [(t_ns + 2 * MS, 1.0), (t_ns + 3 * MS, 0.0)])
    card.drive("ai0", [(now_ns + 50 * i * MS, 0.02 * (i % 50)) for i in range(120)])


def looked(rig, clock):
    return input_parts.inputs(rig, clock, lambda s: clock.step(round(s * 1e9)))


def test_inputs_that_are_well_pass_with_what_they_tell():
    with bench(drift_ppm=40.0) as (rig, card, clock):
        well(card, clock)
        found = looked(rig, clock)
        assert [one for one in found if one.verdict is not Verdict.PASS] == []
        text = "\n".join(one.text for one in found)
        for words in ("frame clock 30.00 Hz", "card clock +40.0 ppm", "no edge in 3.0 s while nothing is fired"):
            assert words in text
        assert "is high: the stop circuit is closed" in text
        assert "1000 samples a second" in text
        assert card.tasks == {}


BAD = {
    "silent frames": ({}, {"period_ms": 1e6}, None, "frames", "could not be found", "start the microscope"),
    "bouncing frames": ({}, {"bounce": True}, None, "frames", "several edges", "Schmitt"),
    "clock of lines": ({}, {"period_ms": 5.0}, None, "frames", "says 30 Hz", "frame_rate_hz"),
    "an open stop circuit": ({}, {"lever": 0.0}, None, "stop", "cannot be armed", "closed: low"),
    "light though dark": ({}, {}, ("PFI4", 1.0), "light", "noise would count", "shield"),
    "the end of the range": ({}, {}, ("ai0", 9.0), "wheel", "cut off", "range_v"),
    "a clock that is no crystal": ({"drift_ppm": 900.0}, {}, None, "frames", "no crystal", "reference clock"),
    "a channel that is not there": ({"wheel__channel": "ai77"}, {}, None, "wheel", "would not start", "pinout"),
    "a terminal that is not there": ({"light__terminal": "PFI99"}, {}, None, "light", "would not start", "pinout"),
    "another device": ({"stop__device": "Dev7"}, {}, None, "stop", "would not start", "NI MAX"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_said_with_meaning_and_remedy(case):
    changes, waves, also, name, meaning, remedy = BAD[case]
    with bench(**changes) as (rig, card, clock):
        well(card, clock, **waves)
        if also:
            card.drive(also[0], [(clock.now_ns() + 500 * MS, also[1])])
        bad = [one for one in looked(rig, clock) if one.verdict is not Verdict.PASS]
        assert f"input {name}" in {one.part for one in bad}
        mine = next(one for one in bad if one.part == f"input {name}")
        assert meaning in mine.meaning
        assert remedy in mine.remedy
        assert {one.part for one in bad} <= ({f"input {name}", "input light"} if "clock" in case else {f"input {name}"})


def test_a_card_that_is_pulled_while_it_is_watched_is_said_and_released():
    with bench() as (rig, card, clock):
        well(card, clock)

        def sleep(seconds):
            clock.step(round(seconds * 1e9))
            if "unplugged" not in card.faults and len(card.tasks) == 4:
                card.unplug()

        bad = [one for one in input_parts.inputs(rig, clock, sleep) if one.verdict is Verdict.FAIL]
        assert {one.part for one in bad} == {"input frames", "input light", "input stop", "input wheel"}
        assert all("check the cable" in one.remedy for one in bad)

"""A scope sees every mark; a mark lights nothing, never stops a run, and is silent where nothing may be driven."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from ni_rig import EDGE, ENABLE, settings
from safety_rig import MS, FakeClock
from system_rig import small_rig, write_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import RigConfig, load_rig
from rt_engine.services.marks import decision_mark, frame_mark
from rt_engine.services.setup import Setup

FRAME, DECISION = "port0/line20", "port0/line21"


def setup_of(rig, **changes):
    values = {"service": "inference", "session": "s", "folder": ".", "t_wall_ns": 0, "t_monotonic_ns": 0}
    config = RigConfig.model_validate(rig).model_dump(mode="json")
    return Setup(**values, rig=config, **({"dry_run": False, "lossless": False} | changes))


@contextmanager
def bench(**changes):
    clock, said = FakeClock(), []
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (_, port):
        marks = {"device": "Dev1", "server": f"127.0.0.1:{port}", "frame_line": FRAME, "decision_line": DECISION}
        yield (
            small_rig() | {"marks": marks | changes},
            card,
            clock,
            lambda level, text: said.append((level, text)),
            said,
        )


def marked(mark, clock, n=5):
    for _ in range(n):
        clock.step(10 * MS)
        mark.toggle()


def test_each_mark_is_one_change_of_level_at_its_time():
    with bench() as (rig, card, clock, say, said):
        frame, decision = frame_mark(setup_of(rig), 0, say), decision_mark(setup_of(rig), say)
        t_ns = clock.now_ns()
        marked(frame, clock)
        assert card.signal(FRAME).steps() == [(t_ns + (i + 1) * 10 * MS, float(i % 2 == 0)) for i in range(5)]
        assert card.signal(DECISION).steps() == []
        marked(decision, clock, 2)
        assert [level for _, level in card.signal(DECISION).steps()] == [1.0, 0.0]
        frame.close()
        decision.close()
        assert card.tasks == {}
        assert said == []


@pytest.mark.parametrize("case", ["dry run", "replay", "another plane", "no such line"])
def test_nothing_is_driven_where_nothing_may_be_or_nothing_is_asked_for(case):
    with bench(**({"frame_line": None} if case == "no such line" else {})) as (rig, card, clock, say, said):
        if case == "replay":
            rig["microscope"] = {"driver": "replay", "path": "x"}
        mark = frame_mark(setup_of(rig, dry_run=case == "dry run"), int(case == "another plane"), say)
        marked(mark, clock)
        mark.close()
        assert card.signal(FRAME).steps() == []
        assert said == []


@pytest.mark.parametrize("when", ["at the start", "in the run"])
def test_a_card_that_fails_is_said_once_and_left_alone(when):
    with bench() as (rig, card, clock, say, said):
        if when == "at the start":
            card.faults.add("unplugged")
        mark = frame_mark(setup_of(rig), 0, say)
        marked(mark, clock, 3)
        card.unplug()
        marked(mark, clock, 10)
        assert len(said) == 1
        assert said[0][0] == "error"
        assert said[0][1].startswith("marks end here: marks-frame: ")
        mark.close()


LED = {"kind": "gate", "line": "port0/line0", "power": None}


@pytest.mark.parametrize(("marks", "words"), [
    ({"frame_line": ENABLE}, f"{ENABLE} is a line of output led"),
    ({"decision_line": "port0/line0"}, "port0/line0 is a line of output led"),
    ({"frame_line": EDGE["line"]}, "is a line of output led"),
    ({"frame_line": FRAME, "decision_line": FRAME}, "two roles"),
    ({}, "neither frame_line nor decision_line"),
])  # fmt: skip
def test_a_mark_on_a_line_of_the_light_is_refused(marks, words, tmp_path):
    rig = small_rig(microscope__pace="real_time")
    led = settings(1, trigger=EDGE, pulse=LED).model_dump(mode="json")
    rig["outputs"]["led"] = led | {"limits": rig["outputs"]["led"]["limits"]}
    rig["marks"] = {"device": "Dev1"} | marks
    with pytest.raises(ConfigError, match=words):
        load_rig(write_rig(tmp_path, rig))

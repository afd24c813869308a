"""Light goes through the pattern whose targets were commanded, when it stands, or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random

import pytest
from ni_rig import EDGE, ENABLE, settings
from pattern_rig import (
    BY_COUNT,
    BY_HAND,
    BY_LINES,
    LINES,
    PATTERNS,
    READY,
    REGISTRATION,
    by_holoblink,
    pattern_rig,
    pattern_settings,
)
from pydantic import ValidationError
from safety_rig import MS, FakeClock, limits
from system_rig import small_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from drivers.outputs.simulators.pattern_program import PatternByWire, showing
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.output_config import limits_at_command
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.doctor.fire import fire_test

SETTLE_MS = BY_LINES["settle_ms"]
SHAPES = [("analog", None), ("gate", None), ("counter", None), ("analog", EDGE), ("gate", EDGE)]


def asked(rig, number, **changes):
    """A request for the targets of a pattern; a gated source has 8 mW, which the targets share."""
    targets = PATTERNS[number]
    power_mw = 8.0 / len(targets)
    return rig.interlock.request(rig.request(targets_yx_px=targets, power_mw=power_mw, **changes))


def lit(rig, since_ns=0):
    """(begin, end) of every pulse of light."""
    light = rig.light(since_ns)
    return [(a[0], b[0]) for a, b in zip(light[::2], light[1::2], strict=True)]


@pytest.mark.parametrize(("kind", "trigger"), SHAPES)
def test_every_pulse_falls_through_the_pattern_that_was_commanded_while_it_stands(kind, trigger):
    random = Random(3)
    with pattern_rig(BY_LINES, ni={"kind": kind, "trigger": trigger}) as rig:
        program = PatternByWire(rig.card, load_ms=SETTLE_MS - 0.5, lines=LINES)
        rig.armed()
        rig.turn(50)
        before = 1
        for _ in range(12):
            number, since_ns = random.choice(list(PATTERNS)), rig.clock.now_ns()
            decision = asked(rig, number)
            assert decision.outcome is Outcome.DELIVERED, decision.reason
            rig.turn(300)
            ((begin_ns, end_ns),) = lit(rig, since_ns)
            assert end_ns - begin_ns == 5 * MS
            waited_ms = (begin_ns - decision.t_command_ns) / MS
            assert waited_ms == pytest.approx(0.0 if number == before else SETTLE_MS, abs=0.1)
            assert program.shown_at(begin_ns) == program.shown_at(end_ns) == number
            assert rig.emitted[-1]["t_on_ns"] == pytest.approx(begin_ns, abs=MS // 10)
            before = number


def test_a_program_that_loads_longer_than_it_is_given_is_seen_by_this_test():
    """The simulated program tells a pattern from one that is still loading: the law above can fail."""
    with pattern_rig(BY_LINES) as rig:
        program = PatternByWire(rig.card, load_ms=SETTLE_MS + 3.0, lines=LINES)
        rig.armed()
        rig.turn(50)
        since_ns = rig.clock.now_ns()
        asked(rig, 5)
        rig.turn(100)
        assert program.shown_at(lit(rig, since_ns)[0][0]) is None


STRANGE = {
    "beside a pattern": {"targets_yx_px": ((50.0, 53.0),)},
    "the same place twice": {"targets_yx_px": ((50.0, 50.0), (50.0, 50.0))},
    "one more than a pattern": {"targets_yx_px": ((50.0, 50.0), (90.0, 90.0), (1.0, 1.0))},
    "in another plane": {"targets_yx_px": ((50.0, 50.0),), "target_planes": (1,)},
}


@pytest.mark.parametrize("case", STRANGE)
def test_targets_without_a_pattern_are_not_lit_and_nothing_moves(case):
    with pattern_rig(BY_LINES) as rig:
        rig.armed()
        rig.turn(50)
        steps = [rig.card.signal(line).steps() for line in LINES]
        decision = rig.interlock.request(rig.request(power_mw=2.0, **STRANGE[case]))
        assert decision.outcome is Outcome.FAILED
        assert "no pattern has" in decision.reason
        rig.turn(200)
        assert lit(rig) == []
        assert [rig.card.signal(line).steps() for line in LINES] == steps


def test_targets_within_the_tolerance_of_a_pattern_are_its_own_in_any_order():
    with pattern_rig(BY_LINES) as rig:
        rig.armed()
        rig.turn(50)
        near = tuple((y + 1.0, x - 1.0) for y, x in reversed(PATTERNS[5]))
        assert rig.interlock.request(rig.request(targets_yx_px=near, power_mw=2.0)).outcome is Outcome.DELIVERED
        rig.turn(50)
        assert [rig.card.level(line) for line in LINES] == [1.0, 0.0, 1.0]


def test_a_trip_while_a_pattern_is_loading_leaves_no_light_at_all():
    with pattern_rig(BY_LINES) as rig:
        rig.armed()
        rig.turn(50)
        assert asked(rig, 5).outcome is Outcome.DELIVERED
        rig.clock.step(2 * MS)
        rig.interlock.trip("command", "trip", "-", "stop")
        rig.clock.step(500 * MS)
        assert rig.card.light("ao0", ENABLE) == []


def test_nothing_is_fired_while_the_program_says_it_is_not_ready():
    with pattern_rig(BY_LINES, ready_line=READY) as rig:
        rig.armed()
        rig.turn(50)
        decision = asked(rig, 1)
        assert decision.outcome is Outcome.FAILED
        assert "port0/line12 is low" in decision.reason
        assert lit(rig) == []
    with pattern_rig(BY_LINES, ready_line=READY) as rig:
        rig.card.drive(READY, [(rig.clock.now_ns(), 1.0)])
        rig.armed()
        rig.turn(50)
        assert asked(rig, 1).outcome is Outcome.DELIVERED


@contextmanager
def before_the_run(by):
    if by == "holoblink":
        with showing() as program, pattern_rig(by_holoblink(program.port), primed=5) as rig:
            yield rig, program
        return
    with pattern_rig(BY_COUNT, primed=5) as rig:
        yield rig, PatternByWire(rig.card, 15.0, reset_line=BY_COUNT["reset_line"], step_line=BY_COUNT["step_line"])


@pytest.mark.parametrize("by", ["count", "holoblink"])
def test_what_takes_its_time_is_shown_before_the_run_and_only_that_is_fired(by):
    with before_the_run(by) as (rig, program):
        rig.card._now_ns = lambda: (rig.clock.step(20_000), rig.clock.now_ns())[1]  # a call takes 20 us
        rig.armed()
        rig.turn(50)
        assert asked(rig, 5).outcome is Outcome.DELIVERED
        rig.turn(200)
        ((begin_ns, end_ns),) = lit(rig)
        if by == "holoblink":
            # 10 + 2 x, 700 - 3 y of every target
            assert program.shown == [[(430.0, 100.0), (90.0, 610.0), (40.0, 340.0)]]
        else:
            assert program.shown_at(begin_ns) == program.shown_at(end_ns) == 5
        decision = asked(rig, 2)
        assert decision.outcome is Outcome.FAILED
        assert "shows pattern 5, not 2" in decision.reason
        rig.turn(200)
        assert len(lit(rig)) == 1


def test_a_counted_pattern_that_is_still_loading_is_not_fired():
    with before_the_run("count") as (rig, _):
        rig.armed()
        decision = asked(rig, 5)
        assert decision.outcome is Outcome.FAILED
        assert "still loading" in decision.reason
        assert lit(rig) == []


def test_a_pattern_shown_by_hand_is_fired():
    with pattern_rig(BY_HAND) as rig:
        rig.armed()
        assert asked(rig, 1).outcome is Outcome.DELIVERED


def _open_and_arm(output):
    output.open()
    output.arm()


@pytest.mark.parametrize(("fault", "words", "remedy"), [
    ("stranger", "greets with 'Welcome', not Hello", "port"),
    ("silent", "is silent after a pattern", "look at that program"),
    ("refuses", "answers 'Error' to a pattern, not Done", "log"),
])  # fmt: skip
def test_a_hologram_program_that_fails_keeps_it_disarmed_with_a_remedy(fault, words, remedy, monkeypatch):
    monkeypatch.setattr("drivers.outputs.pattern_ttl.holoblink._PATIENCE_S", 0.2)
    with showing() as program, pattern_rig(by_holoblink(program.port)) as rig:
        program.faults.add(fault)
        with pytest.raises(DeviceError, match=words) as raised:
            _open_and_arm(rig.output)
        assert remedy in raised.value.remedy
        assert not rig.output._armed
        assert rig.card.level(ENABLE) == 0.0
        program.faults.clear()
        rig.output.open()
        rig.output.arm()
        assert len(program.shown) == 1


def test_a_hologram_program_that_is_gone_is_said_and_one_that_is_back_is_used():
    with showing() as program:
        port = program.port
    with pattern_rig(by_holoblink(port)) as rig:
        with pytest.raises(DeviceError, match="does not answer") as raised:
            rig.output.open()
        assert "start the hologram program" in raised.value.remedy
        with showing(port):
            rig.output.open()
        with showing(port) as again:
            with pytest.raises(DeviceError, match="is gone"):
                rig.output.arm()
            rig.output.arm()
            assert len(again.shown) == 1


def held(*places):
    """Patterns (number, y, x) of one target each."""
    return {"patterns": [{"number": number, "targets_yx_px": [[y, x]]} for number, y, x in places]}


ON_OFF = {"kind": "counter", "counter": "ctr0", "power": None}
BAD = {
    "a pattern that the lines cannot tell": (BY_LINES, held((9, 1, 1)) | {"primed": 9}, "3 lines"),
    "a primed one that is not there": (BY_LINES, {"primed": 3}, "none of the patterns"),
    "two by hand": (BY_HAND, held((1, 1, 20), (2, 2, 40)), "by hand"),
    "two that are the same": (BY_LINES, held((1, 1, 1), (2, 2, 1)), "same targets"),
    "a number twice": (BY_LINES, held((1, 1, 20), (1, 2, 40)), "not all different"),
    "a line with two roles": (BY_LINES, {"ready_line": LINES[0]}, "two roles"),
    "the enable line": (BY_LINES | {"lines": (ENABLE, *LINES[1:])}, {}, "two roles"),
    "coordinates without a map": (by_holoblink(1), {"registration": None}, "needs `registration`"),
    "a target where no spot was": (BY_LINES, held((1, 300, 20)) | {"registration": REGISTRATION}, "outside the spots"),
    "a counter that cannot wait": (BY_LINES, {"pulse": ON_OFF, "trigger": EDGE}, "does not wait"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_rig_file_that_cannot_work_is_refused(case):
    select, changes, words = BAD[case]
    with pytest.raises(ValidationError, match=words):
        pattern_settings(settings(1).model_dump(mode="json"), select, **changes)


def test_two_places_of_a_pattern_need_two_targets():
    close = [{"number": 1, "targets_yx_px": [[50.0, 50.0], [51.0, 50.0]]}]
    config = pattern_settings(settings(1).model_dump(mode="json"), BY_LINES, patterns=close)
    assert config.pattern_of(((50.0, 50.0), (51.0, 50.0))).number == 1
    assert config.pattern_of(((50.0, 50.0), (90.0, 90.0))) is None
    assert config.pattern_of(((50.0, 50.0),)) is None


VOLUME = [
    {"number": 1, "targets_yx_px": [[50.0, 50.0]]},
    {"number": 2, "targets_yx_px": [[50.0, 50.0]], "target_planes": [1]},
    {"number": 3, "targets_yx_px": [[50.0, 50.0], [50.0, 50.0]], "target_planes": [0, 1]},
]


def test_the_same_place_in_another_plane_is_another_pattern():
    with pattern_rig(BY_LINES, patterns=VOLUME, ni={"kind": "analog"}) as rig:
        program = PatternByWire(rig.card, load_ms=SETTLE_MS - 0.5, lines=LINES)
        rig.armed()
        rig.turn(50)
        for planes, number in (((1,), 2), ((0,), 1), ((), 1), ((1, 0), 3), ((0, 1), 3)):
            targets = ((50.0, 50.0),) * max(1, len(planes))
            since_ns = rig.clock.now_ns()
            asked_for = rig.request(targets_yx_px=targets, target_planes=planes, power_mw=4.0)
            assert rig.interlock.request(asked_for).outcome is Outcome.DELIVERED
            rig.turn(200)
            ((begin_ns, end_ns),) = lit(rig, since_ns)
            assert {program.shown_at(begin_ns), program.shown_at(end_ns)} == {number}
        assert rig.interlock.request(rig.request(target_planes=(2,))).outcome is Outcome.FAILED


@pytest.mark.parametrize(("select", "patterns", "words"), [
    (BY_LINES, [VOLUME[1] | {"target_planes": [1, 0]}], "give each its plane, or none"),
    (by_holoblink(1), [VOLUME[1] | {"number": 1}], "x and y alone"),
    (BY_LINES, [VOLUME[1] | {"number": 1}, VOLUME[1]], "same targets"),
])  # fmt: skip
def test_planes_that_cannot_be_kept_are_refused(select, patterns, words):
    with pytest.raises(ValidationError, match=words):
        pattern_settings(settings(1).model_dump(mode="json"), select, patterns=patterns)


def rig_of(port=1, **bounds):
    config = pattern_settings(settings(port).model_dump(mode="json"), BY_LINES).model_dump(mode="json")
    rig = small_rig(microscope__pace="real_time")
    rig["outputs"]["led"] = config | {"limits": limits(**bounds).model_dump(mode="json")}
    return RigConfig.model_validate(rig)


def test_a_decision_has_to_be_younger_by_the_time_that_light_waits():
    output = rig_of(max_decision_age_ms=50.0).outputs["led"]
    assert limits_at_command(output).max_decision_age_ms == 50.0 - SETTLE_MS
    with pytest.raises(ValidationError, match="settle_ms 6"):
        rig_of(max_decision_age_ms=6.0)


def test_the_doctor_looks_at_lines_program_and_registration():
    with showing() as program, pattern_rig(by_holoblink(program.port)) as rig:
        assert {one.verdict for one in rig.output.examine()} == {Verdict.PASS}
        assert program.shown == []
        assert any("missed by 0.30 px at most" in one.text for one in rig.output.examine())
    with pattern_rig(
        BY_LINES | {"lines": ("port7/line8",)}, patterns=[{"number": 1, "targets_yx_px": [[1, 1]]}]
    ) as rig:
        assert "no port7/line8" in rig.output.examine()[-1].text


def test_the_doctor_fires_the_beam_alone(tmp_path):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    with serving([card]) as (_, port):
        rig = rig_of(port)
        found = fire_test(
            rig, "led", rig.outputs["led"], tmp_path, clock, lambda seconds: clock.step(round(seconds * 1e9))
        )
    assert "10 pulses were commanded" in found[-1].text
    assert len([level for _, level in card.light("ao0", ENABLE) if level > 0]) == 10
    assert [card.signal(line).steps() for line in LINES] == [[], [], []]

"""Light that waits: for a shutter that opens ahead of it, or for the lines of a frame where it may fall."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ni_rig import ENABLE, GATE, NiRig, ni_rig
from safety_rig import MS, FakeClock, Rig
from system_rig import small_rig, write_rig

from drivers.outputs.virtual import VirtualOutput
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.safety.interlock import InterlockState

KINDS = ["gate", "analog", "counter"]
SHUTTER = {"counter": "ctr3", "lead_ms": 12.0, "lag_ms": 30.0}
SCAN = {"terminal": "PFI1", "after_ms": 25.0, "window_ms": 6.0, "give_up_ms": 70.0}
EDGE = {"line": "port0/line7", "terminal": "PFI0"}
FRAME_MS = 33


def opened(rig: NiRig) -> list[tuple[int, float]]:
    return rig.card.signal("ctr3").steps()


def fired(rig, **changes):
    decision = rig.interlock.request(rig.request(**{"width_ms": 5.0, **changes}))
    assert decision.outcome is Outcome.DELIVERED, decision.reason
    return decision.t_command_ns


def scanned(rig, n_frames, phase_ms=0):
    """A frame clock on PFI1, from now on."""
    t0_ns = rig.clock.now_ns() + phase_ms * MS
    edges = [t0_ns + i * FRAME_MS * MS for i in range(n_frames)]
    rig.card.drive("PFI1", [step for t in edges for step in ((t, 1.0), (t + MS, 0.0))])
    return edges


@pytest.mark.parametrize(("kind", "trigger"), [(k, None) for k in KINDS] + [("gate", EDGE), ("analog", EDGE)])
def test_a_shutter_opens_before_each_train_and_closes_after_it(kind, trigger):
    with ni_rig(kind=kind, trigger=trigger, shutter=SHUTTER) as rig:
        rig.armed()
        for train in range(3):
            t_ns = fired(rig, pulses=3, period_ms=150.0)
            rig.turn(500)
            light, cover = rig.light(t_ns), rig.card.signal("ctr3").steps(t_ns)
            assert [level > 0 for _, level in light] == [True, False] * 3
            rises = [t for t, level in light if level > 0]
            assert [level for _, level in cover] == [1.0, 0.0]
            assert 0 <= cover[0][0] - t_ns < MS
            assert rises[0] - cover[0][0] == 12 * MS
            assert [b - a for a, b in pairwise(rises)] == [150 * MS] * 2
            assert cover[1][0] - light[-1][0] == 30 * MS
            told = [one["t_on_ns"] for one in rig.emitted[3 * train :]]
            assert [round((a - b) / MS) for a, b in zip(told, rises, strict=True)] == [0, 0, 0]
        assert rig.output.cut_trains() == ()


def test_with_a_shutter_another_train_of_the_same_shape_is_still_one_call():
    with ni_rig(kind="gate", shutter=SHUTTER) as rig:
        rig.armed()
        fired(rig)
        rig.turn(300)
        before = dict(rig.servicer.calls)
        fired(rig)
        made = {name: n - before.get(name, 0) for name, n in rig.servicer.calls.items() if n != before.get(name, 0)}
        assert made == {"StartTask": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_what_ends_a_train_in_its_lead_ends_light_and_shutter(kind):
    with ni_rig(kind=kind, shutter=SHUTTER) as rig:
        rig.armed()
        t_ns = fired(rig)
        rig.turn(5)
        rig.interlock.trip("operator", "stop", "go", "a person stopped it")
        rig.turn(200)
        assert rig.light(t_ns) == []
        assert opened(rig)[-1][1] == 0.0
        assert rig.card.level(ENABLE) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_dies_in_the_lead_gives_no_light_beyond_the_watchdog_and_the_shutter_closes(kind):
    with ni_rig(kind=kind, shutter=SHUTTER | {"lead_ms": 40.0}, bounds={"max_decision_age_ms": 100.0}) as rig:
        rig.armed()
        t_ns = fired(rig, width_ms=10.0)
        rig.turn(500, alive=False)
        light = rig.light(t_ns)
        assert [level for _, level in light][-1:] in ([], [0.0])
        assert all(t <= t_ns + 50 * MS for t, _ in light)
        assert opened(rig)[-1][1] == 0.0


@pytest.mark.parametrize("shutter", [None, SHUTTER], ids=["alone", "behind a shutter"])
@pytest.mark.parametrize("kind", KINDS)
def test_light_falls_in_its_lines_only(kind, shutter):
    with ni_rig(kind=kind, scan_gate=SCAN, shutter=shutter, bounds={"max_decision_age_ms": 300.0}) as rig:
        rig.armed()
        edges = scanned(rig, 40, 17)
        for _ in range(4):
            t_ns = fired(rig)
            begun = min(edge for edge in edges if edge >= t_ns)
            rig.turn(260)
            light = rig.light(t_ns)
            late = light[0][0] - (begun + 25 * MS)
            assert 0 <= late < MS / 10
            assert light[1][0] - light[0][0] == 5 * MS
            assert abs(rig.emitted[-1]["t_on_ns"] - light[0][0]) <= 5 * MS
            if shutter:
                cover = rig.card.signal("ctr3").steps(t_ns)
                assert light[0][0] - cover[0][0] == 12 * MS
                assert cover[1][0] - light[1][0] == 30 * MS
        assert rig.output.cut_trains() == ()
        assert len(rig.emitted) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_light_that_the_scanner_holds_for_too_long_is_recalled_and_never_comes(kind):
    with ni_rig(kind=kind, scan_gate=SCAN, bounds={"max_decision_age_ms": 300.0}) as rig:
        rig.armed()
        fired(rig)
        rig.turn(100)
        scanned(rig, 10)
        rig.turn(400)
        assert rig.light() == []
        assert rig.emitted == []
        assert [one.decision_id for one in rig.interlock.take_cut_trains()] != []
        assert rig.interlock.state in (InterlockState.ARMED, InterlockState.FIRING)
        scanned(rig, 10)
        fired(rig)
        rig.turn(260)
        assert [level > 0 for _, level in rig.light()] == [True, False]


def test_a_loop_that_dies_while_the_scanner_holds_light_back_gives_none_after_the_watchdog():
    with ni_rig(kind="gate", scan_gate=SCAN, bounds={"max_decision_age_ms": 300.0}) as rig:
        rig.armed()
        fired(rig)
        rig.turn(100, alive=False)
        scanned(rig, 10)
        rig.turn(400, alive=False)
        assert rig.light() == []


def test_a_train_that_does_not_fit_into_the_lines_is_refused_by_the_output():
    with ni_rig(kind="gate", scan_gate=SCAN, bounds={"max_decision_age_ms": 300.0}) as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request(pulses=2, period_ms=150.0, width_ms=5.0))
        assert decision.outcome is Outcome.FAILED
        assert "does not fit" in decision.reason
        assert rig.light() == []


def test_dose_and_gap_are_counted_from_when_light_begins_at_the_latest():
    with ni_rig(kind="gate", shutter=SHUTTER, bounds={"min_gap_ms": 100.0, "max_rate_hz": 50.0}) as rig:
        rig.armed()
        fired(rig)
        rig.turn(110)
        assert "gap_ms 93" in rig.interlock.request(rig.request()).reason
        rig.turn(10)
        fired(rig)


def test_a_virtual_shutter_delays_virtual_light_and_a_trip_within_the_lead_leaves_none():
    rig, emitted = Rig(FakeClock()), []
    output = VirtualOutput("led", rig.clock, emitted.append, 1000.0, lead_ms=12.0)
    rig.interlock._outputs["led"] = output
    rig.armed()
    decision = rig.interlock.request(rig.request())
    assert emitted == []
    assert output.next_due_ns == decision.t_command_ns + 12 * MS
    rig.clock.step(12 * MS)
    rig.interlock.tend(rig.clock.now_ns())
    assert [one["t_on_ns"] for one in emitted] == [decision.t_command_ns + 12 * MS]
    rig.clock.step(300 * MS)
    rig.beat()
    rig.interlock.request(rig.request())
    rig.interlock.trip("operator", "stop", "go", "a person stopped it")
    rig.clock.step(50 * MS)
    assert len(emitted) == 1
    assert [one.emitted for one in output.cut_trains()] == [0]


def rig_file(folder, output, **limits):
    rig = small_rig(microscope__pace="real_time")
    bounds = rig["outputs"]["led"]["limits"] | limits
    card = {"driver": "ni_daq", "device": "Dev1", "enable_line": ENABLE, "watchdog_ms": 50.0, "max_beam_mw": 20.0}
    rig["outputs"]["led"] = card | {"pulse": GATE, "limits": bounds | {"max_power_mw": 8.0} | limits} | output
    return write_rig(folder, rig)


@pytest.mark.parametrize(("output", "limits", "words"), [
    ({"shutter": SHUTTER | {"lead_ms": 60.0}}, {"max_decision_age_ms": 50.0}, "lead_ms 60: after it a decision"),
    ({"shutter": SHUTTER | {"lag_ms": 200.0}}, {"min_gap_ms": 100.0}, "the shutter still lags"),
    ({"scan_gate": SCAN}, {"max_decision_age_ms": 120.0}, "give_up_ms and watchdog_ms 120"),
    ({"scan_gate": SCAN}, {"max_decision_age_ms": 300.0, "max_width_ms": 10.0}, "longer than scan_gate.window_ms 6"),
    ({"scan_gate": SCAN | {"give_up_ms": 30.0}}, {}, "over before the window is"),
    ({"scan_gate": SCAN, "trigger": EDGE}, {"max_decision_age_ms": 300.0}, "leave out trigger"),
    ({"scan_gate": SCAN | {"after_ms": 5.0}, "shutter": SHUTTER}, {"max_decision_age_ms": 300.0}, "leaves no time"),
    ({"pulse": {"kind": "counter", "counter": "ctr3", "power": GATE["power"]}, "shutter": SHUTTER}, {}, "two roles"),
    ({"pulse": {"kind": "counter", "counter": "ctr0", "power": GATE["power"]}, "shutter": SHUTTER, "trigger": EDGE},
     {}, "does not wait for the shutter"),
])  # fmt: skip
def test_settings_that_cannot_be_kept_are_refused(output, limits, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        load_rig(rig_file(tmp_path, output, **limits))

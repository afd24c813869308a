"""Phases follow each other as written, light goes where and when the actions say."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from protocol_bench import LIGHT, MS, S, events, feed, frames_of, light, protocol, shipped, table, ticks

from protocols.running.evaluator import ProtocolRun
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.stimulation import MarkCommand, MessageCommand, PulseRequest


def test_quiet_then_inhibit_then_watch_as_the_library_writes_it():
    rule = ProtocolRun(shipped("silence_triggered_inhibition", arms={}), table())
    happenings = {2: (100,), 12: (100,), 70: (101,), 80: (119,)}
    phases, found = [], []
    for frame, (t_ns, one) in enumerate(ticks(3, happenings)):
        one["n_spikes"] = 4.0
        found += feed(rule, [(t_ns, one)], frame=frame)
        if not phases or phases[-1][1] != rule.phase:
            phases.append((frame, rule.phase))
    # Quiet since frame 2: 200 ms are over at frame 8. Then 30 ms, the watch from 9 to the burst at 12, 1.5 s of rest;
    # at the end of it the cells have long been quiet: light at once, and no burst within the 130 ms.
    assert phases == [
        (0, "wait_quiet"), (8, "light"), (9, "watch"), (12, "recover"), (57, "wait_quiet"), (58, "light"),
        (59, "watch"), (63, "recover"),
    ]  # fmt: skip
    assert [(type(one).__name__, one.frame) for one in found] == [
        ("PulseRequest", 8), ("MarkCommand", 12), ("PulseRequest", 58),
    ]  # fmt: skip


def test_the_first_reaction_listed_wins_and_the_others_wait_for_the_next_message():
    rule = ProtocolRun(
        protocol(
            triggers={"t": {"when": "event", "cells": "a"}, "u": {"when": "event", "cells": "b"}},
            actions={"one": {"do": "mark", "mark": "1"}, "two": {"do": "mark", "mark": "2"}},
            phases={
                "x": {"reactions": [{"trigger": "u", "do": ["two"], "go_to": "y"}, {"trigger": "t", "do": ["one"]}]},
                "y": {"timeout": {"after_ms": 100.0, "go_to": "x"}},
            },
        ),
        table(),
    )
    found = feed(rule, ticks(1, {3: (100, 110), 4: (100,), 10: (100,)}))
    assert [(one.mark, one.frame) for one in found] == [("2", 3), ("1", 10)]


def test_what_is_true_when_a_phase_begins_triggers_in_it():
    rule = ProtocolRun(
        protocol(
            triggers={"t": {"when": "silence", "cells": "a", "for_ms": 100.0}, "u": {"when": "event", "cells": "b"}},
            actions={"hit": {"do": "mark", "mark": "hit"}},
            phases={
                "x": {"reactions": [{"trigger": "u", "go_to": "y"}]},
                "y": {"reactions": [{"trigger": "t", "do": ["hit"]}]},
            },
        ),
        table(),
    )
    assert frames_of(feed(rule, ticks(1, {12: (110,)}))) == [13]


def test_a_ramp_is_pulses_of_equal_steps_in_their_period_each_a_request_of_its_own():
    ramp = {"do": "ramp", "output": "led", "targets": "b", "width_ms": 5.0, "from_mw": 2.0, "to_mw": 10.0,
            "pulses": 5, "period_ms": 200.0}  # fmt: skip
    rule = ProtocolRun(protocol(actions={"light": ramp}), table())
    found = feed(rule, ticks(3, {3: (100,)}))
    assert [one.power_mw for one in found] == pytest.approx([2, 4, 6, 8, 10])
    assert frames_of(found) == [3, 9, 15, 21, 27]
    assert {one.pulses for one in found} == {1}


def clamp(**changes):
    action = {"do": "clamp", "output": "led", "targets": "b", "signal": "x", "set_point": 1.0, "gain_mw": 4.0,
              "bias_mw": 1.0, "min_mw": 0.5, "max_mw": 6.0, "width_ms": 1.0, "period_ms": 100.0} | changes  # fmt: skip
    return ProtocolRun(
        protocol(
            signals={"x": {"of": "activity", "cells": "a"}},
            actions={"light": action},
            phases={"run": {"enter": ["light"]}},
        ),
        table(),
    )


def run_clamp(rule, values):
    """Power of every pulse by frame."""
    found = {}
    for frame, value in enumerate(values):
        t_ns = round(frame * S / 30)
        for one in rule.on_spikes(frame, t_ns, t_ns, Mode.LIVE, events()):
            found[frame] = one.power_mw
        rule.on_activity(frame, t_ns, 0, ("dff",), np.full((1, 20), value, np.float32))
    return found


def test_a_clamp_gives_power_in_proportion_to_the_error_at_its_period_and_within_its_bounds():
    assert run_clamp(clamp(), [np.nan] + [0.5] * 6) == {2: 3.0, 5: 3.0}
    assert run_clamp(clamp(), [-1.0] * 3) == {1: 6.0}
    assert run_clamp(clamp(), [1.2] * 4) == {}
    assert run_clamp(clamp(inverted=True), [1.5] * 2) == {1: 3.0}


def test_the_integral_of_a_clamp_grows_with_the_error_and_stands_still_at_a_bound():
    power = run_clamp(clamp(gain_mw=0.0, integral_mw_per_s=1.0), [0.5] * 91)
    assert power[88] == pytest.approx(1.0 + 0.5 * 88 / 30, abs=0.05)
    values = [-9.0] * 300 + [1.5] * 8
    power = run_clamp(clamp(gain_mw=0.0, integral_mw_per_s=1.0), values)
    assert power[max(frame for frame in power if frame < 300)] <= 6.0
    assert min(power[frame] for frame in power if frame >= 300) < 6.0


def test_an_unknown_signal_gives_no_pulse():
    assert run_clamp(clamp(), [np.nan] * 30) == {}


def test_marks_and_messages_go_out_for_both_arms():
    rule = ProtocolRun(
        protocol(
            actions={"light": LIGHT, "m": {"do": "mark", "mark": "trial"}, "q": {"do": "message", "topic": "lab/x"}},
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light", "m", "q"], "trial": True}]}},
            design={
                "seed": 3,
                "arms": {"stim": {"kind": "stim", "share": 0.5}, "withheld": {"kind": "withheld", "share": 0.5}},
            },
        ),
        table(),
    )
    found = feed(rule, ticks(10, {frame: (100,) for frame in range(0, 300, 10)}))
    assert [type(one) for one in found] == [PulseRequest, MarkCommand, MessageCommand] * 30
    assert {one.arm for one in light(found)} == {"stim", "withheld"}


PACKAGE = """
class Third:
    momentary = True
    def __init__(self, cells, parameters):
        self.cells, self.every, self.n = cells, int(parameters["every"]), 0
    def on_events(self, t_scan_ns, events):
        self.n += len(events)
        fires, self.n = self.n >= self.every, self.n % self.every
        return fires
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that offers a rule, made and put on the path."""
    (tmp_path / "someones_rules.py").write_text(PACKAGE, encoding="utf-8")
    info = tmp_path / "someones_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-rules\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[spikeloop.rules]\nevery_nth = someones_rules:Third\nbroken = someones_rules:Nothing\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("someones_rules", None)


def custom(rule, parameters):
    return ProtocolRun(
        protocol(triggers={"t": {"when": "rule", "rule": rule, "cells": "a", "parameters": parameters}}), table()
    )


def test_a_rule_of_another_package_triggers(package):
    found = feed(custom("every_nth", {"every": 3}), ticks(1, {2: (100,), 4: (101, 119), 6: (102,), 9: (100,)}))
    assert [(one.frame, one.roi_ids) for one in found] == [(6, (102,))]


@pytest.mark.parametrize(
    ("rule", "parameters", "words"),
    [
        ("missing", {}, ("missing", "every_nth")),
        ("broken", {}, ("broken", "cannot be imported")),
        ("every_nth", {}, ("every_nth", "every", "parameters")),
    ],
)
def test_a_rule_that_cannot_be_had_is_told(package, rule, parameters, words):
    with pytest.raises(ConfigError) as error:
        custom(rule, parameters)
    for word in words:
        assert word in str(error.value)


def test_two_message_orders_of_the_same_frame_cannot_differ_because_edges_wait_for_their_time():
    first, second = (
        ProtocolRun(protocol(triggers={"t": {"when": "line", "line": "lick", "condition": "rising"}}), table())
        for _ in range(2)
    )
    first.on_sync("lick", True, 150 * MS)
    found = feed(first, ticks(0.5))
    early = feed(second, list(ticks(0.5))[:4])
    second.on_sync("lick", True, 150 * MS)
    early += feed(second, list(ticks(0.5))[4:], frame=4)
    assert frames_of(found) == frames_of(early) == [5]


def test_a_response_made_of_events_is_measured_from_events_also_where_activity_comes():
    rule = ProtocolRun(
        protocol(
            signals={"r": {"of": "rate", "cells": "b", "window_ms": 100.0}, "x": {"of": "activity", "cells": "b"}},
            triggers={"t": {"when": "event", "cells": "a"}, "u": {"when": "above", "signal": "x", "level": 1e9}},
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            design={"seed": 1, "response": {"signal": "r", "from_ms": 100.0, "to_ms": 200.0}},
        ),
        table(),
    )
    for frame, (t_ns, one) in enumerate(ticks(2, {30: (100,), 34: (110,)})):
        rule.on_spikes(frame, t_ns, t_ns, Mode.LIVE, one)
        rule.on_activity(frame, t_ns, 0, ("dff",), np.zeros((1, 20), np.float32))
    # One event of five cells, seen in the three messages of 100 ms from frame 34 on: two hertz in each.
    trials = rule.conclude()["trials"]
    assert trials["status"] == ["complete"]
    assert trials["response"] == pytest.approx([2.0 * 3 / 4])

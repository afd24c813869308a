"""Phases follow each other as written, light goes where and when the actions say, a design holds what it promises."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from protocol_bench import MS, S, events, feed, protocol, shipped, table, ticks

from protocols.running.evaluator import ProtocolRun
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.stimulation import MarkCommand, MessageCommand, PulseRequest

LIGHT = {"do": "pulse", "output": "led", "targets": "b", "power_mw": 8.0, "width_ms": 5.0}


def light(found):
    """Requests that are not suppressed."""
    return [one for one in found if isinstance(one, PulseRequest) and one.suppressed is None]


def frames_of(found):
    """Frame of every command."""
    return [one.frame for one in found]


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


def test_blocks_hold_exactly_every_arms_share_and_the_baseline_and_the_pause_between_trials_are_kept():
    arms = {"stim": {"kind": "stim", "share": 0.25}, "withheld": {"kind": "withheld", "share": 0.75}}
    rule = ProtocolRun(
        protocol(
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            design={"seed": 3, "arms": arms, "block_size": 8, "baseline_s": 2.0, "inter_trial_ms": 400.0},
        ),
        table(),
    )
    found = feed(rule, ticks(120, {frame: (100,) for frame in range(3600)}))
    assert {one.suppressed for one in found if one.frame < 60} == {"baseline"}
    trials = light(found)
    assert min(frames_of(trials)) == 60
    assert min(np.diff(frames_of(trials))) == 12
    names = [one.arm for one in trials][: len(trials) // 8 * 8]
    per_block = np.array([one == "stim" for one in names]).reshape(-1, 8)
    assert np.all(per_block.sum(axis=1) == 2)
    assert len({tuple(row) for row in per_block}) > 5
    suppressed = next(one for one in found if one.frame == 61)
    assert suppressed.suppressed == "inter_trial_ms 33.3 is below 400"


def test_a_sham_trial_lights_the_sham_targets_and_says_so():
    rule = ProtocolRun(
        protocol(
            cells={
                "a": {"select": "best", "n": 10},
                "b": {"select": "best", "n": 5, "but_not": ["a"]},
                "off": {"select": "control_sites", "n": 1, "min_distance_um": 2.0},
            },
            actions={"light": LIGHT, "sham": LIGHT | {"targets": "off"}},
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            design={
                "seed": 3,
                "arms": {
                    "stim": {"kind": "stim", "share": 0.5},
                    "sham": {"kind": "sham", "share": 0.5, "do": ["sham"]},
                },
            },
        ),
        table(),
    )
    found = light(feed(rule, ticks(10, {frame: (100,) for frame in range(0, 300, 10)})))
    sham = [one for one in found if one.sham]
    assert {one.arm for one in sham} == {"sham"}
    assert {(one.target_ids, one.pattern_id) for one in sham} == {((), "off")}
    assert 5 < len(sham) < 25


def test_control_sites_keep_their_distance_to_every_cell():
    rois = table()
    rule = ProtocolRun(
        protocol(
            cells={"a": {"select": "all"}, "b": {"select": "control_sites", "n": 4, "min_distance_um": 10.0}},
        ),
        rois,
    )
    sites = np.array(rule.groups["b"].yx_px)
    distance_um = 0.8 * np.hypot(*(sites[:, None] - rois.centroid_yx_px[None]).transpose(2, 0, 1))
    assert len(sites) >= 1
    assert distance_um.min() >= 10.0
    with pytest.raises(ConfigError, match=r"min_distance_um.*no place is 500 um"):
        ProtocolRun(
            protocol(
                cells={"a": {"select": "all"}, "b": {"select": "control_sites", "n": 1, "min_distance_um": 500.0}}
            ),
            rois,
        )


def test_one_target_at_a_time_comes_in_shuffled_rounds_with_every_power():
    one_of = LIGHT | {"targets": {"one_of": ["b"]}, "power_mw": [2.0, 4.0]}
    rule = ProtocolRun(protocol(actions={"light": one_of}), table())
    found = light(feed(rule, ticks(20, {frame: (100,) for frame in range(0, 600, 10)})))
    rounds = [[(one.target_ids, one.power_mw) for one in found[i : i + 10]] for i in range(0, 60, 10)]
    whole = {((110 + i,), power) for i in range(5) for power in (2.0, 4.0)}
    assert all(set(one) == whole for one in rounds)
    assert len({tuple(one) for one in rounds}) == len(rounds)


def yoked(partner="previous", partner_s=(), **kinds):
    design = {
        "seed": 5,
        "blocks": {
            "block_s": 10.0,
            "pause_s": 1.0,
            "kinds": {"closed": {"kind": "closed_loop"}, "yoked": {"kind": "yoked", "do": "light", "partner": partner}}
            | kinds,
        },
    }
    config = protocol(phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}}, design=design)
    return ProtocolRun(config, table(), partner_s)


def test_yoked_trains_equal_their_partners_pulse_times():
    random = np.random.default_rng(0)
    happenings = {int(frame): (100,) for frame in np.flatnonzero(random.random(30 * 66) < 0.03)}
    found = feed(yoked(), ticks(66, happenings))
    block_ns = 11 * S
    times = {}
    for one in light(found):
        times.setdefault(one.t_scan_ns // block_ns, []).append((one.arm, one.t_scan_ns % block_ns))
    kinds = [{arm for arm, _ in times[block]} for block in sorted(times)]
    assert sorted(map(tuple, kinds)) == [("stim",)] * 3 + [("yoked",)] * 3
    latest = None
    for block in sorted(times):
        if times[block][0][0] == "stim":
            latest = [t_ns for _, t_ns in times[block]]
        else:
            assert [t_ns for _, t_ns in times[block]] == latest
    suppressed = {one.suppressed for one in found if one.suppressed}
    expected = {f"block {i}: yoked" for i in range(1, 7) if kinds[i - 1] == {"yoked"}}
    assert expected <= suppressed <= expected | {f"pause after block {i}" for i in range(1, 7)}


def test_a_recorded_partner_is_repeated_block_by_block_whatever_the_cells_do():
    partner = ((0.5, 2.0, 7.0), (1.0,))
    for happenings in ({}, {frame: (100,) for frame in range(0, 1980, 7)}):
        found = [one for one in light(feed(yoked("file", partner), ticks(66, happenings))) if one.arm == "yoked"]
        blocks = sorted({one.t_scan_ns // (11 * S) for one in found})
        offsets = [[one.t_scan_ns % (11 * S) / S for one in found if one.t_scan_ns // (11 * S) == b] for b in blocks]
        expected = [[0.5, 2.0, 7.0], [1.0], [0.5, 2.0, 7.0]]
        assert all(one == pytest.approx(other, abs=1e-6) for one, other in zip(offsets, expected, strict=True))


def test_open_loop_pulses_come_at_random_and_at_the_same_times_for_the_same_seed():
    runs = []
    for happenings in ({}, {frame: (100,) for frame in range(0, 9900, 7)}):
        rule = yoked(random={"kind": "open_loop", "do": "light", "rate_hz": 2.0})
        found = light(feed(rule, ticks(330, happenings)))
        runs.append([one.t_scan_ns for one in found if one.arm == "random"])
    assert runs[0] == runs[1]
    assert 140 <= len(runs[0]) <= 260


@pytest.mark.parametrize(
    ("stop", "n", "why"),
    [({"trials": 5}, 5, "5 trials"), ({"after_s": 3.05}, 10, "after_s"), ({"delivered": 4}, 4, "4 trials with light")],
)
def test_no_trial_begins_after_the_session_has_stopped(stop, n, why):
    rule = ProtocolRun(
        protocol(
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            design={"seed": 1, "stop": stop},
        ),
        table(),
    )
    found = feed(rule, ticks(10, {frame: (100,) for frame in range(0, 300, 10)}))
    assert len(light(found)) == n
    assert why in rule.phase
    assert all(why in one.suppressed for one in found[n:])
    assert len(found) == 30


def test_refused_trials_are_lost_in_either_arm_and_those_with_invalid_frames_void():
    signals = {"x": {"of": "activity", "cells": "b"}}
    rule = ProtocolRun(
        protocol(
            signals=signals,
            phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            design={
                "seed": 1,
                "arms": {"stim": {"kind": "stim", "share": 0.5}, "withheld": {"kind": "withheld", "share": 0.5}},
                "response": {"signal": "x", "from_ms": 50.0, "to_ms": 250.0, "minus_before_ms": 100.0},
            },
        ),
        table(),
    )
    number = 0
    for frame, (t_ns, one) in enumerate(ticks(40, {frame: (100,) for frame in range(0, 1200, 30)})):
        for request in rule.on_spikes(frame, t_ns, t_ns, Mode.LIVE, one):
            rule.on_outcome(request, Outcome.REFUSED if number % 4 == 0 else Outcome.DELIVERED)
            number += 1
        value = np.full((1, 20), 1.0 + (frame % 30 > 0), np.float32)
        if number % 4 == 2 and frame % 30 == 5:
            value[:] = np.nan
        rule.on_activity(frame, t_ns, 0, ("dff",), value)
    concluded = rule.conclude()
    totals = {status: sum(counts[status] for counts in concluded["arms"].values())
              for status in ("complete", "void", "lost", "open")}  # fmt: skip
    assert totals == {"complete": 20, "void": 10, "lost": 10, "open": 0}
    complete = [y for y, s in zip(concluded["trials"]["response"], concluded["trials"]["status"], strict=True)
                if s == "complete"]  # fmt: skip
    # Before: three frames of 2 and, for the first trial, one of none; after: 2.
    assert np.allclose(complete, 0.0, atol=1e-6) or np.allclose(complete[1:], complete[1], atol=1e-6)


def test_while_blinded_the_state_shows_neither_arm_nor_effect():
    arms = {"stim": {"kind": "stim", "share": 0.5}, "withheld": {"kind": "withheld", "share": 0.5}}
    for blind in (True, False):
        rule = ProtocolRun(
            protocol(
                phases={"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
                design={"seed": 1, "arms": arms, "blind": blind},
            ),
            table(),
        )
        feed(rule, ticks(2, {frame: (100,) for frame in range(0, 60, 10)}))
        state = rule.state()
        assert state["trial"] == 6
        assert state["arm"] == ("hidden" if blind else rule.conclude()["trials"]["arm"][-1])
        assert (state["effect"] is None) == blind


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

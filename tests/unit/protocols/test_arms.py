"""Designs: blocks, sham, control sites, yoked and open-loop trains, stop rules, blinding."""

from __future__ import annotations

import numpy as np
import pytest
from protocol_bench import LIGHT, S, feed, frames_of, light, protocol, table, ticks

from protocols.running.evaluator import ProtocolRun
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode, Outcome


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

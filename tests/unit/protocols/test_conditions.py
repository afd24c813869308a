"""Every condition holds when it says it holds, at the edges too; composition, hold and refractory are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from protocol_bench import MS, S, events, feed, protocol, table, ticks

from protocols.running.evaluator import ProtocolRun
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode

MARK = {"do": "mark", "mark": "hit"}


def run_of(trigger, signals=None, cells=None, more=None, rois=None):
    """A protocol whose only action is a mark after trigger `t`."""
    return ProtocolRun(
        protocol(
            cells=cells or {"a": {"select": "best", "n": 10}, "b": {"select": "best", "n": 5, "but_not": ["a"]}},
            signals=signals or {},
            triggers={"t": trigger, **(more or {})},
            actions={"hit": MARK},
            phases={"run": {"reactions": [{"trigger": "t", "do": ["hit"]}]}},
        ),
        table() if rois is None else rois,
    )


def frames(trigger, until_s, happenings, **more):
    """Frames in which the trigger fires."""
    return [one.frame for one in feed(run_of(trigger, **more), ticks(until_s, happenings))]


def activity(rule, values, rate_hz=30.0):
    """Marks that follow from dF/F, shape (n_frames, n_cells in order of the table)."""
    found = []
    for frame, row in enumerate(values):
        t_ns = round(frame * S / rate_hz)
        found += rule.on_spikes(frame, t_ns, t_ns, Mode.LIVE, events())
        found += rule.on_activity(frame, t_ns, 0, ("z", "dff"), np.stack([np.zeros_like(row), row]).astype(np.float32))
    return [one.frame for one in found]


def test_a_sequence_is_an_event_of_a_then_one_of_b_within_the_time_and_not_the_other_way_round():
    trigger = {"when": "sequence", "first": "a", "then": "b", "min_ms": 50.0, "within_ms": 200.0}
    assert frames(trigger, 1, {3: (100,), 6: (112,)}) == [6]
    assert frames(trigger, 1, {3: (112,), 6: (100,)}) == []
    assert frames(trigger, 1, {3: (100,), 4: (112,)}) == []
    assert frames(trigger, 1, {3: (100,), 9: (112,)}) == [9]
    assert frames(trigger, 1, {3: (100,), 10: (112,)}) == []


def test_the_order_within_one_message_is_that_of_the_spikes():
    trigger = {"when": "sequence", "first": "a", "then": "b", "within_ms": 200.0}
    assert feed(run_of(trigger), [(S, events((112, S), (100, S - 10 * MS)))]) != []
    assert feed(run_of(trigger), [(S, events((112, S - 10 * MS), (100, S)))]) == []


def test_silence_begins_with_the_session_and_with_every_event_and_fires_once():
    trigger = {"when": "silence", "cells": "a", "for_ms": 200.0}
    assert frames(trigger, 1, {}) == [6]
    assert frames(trigger, 1, {10: (100,), 12: (119,)}) == [6, 16]


def test_a_rate_is_unknown_until_its_window_has_passed_then_counts_events_per_cell():
    signals = {"r": {"of": "rate", "cells": "a", "window_ms": 500.0}}
    above = {"when": "above", "signal": "r", "level": 0.39}
    happenings = {2: (100, 101), 20: (100,), 24: (101,)}
    assert frames(above, 1.4, happenings, signals=signals) == [15, 24]
    below = {"when": "below", "signal": "r", "level": 0.1}
    assert frames(below, 1.4, happenings, signals=signals) == [17, 39]


def test_hysteresis_keeps_a_level_until_its_release():
    values = np.zeros((60, 20))
    values[10:, :], values[20:, :], values[25:, :], values[40:, :] = 1.0, 0.6, 1.0, 0.2
    values[50:, :] = 1.0
    signals = {"x": {"of": "activity", "cells": "a"}}
    assert activity(run_of({"when": "above", "signal": "x", "level": 0.8}, signals), values) == [10, 25, 50]
    held = {"when": "above", "signal": "x", "level": 0.8, "release": 0.5}
    assert activity(run_of(held, signals), values) == [10, 50]


def test_the_mean_is_that_of_the_valid_cells_of_the_group_and_unknown_without_half_of_them():
    rois = table()
    values = np.full((1, 20), 9.0)
    group = [list(rois.roi_id).index(100 + i) for i in range(10)]
    values[0, group] = np.arange(10)
    rule = run_of({"when": "above", "signal": "x", "level": 1e9}, {"x": {"of": "activity", "cells": "a"}}, rois=rois)
    activity(rule, values)
    assert rule.signals["x"].value == pytest.approx(4.5)
    values[0, group[:5]] = np.nan
    activity(rule, values)
    assert rule.signals["x"].raw == pytest.approx(7.0)
    values[0, group[:6]] = np.nan
    activity(rule, values)
    assert np.isnan(rule.signals["x"].raw)


def test_smoothing_is_an_exponential_of_the_time_that_passed():
    rule = run_of(
        {"when": "above", "signal": "x", "level": 1e9}, {"x": {"of": "activity", "cells": "a", "smooth_ms": 100.0}}
    )
    values = np.zeros((7, 20))
    values[1:] = 1.0
    activity(rule, values)
    assert rule.signals["x"].value == pytest.approx(1 - np.exp(-6 / 30 / 0.1))


@pytest.mark.parametrize(("statistic", "value"), [("max", 9.0), ("fraction_above", 0.4)])
def test_other_statistics(statistic, value):
    rois = table()
    values = np.zeros((1, 20))
    values[0, [list(rois.roi_id).index(100 + i) for i in range(10)]] = np.arange(10)
    signal = {"of": "activity", "cells": "a", "statistic": statistic}
    if statistic == "fraction_above":
        signal["level"] = 5.0
    rule = run_of({"when": "above", "signal": "x", "level": 1e9}, {"x": signal}, rois=rois)
    activity(rule, values)
    assert rule.signals["x"].value == pytest.approx(value)


def test_a_projection_weighs_cells_in_the_order_of_the_group_and_knows_nothing_without_one_of_them():
    rois = table()
    order = [list(rois.roi_id).index(i) for i in (103, 101)]
    cells = {"a": {"select": "ids", "ids": [103, 101]}}
    signals = {"p": {"of": "projection", "cells": "a", "weights": [2.0, -1.0], "offset": 0.5}}
    rule = run_of({"when": "above", "signal": "p", "level": 0.0}, signals, cells, rois=rois)
    values = np.zeros((3, 20))
    values[1, order] = 1.0, 1.0
    values[2, order] = 1.0, np.nan
    assert activity(rule, values[:2]) == [1]
    assert rule.signals["p"].value == pytest.approx(0.5)
    activity(rule, values)
    assert np.isnan(rule.signals["p"].raw)
    with pytest.raises(ConfigError, match=r"signals\.p\.weights.*3 weights for the 2"):
        run_of(
            {"when": "above", "signal": "p", "level": 0.0},
            {"p": {"of": "projection", "cells": "a", "weights": [1.0, 2.0, 3.0]}},
            cells,
        )


def test_a_region_is_entered_once_and_unknown_is_outside():
    signals = {
        "x": {"of": "activity", "cells": "a"},
        "y": {"of": "activity", "cells": "b"},
    }
    trigger = {"when": "region", "signals": ["x", "y"], "centre": [1.0, 1.0], "radius": 0.3}
    rois = table()
    a = [list(rois.roi_id).index(100 + i) for i in range(10)]
    b = [list(rois.roi_id).index(110 + i) for i in range(5)]
    values = np.zeros((12, 20))
    values[3:, a] = 1.0
    values[5:, b] = 1.2
    values[8, b] = np.nan
    values[9, :] = 0.0
    assert activity(run_of(trigger, signals, rois=rois), values) == [5, 10]


def test_a_dose_is_the_integral_over_time_and_begins_again():
    values = np.full((302, 20), 2.0)
    signals = {"x": {"of": "activity", "cells": "a"}}
    found = activity(run_of({"when": "dose", "signal": "x", "reaches": 5.0}, signals), values)
    assert found == pytest.approx([75, 150, 225, 300], abs=1)


def test_edges_of_a_line_count_in_the_first_message_scanned_after_them():
    rule = run_of({"when": "line", "line": "lick", "condition": "rising"})
    rule.on_sync("lick", True, 50 * MS)
    rule.on_sync("lick", False, 55 * MS)
    rule.on_sync("wheel", True, 1 * MS)
    rule.on_sync("lick", True, 250 * MS)
    assert [one.frame for one in feed(rule, ticks(1))] == [2, 8]
    assert rule.lines == ("lick",)


def test_the_level_of_a_line_is_unknown_until_its_first_edge():
    rule = run_of({"when": "line", "line": "lick", "condition": "low"})
    found = feed(rule, ticks(0.5))
    rule.on_sync("lick", False, 600 * MS)
    found += feed(rule, [(S, events())], frame=30)
    assert [one.frame for one in found] == [30]


def test_a_schedule_keeps_its_times_and_jitter_stays_within_its_bound_for_the_same_seed():
    assert frames({"when": "schedule", "at_s": [0.5, 0.1]}, 1, {}) == [3, 15]
    trigger = {"when": "schedule", "every_s": 0.5, "first_s": 0.2, "jitter_s": 0.3}
    found = frames(trigger, 20, {})
    assert found == frames(trigger, 20, {})
    late = np.array(found) / 30 - 0.2 - 0.5 * np.arange(len(found))
    assert len(found) >= 39
    assert np.all((late >= 0) & (late <= 0.3 + 1 / 30 + 1e-9))
    assert late.std() > 0.05


def test_a_key_counts_once():
    rule = run_of({"when": "key", "key": "go"})
    rule.on_key("go")
    rule.on_key("other")
    assert [one.frame for one in feed(rule, ticks(0.2))] == [0]


def test_all_any_and_not_compose():
    signals = {"r": {"of": "rate", "cells": "b", "window_ms": 300.0}}
    happenings = {12: (100,), 20: (110,), 22: (100,)}
    quiet = {"when": "below", "signal": "r", "level": 0.5}
    event = {"when": "event", "cells": "a"}
    assert frames({"when": "all", "of": [event, quiet]}, 1, happenings, signals=signals) == [12]
    assert frames({"when": "all", "of": [event, {"when": "not", "of": quiet}]}, 1, happenings, signals=signals) == [22]
    named = {"when": "all", "of": ["e", {"when": "not", "of": "q"}]}
    assert frames(named, 1, happenings, signals=signals, more={"e": event, "q": quiet}) == [22]
    either = {"when": "any", "of": [event, {"when": "event", "cells": "b"}]}
    assert frames(either, 1, happenings, signals=signals) == [12, 20, 22]


def test_hold_counts_from_the_beginning_of_a_level_and_breaks_with_it():
    values = np.zeros((60, 20))
    values[5:10], values[20:] = 1.0, 1.0
    signals = {"x": {"of": "activity", "cells": "a"}}
    trigger = {"when": "above", "signal": "x", "level": 0.5, "hold_ms": 300.0}
    assert activity(run_of(trigger, signals), values) == [29]
    with pytest.raises(ConfigError, match="a moment cannot be held"):
        run_of({"when": "event", "cells": "a", "hold_ms": 10.0})


def test_while_true_fires_again_after_every_refractory_time():
    values = np.ones((91, 20))
    signals = {"x": {"of": "activity", "cells": "a"}}
    trigger = {"when": "above", "signal": "x", "level": 0.5, "while_true": True, "refractory_ms": 1000.0}
    assert activity(run_of(trigger, signals), values) == [0, 30, 60, 90]


def test_a_field_that_does_not_come_leaves_a_signal_unknown():
    rule = run_of({"when": "above", "signal": "x", "level": -1.0}, {"x": {"of": "activity", "cells": "a"}})
    rule.on_spikes(0, 0, 0, Mode.LIVE, events())
    assert list(rule.on_activity(0, 0, 0, ("z",), np.ones((1, 20), np.float32))) == []
    assert np.isnan(rule.signals["x"].value)

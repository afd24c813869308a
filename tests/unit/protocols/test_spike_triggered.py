"""Triggers follow from events alone: same events, config and seed, same decisions; control and light alike."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from protocol_bench import MS, S, events, feed, protocol, random_stream, shipped, table
from scipy.stats import binom

from protocols.running.evaluator import ProtocolRun
from protocols.schema.design import Arm
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode


def rule(withheld=0.5, refractory_ms=1000.0, seed=1, rois=None, **trigger):
    """The shipped protocol with another share of withheld trials, seed and trigger."""
    config = shipped("spike_triggered", seed=seed, arms=arms(withheld))
    spike = config.triggers["spike"].model_copy(update={"refractory_ms": refractory_ms, **trigger})
    return ProtocolRun(config.model_copy(update={"triggers": {"spike": spike}}), table() if rois is None else rois)


def arms(withheld):
    shares = {"stim": 1 - withheld, "withheld": withheld}
    return {name: Arm(kind=name, share=share) for name, share in shares.items() if share > 0}


def test_the_best_cells_trigger_and_the_next_best_are_lit():
    one = rule()
    assert one.group_ids("watched") == tuple(range(100, 110))
    assert one.group_ids("lit") == tuple(range(110, 115))
    assert one.notes == ()
    (request,) = feed(one, [(10 * S, events((105, 9 * S), (119, 9 * S)))])
    assert request.roi_ids == (105,)
    assert request.targets_yx_px == tuple((i * 10.0, i * 3.0) for i in range(10, 15))
    assert (request.output, request.power_mw, request.width_ms, request.pulses) == ("led", 8.0, 5.0, 1)
    assert (request.t_scan_ns, request.t_decided_ns, request.frame) == (10 * S, 10 * S + MS, 0)


def test_same_events_config_and_seed_give_the_same_decisions_and_another_seed_does_not():
    stream = random_stream()
    first, again = (feed(rule(), stream) for _ in range(2))
    assert first == again
    assert len(first) > 100
    other = feed(rule(seed=2), stream)
    assert [one.t_scan_ns for one in other] == [one.t_scan_ns for one in first]
    assert [one.arm for one in other] != [one.arm for one in first]


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_withheld_share_is_binomial(probability):
    found = feed(rule(probability, refractory_ms=0), [(i * S, events((100, i * S))) for i in range(1, 2001)])
    low, high = binom.interval(0.999, 2000, probability)
    assert len(found) == 2000
    assert low <= sum(one.withheld for one in found) <= high
    assert all((one.arm == "withheld") == one.withheld for one in found)


def test_the_refractory_time_is_the_same_after_withheld_and_delivered_triggers():
    stream = random_stream()
    times = {}
    for probability in (0.0, 0.5, 1.0):
        found = feed(rule(probability), stream)
        times[probability] = [(one.t_scan_ns, one.roi_ids, one.suppressed) for one in found]
        eligible = [one.t_scan_ns for one in found if one.suppressed is None]
        assert min(np.diff(eligible)) >= S
        assert {one.arm for one in found if one.suppressed is None} <= {"stim", "withheld"}
        assert {one.arm for one in found if one.suppressed is not None} == {""}
    assert times[0.0] == times[0.5] == times[1.0]


def test_a_trigger_inside_the_refractory_time_is_reported_with_numbers():
    found = feed(rule(), [(S, events((100, S))), (S + 999 * MS, events((100, S))), (2 * S, events((100, S)))])
    assert [one.suppressed for one in found] == [None, "refractory_ms 999.0 is below 1000", None]


def test_what_the_interlock_makes_of_a_request_changes_no_later_command():
    from rt_engine.interfaces.messages import Outcome

    stream = random_stream()
    plain, told = rule(), rule()
    expected = feed(plain, stream)
    found = []
    for message in stream:
        for request in feed(told, [message]):
            found.append(request)
            told.on_outcome(request, Outcome.REFUSED)
    assert [(one.t_scan_ns, one.arm) for one in found] == [(one.t_scan_ns, one.arm) for one in expected]


@pytest.mark.parametrize("mode", [Mode.BASELINE, Mode.CALIBRATING, Mode.PAUSED])
def test_nothing_triggers_unless_live(mode):
    assert list(rule().on_spikes(0, S, S, mode, events((100, S)))) == []


def test_events_of_low_or_no_probability_do_not_trigger():
    one = rule(min_probability=0.5, refractory_ms=0)
    assert feed(one, [(S, events((100, S), probability=0.49)), (S, events((100, S), probability=np.nan))]) == []
    assert len(feed(one, [(S, events((100, S), probability=0.5))])) == 1


def test_all_cells_of_one_message_make_one_trigger():
    (request,) = feed(rule(), [(S, events((105, S - 2 * MS), (101, S - 9 * MS), (105, S - 20 * MS), (119, S)))])
    assert request.roi_ids == (105, 101)


def coincidence(k, window_ms=100.0):
    return ProtocolRun(
        protocol(triggers={"t": {"when": "coincidence", "cells": "a", "k": k, "window_ms": window_ms}}), table()
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_coincidence_is_k_cells_within_the_window_as_brute_force_says(k):
    cells, one = set(range(100, 110)), coincidence(k)
    last, newest, n_found = {}, {}, 0
    for t_scan_ns, message in random_stream(300, seed=k, gap_ms=60):
        for event in sorted(message, key=lambda event: event["t_event_ns"]):
            roi, t_ns = int(event["roi_id"]), int(event["t_event_ns"])
            found = feed(one, [(t_scan_ns, events((roi, t_ns)))])
            if roi not in cells:
                assert found == []
                continue
            if t_ns <= newest.get(roi, -1):  # older than, or the same as, one of this cell that came before
                assert found == []
                continue
            last[roi] = newest[roi] = t_ns
            groups = [group for group in combinations(last, k) if roi in group]
            spans = [max(map(last.get, group)) - min(map(last.get, group)) for group in groups]
            assert len(found) == any(span <= 100 * MS for span in spans)
            for request in found:
                n_found += 1
                times = [last.pop(cell) for cell in request.roi_ids]
                assert len(times) >= k
                assert max(times) - min(times) <= 100 * MS
    assert n_found > 5


def test_an_old_event_of_a_cell_does_not_bring_up_a_coincidence_of_others():
    one = coincidence(2)
    assert len(feed(one, [(10 * S, events((100, 9 * S), (101, 9 * S)))])) == 1
    feed(one, [(10 * S + MS, events((102, 9 * S)))])
    assert feed(one, [(12 * S, events((104, 12 * S))), (12 * S, events((104, 9 * S)))]) == []


def test_an_event_makes_one_coincidence_only():
    found = feed(coincidence(2), [(S, events((100, S), (101, S))), (S + MS, events((102, S)))])
    assert [one.roi_ids for one in found] == [(100, 101)]


@pytest.mark.parametrize(
    ("group", "ids"),
    [
        ({"select": "ids", "ids": (119, 100)}, (119, 100)),
        ({"select": "tag", "tag": "interneuron"}, (103, 104)),
        ({"select": "best", "n": 2}, (100, 101)),
        ({"select": "rule", "where": [{"value": "snr", "at_least": 45.5, "at_most": 48.5}]}, (102, 103, 104)),
        ({"select": "all", "but_not": ["a"]}, tuple(range(110, 120))),
    ],
)
def test_targets_can_be_named_in_every_way(group, ids):
    cells = {"a": {"select": "best", "n": 10}, "b": group}
    (request,) = feed(ProtocolRun(protocol(cells=cells), table()), [(S, events((105, S)))])
    assert set(request.target_ids) == set(ids)
    assert len(request.targets_yx_px) == len(ids)


def test_the_triggering_cells_can_be_the_targets():
    light = {"do": "pulse", "output": "led", "targets": "triggering", "power_mw": 8.0, "width_ms": 5.0}
    (request,) = feed(
        ProtocolRun(protocol(cells={"a": {"select": "all"}}, actions={"light": light}), table()),
        [(S, events((105, S), (103, S)))],
    )
    assert request.target_ids == request.roi_ids == (105, 103)
    assert request.targets_yx_px == ((50.0, 15.0), (30.0, 9.0))


def test_unknown_ids_and_tags_are_refused_with_their_key():
    with pytest.raises(ConfigError, match=r"cells\.a\.ids.*roi_id 7"):
        ProtocolRun(protocol(cells={"a": {"select": "ids", "ids": (100, 7)}, "b": {"select": "all"}}), table())
    with pytest.raises(ConfigError, match=r"cells\.b\.tag.*interneuron"):
        ProtocolRun(protocol(cells={"a": {"select": "all"}, "b": {"select": "tag", "tag": "chandelier"}}), table())


@pytest.mark.parametrize("n", [0, 1, 10])
def test_too_few_cells_are_noted_and_triggers_without_targets_suppressed(n):
    one = rule(rois=table(n))
    assert "5 cells wanted for 'lit', there are 0" in one.notes
    assert [request.suppressed for request in feed(one, [(S, events((100, S)))])] == ["there is no target cell"] * (
        n > 0
    )


def test_cells_of_unknown_quality_rank_last():
    rois = table(4)
    rois.expected_detection[list(rois.roi_id).index(100)] = np.nan
    assert rois.ranking() == [101, 102, 103, 100]

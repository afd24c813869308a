"""Triggers follow from events alone: same events, config and seed, same decisions; control and light alike."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from protocols.load import find_protocol, load_protocol
from protocols.rois import RoiTable
from protocols.schema import SpikeTriggeredConfig
from protocols.spike_triggered import STIM, WITHHELD, SpikeTriggered
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Mode

MS = 1_000_000
S = 1_000_000_000


def table(n=20):
    """Cell 100 + i is the i-th best: detection falls in pairs, within a pair the SNR decides."""
    i = np.arange(n)
    order = np.random.default_rng(3).permutation(n)
    return RoiTable(
        roi_id=(100 + i).astype(np.uint32)[order],
        centroid_yx_px=np.stack([i * 10.0, i * 3.0], axis=1)[order],
        expected_detection=(1 - i // 2 * 2 / 100).astype(np.float32)[order],
        snr=(50 - i).astype(np.float32)[order],
        tags={"interneuron": (103, 104)},
    )


def config(**changes):
    values = load_protocol(find_protocol("spike_triggered")).model_dump()
    action = {**values["action"], **changes.pop("action", {})}
    return SpikeTriggeredConfig.model_validate({**values, "action": action, **changes})


def events(*rows, probability=0.9):
    out = np.zeros(len(rows), EVENT_DTYPE)
    for i, (roi, t_ns) in enumerate(rows):
        out[i]["roi_id"], out[i]["t_event_ns"], out[i]["probability"] = roi, t_ns, probability
    return out


def run(rule, stream):
    """Requests of messages (t_scan_ns, events)."""
    found = []
    for frame, (t_ns, one) in enumerate(stream):
        found += rule.on_spikes(frame, t_ns, t_ns + MS, Mode.LIVE, one)
    return found


def random_stream(n=400, seed=0, gap_ms=700):
    random = np.random.default_rng(seed)
    t_ns, stream = 0, []
    for _ in range(n):
        t_ns += int(random.integers(1, 2 * gap_ms)) * MS
        rows = [
            (int(random.integers(100, 120)), t_ns - int(random.integers(0, 90)) * MS)
            for _ in range(random.integers(0, 4))
        ]
        stream.append((t_ns, events(*rows)))
    return stream


def test_the_best_cells_trigger_and_the_next_best_are_lit():
    rule = SpikeTriggered(config(), table())
    assert rule.cell_ids == tuple(range(100, 110))
    assert rule.target_ids == tuple(range(110, 115))
    assert rule.notes == ()
    (request,) = run(rule, [(10 * S, events((105, 9 * S), (119, 9 * S)))])
    assert request.roi_ids == (105,)
    assert request.targets_yx_px == tuple((i * 10.0, i * 3.0) for i in range(10, 15))
    assert (request.output, request.power_mw, request.width_ms, request.pulses) == ("led", 8.0, 5.0, 1)
    assert (request.t_scan_ns, request.t_decided_ns, request.frame) == (10 * S, 10 * S + MS, 0)


def test_same_events_config_and_seed_give_the_same_decisions_and_another_seed_does_not():
    stream = random_stream()
    first, again = (run(SpikeTriggered(config(), table()), stream) for _ in range(2))
    assert first == again
    assert len(first) > 100
    other = run(SpikeTriggered(config(seed=2), table()), stream)
    assert [one.t_scan_ns for one in other] == [one.t_scan_ns for one in first]
    assert [one.arm for one in other] != [one.arm for one in first]


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_withheld_share_is_binomial(probability):
    rule = SpikeTriggered(config(withhold_probability=probability, refractory_ms=0), table())
    found = run(rule, [(i * S, events((100, i * S))) for i in range(1, 2001)])
    low, high = binom.interval(0.999, 2000, probability)
    assert len(found) == 2000
    assert low <= sum(one.withheld for one in found) <= high
    assert all((one.arm == WITHHELD) == one.withheld for one in found)


def test_the_refractory_time_is_the_same_after_withheld_and_delivered_triggers():
    stream = random_stream()
    times = {}
    for probability in (0.0, 0.5, 1.0):
        found = run(SpikeTriggered(config(withhold_probability=probability), table()), stream)
        times[probability] = [(one.t_scan_ns, one.roi_ids, one.suppressed) for one in found]
        eligible = [one.t_scan_ns for one in found if one.suppressed is None]
        assert min(np.diff(eligible)) >= S
        assert {one.arm for one in found if one.suppressed is None} <= {STIM, WITHHELD}
        assert {one.arm for one in found if one.suppressed is not None} == {""}
    assert times[0.0] == times[0.5] == times[1.0]


def test_a_trigger_inside_the_refractory_time_is_reported_with_numbers():
    rule = SpikeTriggered(config(), table())
    found = run(rule, [(S, events((100, S))), (S + 999 * MS, events((100, S))), (2 * S, events((100, S)))])
    assert [one.suppressed for one in found] == [None, "refractory_ms 999.0 is below 1000", None]


@pytest.mark.parametrize("mode", [Mode.BASELINE, Mode.CALIBRATING, Mode.PAUSED])
def test_nothing_triggers_unless_live(mode):
    assert SpikeTriggered(config(), table()).on_spikes(0, S, S, mode, events((100, S))) == []


def test_events_of_low_or_no_probability_do_not_trigger():
    rule = SpikeTriggered(config(min_probability=0.5, refractory_ms=0), table())
    assert run(rule, [(S, events((100, S), probability=0.49)), (S, events((100, S), probability=np.nan))]) == []
    assert len(run(rule, [(S, events((100, S), probability=0.5))])) == 1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_coincidence_is_k_cells_within_the_window_as_brute_force_says(k):
    cells = set(range(100, 110))
    changes = {"coincidence": {"k": k, "window_ms": 100.0}, "refractory_ms": 0}
    rule = SpikeTriggered(config(**changes), table())
    last, n_found = {}, 0
    for t_scan_ns, message in random_stream(300, seed=k, gap_ms=60):
        for event in sorted(message, key=lambda one: one["t_event_ns"]):
            roi, t_ns = int(event["roi_id"]), int(event["t_event_ns"])
            found = rule.on_spikes(0, t_scan_ns, t_scan_ns, Mode.LIVE, events((roi, t_ns)))
            if roi not in cells:
                assert found == []
                continue
            last[roi] = max(last.get(roi, t_ns), t_ns)
            groups = [group for group in combinations(last, k) if roi in group]
            spans = [max(map(last.get, group)) - min(map(last.get, group)) for group in groups]
            assert len(found) == any(span <= 100 * MS for span in spans)
            for request in found:
                n_found += 1
                times = [last.pop(cell) for cell in request.roi_ids]
                assert roi in request.roi_ids
                assert len(times) >= k
                assert max(times) - min(times) <= 100 * MS
    assert n_found > 5


def test_an_old_event_of_a_cell_does_not_bring_up_a_coincidence_of_others():
    rule = SpikeTriggered(config(coincidence={"k": 2, "window_ms": 100.0}), table())
    run(rule, [(10 * S, events((100, 9 * S), (101, 9 * S))), (10 * S + MS, events((102, 9 * S), (103, 9 * S)))])
    found = run(rule, [(12 * S, events((104, 12 * S))), (12 * S, events((104, 9 * S)))])
    assert found == []


def test_an_event_makes_one_coincidence_only():
    rule = SpikeTriggered(config(coincidence={"k": 2, "window_ms": 100.0}, refractory_ms=0), table())
    found = run(rule, [(S, events((100, S), (101, S))), (S + MS, events((102, S)))])
    assert [one.roi_ids for one in found] == [(100, 101)]


@pytest.mark.parametrize(
    ("targets", "ids"),
    [
        ({"select": "triggering"}, (105,)),
        ({"select": "ids", "ids": (119, 100)}, (119, 100)),
        ({"select": "tag", "tag": "interneuron"}, (103, 104)),
        ({"select": "best", "n": 2}, (100, 101)),
    ],
)
def test_targets_can_be_named_in_every_way(targets, ids):
    rule = SpikeTriggered(config(action={"targets": targets}), table())
    (request,) = run(rule, [(S, events((105, S)))])
    assert request.target_ids == ids
    assert len(request.targets_yx_px) == len(ids)


def test_unknown_ids_and_tags_are_refused_with_their_key():
    with pytest.raises(ConfigError, match=r"cells\.ids.*roi_id 7"):
        SpikeTriggered(config(cells={"select": "ids", "ids": (100, 7)}), table())
    with pytest.raises(ConfigError, match=r"action\.targets\.tag.*interneuron"):
        SpikeTriggered(config(action={"targets": {"select": "tag", "tag": "chandelier"}}), table())


@pytest.mark.parametrize("n", [0, 1, 10])
def test_too_few_cells_are_noted_and_triggers_without_targets_suppressed(n):
    rule = SpikeTriggered(config(), table(n))
    assert "5 target cells wanted, there are 0" in rule.notes
    found = run(rule, [(S, events((100, S)))])
    assert [one.suppressed for one in found] == ["there is no target cell"] * (n > 0)


def test_cells_of_unknown_quality_rank_last():
    rois = table(4)
    rois.expected_detection[list(rois.roi_id).index(100)] = np.nan
    assert rois.ranking() == [101, 102, 103, 100]

"""The loop benchmark measures what it says: a field that triggers in every frame, growth after the first minute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rt_engine.bench.loop import latency
from rt_engine.bench.loop.field import N_TRIGGERING, plant_loop
from rt_engine.bench.loop.harm import Harm
from rt_engine.bench.loop.intervals import Intervals
from rt_engine.bench.loop.soak import growth_bytes, is_constant, n_lost
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline.engine import Engine


def test_in_nearly_every_frame_a_cell_that_triggers_is_told_and_the_shift_is_found() -> None:
    planted = plant_loop(40, 192, 120, 2)
    engine = Engine(planted.calibration, 8.0, MonotonicClock())
    engine.warm_up()
    told, apart = [], []
    for number in range(240):
        n_events = engine.process(planted.frames[number % 120], number, number * 33_000_000, 0)
        engine.settle()
        told.append(bool((engine.events["roi_id"][:n_events] < N_TRIGGERING).any()))
        apart.append(np.subtract(engine.shift_yx_px, planted.shift_yx_px[number % 120]))
    assert np.mean(told[120:]) > 0.95
    assert np.sqrt(np.mean(np.square(apart))) < 0.1


@pytest.mark.parametrize(
    ("t_s", "rss", "expected"),
    [([0.0, 59.0, 61.0, 120.0], [1.0, 900.0, 1000.0, 1400.0], 400.0), ([0.0, 30.0], [1.0, 5000.0], 0.0)],
)
def test_growth_is_counted_from_the_end_of_the_first_minute(
    t_s: list[float], rss: list[float], expected: float
) -> None:
    assert growth_bytes(t_s, rss) == expected


def _round(scale: float, slow: float) -> Intervals:
    """200 commands, of which 10 are slow."""
    command_ns = np.full(200, round(1e6 * scale), np.int64)
    command_ns[-10:] = round(1e7 * slow)
    return Intervals(*(command_ns,) * 5, 1.0)


@pytest.mark.parametrize(("scale", "slow", "met"), [(1.05, 1.4, (True, True)), (1.2, 1.4, (False, True)),
                                                    (1.05, 1.6, (True, False))])  # fmt: skip
def test_harm_to_others_is_judged_against_the_unharmed_rounds_of_the_same_chain(
    scale: float, slow: float, met: tuple[bool, bool]
) -> None:
    rounds = {(latency.UNHARMED, latency.FAST.name): [_round(1.0, 1.0)]}
    rounds |= {(harm.value, latency.FAST.name): [_round(scale, slow)] for harm in Harm}
    rows: dict[str, Any] = {}
    latency._compare(rows, rounds)
    for harm in Harm:
        of = [rows[f"{harm}, over none, 200 Hz, {name}"] for name in ("p50", "p99")]
        assert (of[0]["met"], of[1]["met"]) == met


def test_the_chain_with_the_network_and_the_strips_to_the_command_are_measured() -> None:
    (network,) = latency.families_with(latency.NETWORK)
    assert network.plans[0].network
    assert network.plans[0].demixed
    assert (latency.NETWORK, "lockstep", "scan_to_command", 0.5, "<=", 12.0) in latency._BOUNDS
    (strips,) = latency.families_with(latency.STRIPS_ALL_ON)
    assert strips.plans[-1].recorded
    assert strips.plans[-1].n_watchers == 2


def test_handles_may_change_for_the_moment_of_a_file_and_may_not_grow() -> None:
    steady = [30.0] * 100
    assert is_constant(steady)
    assert is_constant([12.0] * 10 + steady)
    assert is_constant([*steady[:50], 31.0, *steady[50:]])
    assert is_constant([*steady, 31.0])
    assert not is_constant([*steady, 31.0, 31.0, 31.0])
    assert not is_constant([30.0 + k // 40 for k in range(120)])
    assert not is_constant([30.0 + k % 2 for k in range(120)])


@pytest.mark.parametrize(
    ("sent", "fates", "lost"),
    [
        (100, {"decided": 100, "unused": 7}, 0),
        (100, {"decided": 98, "unused": 7, "skipped": 2}, 2),
        (100, {"decided": 97, "skipped": 2}, 3),  # one never came, and nothing after it
        (100, {"decided": 100, "late": 4}, 4),
    ],
)
def test_a_frame_that_was_sent_and_has_no_fate_is_lost_as_well(sent: int, fates: dict[str, int], lost: int) -> None:
    assert n_lost({"sent": sent, "fates": fates}) == lost

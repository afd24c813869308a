"""The loop benchmark measures what it says: a field that triggers in every frame, growth after the first minute."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.bench.loop.field import N_TRIGGERING, plant_loop
from rt_engine.bench.loop.soak import growth_bytes, n_lost
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

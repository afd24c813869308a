"""What is merged, what is dropped, and for which reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rt_engine.models.cnmf import Components, components_from_traces
from rt_engine.models.component_quality import ComponentQuality, Dropped, component_quality
from rt_engine.models.merging import merge_components
from rt_engine.models.seeds import min_score

SHAPE, DIAMETER, N_BINS = (64, 64), 12.0, 200
CELL = ComponentQuality(event_snr=40.0, spatial_correlation=0.95, area=1.0, soma_likeness=0.9, roundness=0.8)


def disc(y: float, x: float, diameter: float = DIAMETER, stretch: float = 1.0) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return (np.hypot((rows - y) * stretch, (columns - x) / stretch) < diameter / 2).astype(np.float32)


def events(seed: int, rate: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((rng.random(N_BINS) < rate) * rng.lognormal(0.0, 0.3, N_BINS)).astype(np.float32)


def planted(lights: list[np.ndarray], traces: list[np.ndarray], seed: int) -> tuple[np.ndarray, Components]:
    """Unit noise and components whose footprints and traces are the true ones."""
    rng = np.random.default_rng(seed)
    movie = rng.normal(size=(N_BINS, *SHAPE)).astype(np.float32)
    centres = [np.argwhere(light > 0).mean(axis=0).round() for light in lights]
    cells = components_from_traces(SHAPE, np.stack(traces), np.array(centres, np.int64), 12)
    for k, (light, trace) in enumerate(zip(lights, traces, strict=True)):
        movie += trace[:, None, None] * light
        y, x = cells.corners[k]
        cells.footprints[k] = light[y : y + 25, x : x + 25]
        noise = rng.normal(size=N_BINS).astype(np.float32) / np.sqrt(np.sum(light**2))
        cells.unclipped[k] = trace + noise
        cells.noise[k] = 1.0 / np.sqrt(np.sum(light**2))
    return movie, cells


def test_a_soma_among_noise_has_the_numbers_of_a_soma() -> None:
    movie, cells = planted([2.0 * disc(30, 30)], [events(1)], 1)
    numbers = component_quality(movie, cells, 0, cells.footprints[0] > 0, DIAMETER)
    assert numbers.area == pytest.approx(1.0, abs=0.05)
    assert numbers.spatial_correlation > 0.9
    assert numbers.soma_likeness > 0.9
    assert numbers.roundness > 0.9
    power = np.sum((cells.unclipped[0] / cells.noise[0])[events(1) > 0] ** 2)
    assert numbers.event_snr == pytest.approx(power**0.5, rel=0.02)
    assert numbers.dropped(N_BINS) is None
    assert 0.8 < numbers.overall(N_BINS) <= 1.0


def test_a_line_has_not_the_shape_of_a_soma() -> None:
    movie, cells = planted([2.0 * disc(30, 30, stretch=2.2)], [events(2)], 2)
    numbers = component_quality(movie, cells, 0, cells.footprints[0] > 0, DIAMETER)
    assert numbers.dropped(N_BINS) is Dropped.NOT_ROUND


def test_a_footprint_that_its_events_do_not_show_is_inconsistent() -> None:
    movie, cells = planted([2.0 * disc(30, 30)], [events(3)], 3)
    cells.footprints[0] = np.roll(cells.footprints[0], 9, axis=1)
    numbers = component_quality(movie, cells, 0, cells.footprints[0] > 0, DIAMETER)
    assert numbers.dropped(N_BINS) is Dropped.INCONSISTENT


def test_a_component_without_light_or_events_is_empty() -> None:
    movie, cells = planted([2.0 * disc(30, 30)], [np.zeros(N_BINS, np.float32)], 4)
    assert component_quality(movie, cells, 0, cells.footprints[0] > 0, DIAMETER).dropped(N_BINS) is Dropped.EMPTY


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"area": 0.0}, Dropped.EMPTY),
        ({"area": 0.3}, Dropped.SMALL),
        ({"area": 0.3, "event_snr": 8.1 * min_score(N_BINS)}, None),
        ({"area": 0.2, "event_snr": 80.0 * min_score(N_BINS)}, Dropped.SMALL),
        ({"area": 2.3}, Dropped.LARGE),
        ({"event_snr": 2.4 * min_score(N_BINS)}, Dropped.WEAK),
        ({"spatial_correlation": 0.79}, Dropped.INCONSISTENT),
        ({"soma_likeness": 0.64}, Dropped.NOT_ROUND),
        ({"roundness": 0.44}, Dropped.NOT_ROUND),
    ],
)
def test_each_limit_drops_for_its_own_reason(changed: dict[str, float], reason: Dropped | None) -> None:
    assert replace(CELL, **changed).dropped(N_BINS) is reason


def merged(cells: Components, lights: list[np.ndarray]) -> Components:
    centres = np.array([np.argwhere(light > 0).mean(axis=0).round() for light in lights], np.int64)
    return merge_components(cells, centres, DIAMETER)[0]


def test_two_halves_that_fire_together_are_one_cell() -> None:
    whole, trace = disc(30, 30), events(5)
    halves = [whole * (np.indices(SHAPE)[1] < 32), whole * (np.indices(SHAPE)[1] > 28)]
    _, cells = planted([3.0 * half for half in halves], [trace, trace], 5)
    assert len(merged(cells, halves)) == 1


def test_a_cell_and_the_dendrite_that_touches_it_are_one_if_they_fire_together() -> None:
    lights = [disc(30, 24), disc(30, 37, 16.0, 1.2)]
    _, cells = planted([3.0 * light for light in lights], [events(12), events(12)], 12)
    assert len(merged(cells, lights)) == 1


def test_neighbours_that_touch_and_share_some_events_stay_two() -> None:
    lights = [disc(30, 24), disc(30, 34)]
    shared = events(13)
    _, cells = planted([3.0 * light for light in lights], [shared + events(14), shared + events(15)], 13)
    assert 0.4 < np.corrcoef(cells.unclipped)[0, 1] < 0.7
    assert len(merged(cells, lights)) == 2


def test_neighbours_that_overlap_but_fire_apart_stay_two() -> None:
    lights = [disc(30, 26), disc(30, 34)]
    _, cells = planted([3.0 * light for light in lights], [events(6), events(7)], 6)
    assert len(merged(cells, lights)) == 2


def test_cells_that_fire_together_but_do_not_touch_stay_two() -> None:
    lights = [disc(30, 20), disc(30, 40)]
    _, cells = planted([3.0 * light for light in lights], [events(8), events(8)], 8)
    assert len(merged(cells, lights)) == 2


def test_the_same_footprint_twice_is_one_cell_whatever_the_traces() -> None:
    lights = [disc(30, 30), disc(31, 30)]
    _, cells = planted([3.0 * light for light in lights], [events(9), events(10)], 9)
    out = merged(cells, lights)
    assert len(out) == 1
    assert np.count_nonzero(out.traces[0]) >= np.count_nonzero(events(9) + events(10)) - 1


def test_a_chain_of_pieces_becomes_one_cell() -> None:
    trace = events(11)
    pieces = [disc(30, 26, 8.0), disc(30, 31, 8.0), disc(30, 36, 8.0)]
    _, cells = planted([3.0 * piece for piece in pieces], [trace] * 3, 11)
    assert len(merged(cells, pieces)) == 1

"""The engine: one plane's frames in, events and activity out."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from small_field import N_BASELINE, N_LIVE, PERIOD_NS, SIZE

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine


@pytest.fixture
def engine(calibration: Calibration) -> Engine:
    """A warm engine."""
    engine = Engine(calibration, 8.0, MonotonicClock())
    engine.warm_up()
    return engine


def _run(engine: Engine, frames: NDArray[np.uint16], first: int = 1000) -> list[bytes]:
    out = []
    for index, frame in enumerate(frames):
        n_events = engine.process(frame, first + index, (index + 1) * PERIOD_NS, 0)
        out.append(engine.events[:n_events].tobytes() + engine.fill_activity().tobytes())
    return out


def test_the_same_frames_give_the_same_bytes(calibration: Calibration, frames: NDArray[np.uint16]) -> None:
    runs = []
    for _ in range(2):
        engine = Engine(calibration, 8.0, MonotonicClock())
        engine.warm_up()
        runs.append(_run(engine, frames[N_BASELINE:]))
    assert runs[0] == runs[1]


def test_warming_up_changes_nothing_that_follows(calibration: Calibration, frames: NDArray[np.uint16]) -> None:
    cold, warm = Engine(calibration, 8.0, MonotonicClock()), Engine(calibration, 8.0, MonotonicClock())
    warm.warm_up()
    assert _run(cold, frames[N_BASELINE:]) == _run(warm, frames[N_BASELINE:])


def test_an_event_is_when_the_cells_own_line_was_scanned(
    engine: Engine, calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    seen = 0
    for index, frame in enumerate(frames[N_BASELINE:]):
        n_events = engine.process(frame, 1000 + index, (index + 1) * PERIOD_NS, 0)
        for event in engine.events[:n_events]:
            row = int(np.flatnonzero(calibration.roi_id == event["roi_id"])[0])
            pixels = calibration.roi_pixels[calibration.roi_start[row] : calibration.roi_start[row + 1]]
            last_line = int(pixels.max()) // SIZE
            end_of_frame_ns = (int(event["event_frame"]) - 1000 + 1) * PERIOD_NS
            expected_ns = end_of_frame_ns - (SIZE - 1 - last_line) * PERIOD_NS / SIZE
            assert abs(int(event["t_event_ns"]) - expected_ns) <= 1
            assert event["event_frame"] <= 1000 + index
            seen += 1
    assert seen >= 5


def test_light_of_our_own_costs_only_the_cells_on_its_lines_one_sample(
    engine: Engine, calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    _run(engine, frames[N_BASELINE : N_BASELINE + 100])
    shift = engine.shift_yx_px
    lit = frames[N_BASELINE + 100].copy()
    lit[:40] = 60_000
    engine.process(lit, 1100, 101 * PERIOD_NS, 0, [[0, 40]])
    assert engine.shift_yx_px == shift
    valid = engine.fill_activity()[ACTIVITY_FIELDS.index("valid")] > 0
    first_line = np.array(
        [calibration.roi_pixels[calibration.roi_start[row]] // SIZE for row in range(calibration.n_rois)]
    )
    assert not valid[first_line < 30].any()
    assert (first_line < 30).any()
    far = first_line > 90
    assert far.any()
    assert valid[far].all()
    engine.process(frames[N_BASELINE + 101], 1101, 102 * PERIOD_NS, 0)
    assert (engine.fill_activity()[ACTIVITY_FIELDS.index("valid")] > 0).all()


@pytest.mark.parametrize("strip_lines", [None, SIZE // 4])
def test_a_gap_advances_the_states_as_frames_without_samples_do(
    calibration: Calibration, frames: NDArray[np.uint16], strip_lines: int | None
) -> None:
    live, n_gap = frames[N_BASELINE:], 10
    told, given = (Engine(calibration, 8.0, MonotonicClock(), strip_lines) for _ in range(2))
    for engine in (told, given):
        _run(engine, live[:100])
    before = told.fill_activity().copy()
    for index in range(100, 100 + n_gap):
        given.process(live[index], 1000 + index, (index + 1) * PERIOD_NS, 0, [[0, SIZE]])
    after = []
    for engine, missing in ((told, n_gap), (given, 0)):
        engine.process(live[110], 1110, 111 * PERIOD_NS, missing)
        after.append(engine.fill_activity().copy())
    for name, one, other in zip(ACTIVITY_FIELDS, *after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)
    calcium = ACTIVITY_FIELDS.index("calcium")
    assert np.abs(after[0][calcium] - before[calcium]).max() > 0.01


def test_the_frame_loop_leaves_less_than_one_number_a_frame_behind(engine: Engine, frames: NDArray[np.uint16]) -> None:
    """What is kept of every frame grows in every round; caches that fill up (about 90 kB here) do not."""
    live, n_rounds, left = frames[N_BASELINE:], 12, []
    _loop(engine, live, 1000)
    tracemalloc.start()
    try:
        for round_ in range(n_rounds):
            _loop(engine, live, 1200 + N_LIVE * round_)
            gc.collect()  # also empties the interpreter's free lists, which tracemalloc counts as in use
            left.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    smallest_object_bytes = sys.getsizeof(1000)
    assert np.diff(left).min() < N_LIVE * smallest_object_bytes


def _loop(engine: Engine, frames: NDArray[np.uint16], first: int) -> None:
    for index, frame in enumerate(frames):
        engine.process(frame, first + index, (first + index) * PERIOD_NS, 0)
        engine.fill_activity()

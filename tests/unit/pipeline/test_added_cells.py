"""Cells that join while the engine runs: they are read from then on, and nothing changes for those that were there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from small_field import N_BASELINE, PERIOD_NS, SIZE

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline.cell_group import CellGroup, cells_of
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine
from rt_engine.pipeline.overlap import find_overlap

TAKEN_AT = 40
DFF, VALID = ACTIVITY_FIELDS.index("dff"), ACTIVITY_FIELDS.index("valid")


class Parts:
    """A calibration split into cells that are known and cells that come later."""

    def __init__(self, whole: Calibration) -> None:
        rows = np.arange(whole.n_rois)
        self.known = cells_of(whole, rows[::2], 0, whole.n_lines)
        self.new = cells_of(whole, rows[1::2], 0, whole.n_lines)

    def engine(self, strip_lines: int | None = None) -> Engine:
        """Warm, with room for the new ones."""
        engine = Engine(self.known, 8.0, MonotonicClock(), strip_lines, spare_rois=self.new.n_rois)
        engine.warm_up()
        return engine

    def group(self) -> CellGroup:
        """Reads the new ones."""
        group = CellGroup(self.new, np.arange(self.new.n_rois), 8.0, first_row=self.known.n_rois)
        group.warm_up(np.zeros((SIZE, SIZE), np.uint16))
        return group


@pytest.fixture
def parts(calibration: Calibration) -> Parts:
    """Every other cell is new."""
    return Parts(calibration)


def _run(
    engine: Engine, movie: NDArray[np.uint16], group: CellGroup | None, new: Calibration, strip_lines: int = SIZE
) -> tuple[NDArray[np.float32], NDArray[np.void]]:
    """Activity of every frame, shape (n_frames, n_fields, n_rois), NaN before a cell is there; all events."""
    n_rows = engine.n_rois + new.n_rois
    activity = np.full((len(movie), len(ACTIVITY_FIELDS), n_rows), np.nan, np.float32)
    events = []
    for index, frame in enumerate(movie):
        if index == TAKEN_AT and group is not None:
            engine.take(group, new.roi_id)
        engine.begin(index, 0)
        for end in range(strip_lines, SIZE + 1, strip_lines):
            n = engine.process_lines(frame, index, end, (index + 1) * PERIOD_NS)
            events.append(engine.events[:n].copy())
        activity[index, :, : engine.n_rois] = engine.fill_activity()
    return activity, np.concatenate(events)


@pytest.mark.parametrize("strip_lines", [SIZE, 32])
def test_known_cells_are_read_to_the_same_bits_and_new_ones_from_then_on(
    parts: Parts,
    frames: NDArray[np.uint16],
    strip_lines: int,
) -> None:
    movie = frames[N_BASELINE:]
    in_strips = None if strip_lines == SIZE else strip_lines
    alone, alone_events = _run(parts.engine(in_strips), movie, None, parts.new, strip_lines)
    both, both_events = _run(parts.engine(in_strips), movie, parts.group(), parts.new, strip_lines)
    n_known = parts.known.n_rois
    assert both[:, :, :n_known].tobytes() == alone[:, :, :n_known].tobytes()
    is_known = np.isin(both_events["roi_id"], parts.known.roi_id)
    assert both_events[is_known].tobytes() == alone_events.tobytes()
    assert np.isnan(both[:TAKEN_AT, DFF, n_known:]).all()
    assert np.isfinite(both[TAKEN_AT:, DFF, n_known:]).mean() > 0.95
    assert set(both_events["roi_id"][~is_known]) <= set(parts.new.roi_id)
    assert (~is_known).sum() >= 3


def test_a_new_cell_shows_what_it_would_have_shown_from_the_start(
    parts: Parts,
    calibration: Calibration,
    frames: NDArray[np.uint16],
) -> None:
    movie = frames[N_BASELINE:]
    late, _ = _run(parts.engine(), movie, parts.group(), parts.new)
    engine = Engine(calibration, 8.0, MonotonicClock())
    engine.warm_up()
    early, _ = _run(engine, movie, None, parts.new)
    n_known = parts.known.n_rois
    shown, would_be = late[-60:, 0, n_known:], early[-60:, 0, 1 : calibration.n_rois : 2]
    overlapping = {int(row) for group in find_overlap(calibration).groups for row in group}
    apart = np.array([row not in overlapping for row in range(1, calibration.n_rois, 2)])
    assert apart.any()
    np.testing.assert_array_equal(shown[:, apart], would_be[:, apart])


def test_a_removed_cell_is_silent_and_its_row_stays(parts: Parts, frames: NDArray[np.uint16]) -> None:
    movie = frames[N_BASELINE:]
    untouched, events = _run(parts.engine(), movie, None, parts.new)
    row = int(np.argmax([np.sum(events["roi_id"] == roi) for roi in parts.known.roi_id]))
    engine = parts.engine()
    engine.remove(row)
    activity, left = _run(engine, movie, None, parts.new)
    assert int(parts.known.roi_id[row]) not in left["roi_id"]
    assert (events["roi_id"] == parts.known.roi_id[row]).any()
    assert (activity[:, VALID, row] == 0).all()
    others = np.arange(parts.known.n_rois) != row
    kept = np.flatnonzero(others)
    assert activity[:, :, kept].tobytes() == untouched[:, :, kept].tobytes()


def test_a_threshold_nobody_reaches_silences_and_the_old_one_brings_back(
    parts: Parts,
    frames: NDArray[np.uint16],
) -> None:
    movie = frames[N_BASELINE:]
    engine = parts.engine()
    assert parts.known.drive is not None
    own = parts.known.drive.threshold.copy()
    engine.set_thresholds(np.full(engine.n_rois, 1e6))
    _, none = _run(engine, movie, None, parts.new)
    assert len(none) == 0
    np.testing.assert_array_equal(parts.known.drive.threshold, own)
    engine = parts.engine()
    engine.set_thresholds(np.full(engine.n_rois, 1e6))
    engine.set_thresholds(own)
    _, again = _run(engine, movie, None, parts.new)
    _, before = _run(parts.engine(), movie, None, parts.new)
    assert again.tobytes() == before.tobytes()

"""Commands that change the cells of a running plane: what they do, what they cost, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_session import make_calibration

from rt_engine.interfaces.calibration_bytes import pack_cells
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import EditAction
from rt_engine.interfaces.threshold_law import KAPPA_STEP, N_KAPPA, N_PEAKS, ThresholdLaw
from rt_engine.models.detection import event_threshold, false_event_rates
from rt_engine.pipeline.engine import Engine
from rt_engine.services.cell_commands import MaskRequest, edit_of, threshold_edit
from rt_engine.services.live_cells import CellEdit, LiveCells

RHO = 0.5


def _law(n: int) -> ThresholdLaw:
    rates = false_event_rates(KAPPA_STEP * np.arange(N_KAPPA, dtype=np.float64), 30.0, np.full(n, RHO), np.zeros(n))
    peaks = np.repeat(np.linspace(0.0, 10.0, N_PEAKS)[:, None], n, axis=1)
    return ThresholdLaw(skewness=np.zeros(n), log_rate=np.log(np.maximum(rates, 1e-30)), peaks=peaks)


@pytest.fixture
def cells(tmp_path: Path) -> LiveCells:
    """Three cells, two spare rows."""
    made = make_calibration(tmp_path / "c.h5", [(20, 20), (40, 40), (50, 12)], roi_ids=[1, 2, 3])
    return LiveCells(replace(made, threshold_law=_law(3), frame_rate_hz=30.0), 8.0, 2)


@pytest.fixture
def engine(cells: LiveCells) -> Engine:
    """Reads them."""
    return Engine(cells.calibration, 8.0, MonotonicClock(), spare_rois=2)


@pytest.fixture
def one_more(tmp_path: Path) -> bytes:
    """Constants of one other cell."""
    return pack_cells(replace(make_calibration(tmp_path / "d.h5", [(10, 50)]), threshold_law=_law(1)))


def _added(cells: LiveCells, payload: bytes) -> CellEdit:
    return CellEdit(action=EditAction.ADD, added=cells.new_ids(1), removed=[], tagged=[], payload=payload)


def test_an_edit_waits_for_the_next_frame_and_is_told_with_it(
    cells: LiveCells, engine: Engine, one_more: bytes
) -> None:
    cells.prepare(_added(cells, one_more))
    assert engine.n_rois == 3
    assert cells.due(7)
    edit = cells.apply(7, engine)
    assert edit.from_frame == 7
    assert engine.n_rois == 4
    rows = cells.describe()
    assert [row.roi_id for row in rows] == [1, 2, 3, 4]
    assert rows[3].roi_index == 3
    assert engine.fill_activity().shape[1] == 4


def test_an_edit_of_a_replay_waits_for_its_frame(cells: LiveCells, engine: Engine) -> None:
    edit = CellEdit(action=EditAction.REMOVE, added=[], removed=[2], tagged=[], from_frame=100)
    cells.prepare(edit)
    assert not cells.due(99)
    assert cells.due(100)
    assert cells.apply(103, engine).removed == [2]


def test_an_identity_is_never_given_twice(cells: LiveCells, engine: Engine, one_more: bytes) -> None:
    cells.prepare(_added(cells, one_more))
    cells.apply(1, engine)
    cells.prepare(CellEdit(action=EditAction.REMOVE, added=[], removed=[4], tagged=[]))
    cells.apply(2, engine)
    cells.prepare(_added(cells, one_more))
    cells.apply(3, engine)
    assert cells.roi_id == [1, 2, 3, 4, 5]
    assert not cells.is_read(4)
    assert cells.n_spare == 0


def test_a_removed_cell_keeps_its_row_without_pixels(cells: LiveCells, engine: Engine) -> None:
    asked = edit_of({"action": "remove", "roi_ids": [2]}, cells)
    assert isinstance(asked, CellEdit)
    cells.prepare(asked)
    cells.apply(1, engine)
    assert [row.kind for row in cells.describe()] == ["soma", "removed", "soma"]
    starts, payload = cells.footprints()
    assert starts[1] == starts[2]
    assert len(payload) == 4 * starts[-1]
    with pytest.raises(ConfigError, match="no cell has roi id 2"):
        edit_of({"action": "remove", "roi_ids": [2]}, cells)


def test_a_tag_is_given_and_taken(cells: LiveCells, engine: Engine) -> None:
    for expected in (["pv"], []):
        asked = edit_of({"action": "tag", "tag": "pv", "roi_ids": ["3"]}, cells)
        assert isinstance(asked, CellEdit)
        cells.prepare(asked)
        cells.apply(1, engine)
        assert cells.describe()[2].tags == expected


def test_merging_asks_for_the_union_in_place_of_both(cells: LiveCells) -> None:
    asked = edit_of({"action": "merge", "roi_ids": [1, 2]}, cells)
    assert isinstance(asked, MaskRequest)
    assert asked.replaces == (1, 2)
    np.testing.assert_array_equal(asked.pixels, np.union1d(cells.pixels(1), cells.pixels(2)))


def test_a_merged_cell_names_where_it_came_from(cells: LiveCells, engine: Engine, one_more: bytes) -> None:
    edit = CellEdit(action=EditAction.MERGE, added=cells.new_ids(1), removed=[1, 2], tagged=[], payload=one_more)
    cells.prepare(edit)
    cells.apply(1, engine)
    assert cells.describe()[3].parent_id == 1
    assert [cells.is_read(roi) for roi in (1, 2, 3, 4)] == [False, False, True, True]


def test_another_rate_of_false_events_moves_every_threshold_and_says_what_it_costs(
    cells: LiveCells, engine: Engine
) -> None:
    edit, told = threshold_edit({"false_alarms_per_min": 0.1}, cells)
    expected = float(event_threshold(0.1, 30.0, RHO)[0])
    assert told["threshold"] == pytest.approx([expected] * 3, abs=0.01)
    assert told["false_events_per_hour"] == pytest.approx([6.0] * 3, rel=0.05)
    assert told["total_false_events_per_hour"] == pytest.approx(18.0, rel=0.05)
    assert told["median_expected_detection"] == pytest.approx(1 - expected / 10, abs=0.01)
    before = cells.describe()[0].threshold
    cells.prepare(edit)
    cells.apply(1, engine)
    assert cells.describe()[0].threshold == pytest.approx(expected, abs=0.01)
    assert cells.describe()[0].threshold != before
    assert cells.false_alarms_per_min == 0.1


def test_cells_that_decide_by_cost_take_no_threshold(cells: LiveCells) -> None:
    cells.calibration = replace(cells.calibration, false_event_cost=3.0)
    for args in ({"false_alarms_per_min": 0.1}, {"thresholds": {"2": 7.0}}):
        with pytest.raises(ConfigError, match="decided by a false event costing 3 times a missed one"):
            threshold_edit(args, cells)


def test_a_threshold_of_one_cell_leaves_the_others(cells: LiveCells) -> None:
    edit, told = threshold_edit({"thresholds": {"2": 7.0}}, cells)
    assert told["threshold"][1] == 7.0
    assert told["threshold"][0] == cells.threshold[0]
    assert np.frombuffer(edit.payload or b"")[1] == 7.0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "takes either"),
        ({"false_alarms_per_min": 1, "thresholds": {"1": 3}}, "takes either"),
        ({"false_alarms_per_min": 0}, "false_alarms_per_min: must lie above 0"),
        ({"false_alarms_per_min": "often"}, "must lie above 0"),
        ({"thresholds": {"9": 3.0}}, "no cell has roi id 9"),
        ({"thresholds": {"1": -3.0}}, "z must lie between"),
        ({"thresholds": []}, "must map roi ids"),
    ],
)
def test_bad_thresholds_are_refused_by_name(cells: LiveCells, args: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        threshold_edit(args, cells)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"action": "explode"}, "is no action"),
        ({"action": "remove"}, "roi_ids: needs at least one cell"),
        ({"action": "remove", "roi_ids": ["x"]}, "is no roi id"),
        ({"action": "merge", "roi_ids": [1]}, "two cells or more"),
        ({"action": "tag", "roi_ids": [1]}, "tag: needs a name"),
        ({"action": "add", "pixels": [-1]}, "pixels: must be flat indices"),
        ({"action": "add", "pixels": []}, "pixels: must be flat indices"),
    ],
)
def test_bad_edits_are_refused_by_name(cells: LiveCells, args: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        edit_of(args, cells)


def test_an_old_calibration_says_that_it_knows_no_other_rate(tmp_path: Path) -> None:
    cells = LiveCells(make_calibration(tmp_path / "c.h5", [(20, 20)], roi_ids=[1]), 8.0, 2)
    with pytest.raises(ConfigError, match="calibrate again"):
        threshold_edit({"false_alarms_per_min": 0.1}, cells)
    _, told = threshold_edit({"thresholds": {"1": 5.0}}, cells)
    assert told["expected_detection"] == [None]

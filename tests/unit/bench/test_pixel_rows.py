"""The rows of the pixel benchmark for extraction and demixing; nothing here depends on speed."""

from __future__ import annotations

import pytest

from rt_engine.bench import demixing_cost
from rt_engine.bench.crowded_field import crowded_field
from rt_engine.bench.extraction_cost import extraction_rows
from rt_engine.pipeline.overlap import find_overlap


def test_both_ways_of_extraction_read_the_same() -> None:
    rows = {row.name: row for row in extraction_rows(1)}
    assert rows["extraction, largest relative difference"].value.median <= 1e-5
    assert rows["extraction, bare resampling + CSR over binary"].bound is None
    assert all(row.value.lowest > 0 for row in rows.values())


def test_ordinary_overlap_touches_most_of_the_cells_and_merges_few() -> None:
    overlap = find_overlap(crowded_field(1000, 512, 4))
    assert 0.6 < sum(len(group) for group in overlap.groups) / 1000 < 0.9
    assert len(overlap.inseparable()) < 20


@pytest.mark.parametrize("seed", [5, 6])
def test_dense_overlap_is_solved_to_5_percent_of_the_frame_to_frame_change(seed: int) -> None:
    error, condition_number = demixing_cost.dense_error(seed)
    assert condition_number > 100
    assert 0.0 < error.median <= 0.05


def test_the_rows_of_demixing_are_complete() -> None:
    rows = {row.name: row for row in demixing_cost.demixing_rows(1)}
    assert rows["demixing over projection"].bound == ("<=", 0.3)
    assert rows["dense overlap, error over frame-to-frame change"].bound == ("<=", 0.05)

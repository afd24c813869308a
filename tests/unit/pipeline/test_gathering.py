"""Cells added one by one become one group: what they show stays the same, and a frame passes through fewer groups."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from small_field import N_BASELINE, PERIOD_NS, SIZE

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline import gathering, neuropil
from rt_engine.pipeline.cell_group import CellGroup, cells_of
from rt_engine.pipeline.deconvolution import DeconvolutionStage
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine

NEVER = 1000
KNOWN = 4


def _alone(calibration: Calibration, **changes: object) -> Calibration:
    """As a finder offers them: nothing is shared with others."""
    none = np.zeros(0, np.float32)
    return replace(
        calibration, background_loading=np.zeros((0, 2), np.float32), roi_weight=np.zeros(0, np.uint8),
        reference_roi_counts=none, reference_np_counts=none, rest_counts=none,
        inseparable_roi_id=np.zeros((0, 2), np.uint32), **changes,
    )  # fmt: skip


class Shown(NamedTuple):
    """Activity as bytes of every frame, events, and how many groups a frame passed through in the end."""

    activity: list[bytes]
    events: NDArray[np.void]
    n_groups: int


def _run(
    whole: Calibration, movie: NDArray[np.uint16], strip_lines: int | None, *, gap_at: int = -1, removed_at: int = -1
) -> Shown:
    """A cell is added every third frame."""
    known = cells_of(whole, np.arange(KNOWN), 0, whole.n_lines)
    engine = Engine(known, 8.0, MonotonicClock(), strip_lines, spare_rois=whole.n_rois)
    engine.warm_up()
    activity, events = [], []
    for index, frame in enumerate(movie):
        row = engine.n_rois
        if index % 3 == 2 and row < whole.n_rois:
            one = cells_of(whole, np.array([row]), 0, whole.n_lines)
            group = CellGroup(one, np.arange(1), 8.0, first_row=row)
            group.warm_up(np.zeros((SIZE, SIZE), np.uint16))
            engine.take(group, one.roi_id)
        if index == removed_at:
            engine.remove(KNOWN + 1)
        if index == gap_at:
            continue
        engine.begin(index, int(index == gap_at + 1 and gap_at >= 0))
        for end in range(strip_lines or SIZE, SIZE + 1, strip_lines or SIZE):
            n = engine.process_lines(frame, index, end, (index + 1) * PERIOD_NS)
            events.append(engine.events[:n].copy())
        activity.append(engine.fill_activity().tobytes())
        engine.tidy()
    return Shown(activity, np.concatenate(events), len(engine._groups))


@pytest.mark.parametrize("updates_neuropil", [False, True])
@pytest.mark.parametrize("strip_lines", [None, 32])
def test_gathered_cells_go_on_to_the_same_bits(
    calibration: Calibration,
    frames: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    strip_lines: int | None,
    updates_neuropil: bool,
) -> None:
    whole = _alone(calibration, updates_neuropil=updates_neuropil)
    movie = frames[200:]
    # Late enough that there is a past to be taken over; and r moves from early on.
    monkeypatch.setattr(gathering, "LEAD_FRAMES", 120)
    monkeypatch.setattr(neuropil, "FIRST_CHANGE_S", 2.0)
    if strip_lines is not None:
        monkeypatch.setattr(gathering, "GATHERED_FROM", 2)  # hardly four of so few cells lie in one strip
    together = _run(whole, movie, strip_lines, gap_at=150)
    monkeypatch.setattr(gathering, "GATHERED_FROM", NEVER)
    apart = _run(whole, movie, strip_lines, gap_at=150)
    differing = [
        index for index, (one, other) in enumerate(zip(together.activity, apart.activity, strict=True)) if one != other
    ]
    assert not differing
    order = [np.lexsort((shown.events["roi_id"], shown.events["event_frame"])) for shown in (together, apart)]
    assert together.events[order[0]].tobytes() == apart.events[order[1]].tobytes()
    assert set(together.events["roi_id"]) & set(whole.roi_id[KNOWN:])
    assert together.n_groups < apart.n_groups
    if strip_lines is None:
        assert together.n_groups == 2
        assert apart.n_groups == 1 + whole.n_rois - KNOWN


def test_a_cell_taken_out_stays_out_when_it_is_gathered(calibration: Calibration, frames: NDArray[np.uint16]) -> None:
    whole = _alone(calibration)
    shown = _run(whole, frames[N_BASELINE:], None, removed_at=40)
    assert shown.n_groups == 2
    last = np.frombuffer(shown.activity[-1], np.float32).reshape(len(ACTIVITY_FIELDS), -1)
    valid = last[ACTIVITY_FIELDS.index("valid")]
    assert valid[KNOWN + 1] == 0
    assert valid.sum() >= whole.n_rois - 3


def test_cells_of_other_tables_or_with_shared_light_are_left_apart(
    calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    assert not gathering.can_be_gathered(replace(_alone(calibration), drive=None))
    shared = replace(_alone(calibration), background_loading=np.ones((calibration.n_rois, 2), np.float32))
    assert not gathering.can_be_gathered(shared)
    assert calibration.drive is not None
    other = replace(calibration, drive=replace(calibration.drive, tables=calibration.drive.tables + 1.0))
    assert gathering.tables_of(other) != gathering.tables_of(calibration)


def test_pools_go_on_from_several_stages_into_one(calibration: Calibration) -> None:
    rng = np.random.default_rng(3)
    sizes = [300, 1, 149]  # more than a block of the kernel, so that cells change their block
    n = sum(sizes)
    rises = np.where(np.arange(n) % 3 == 0, 0.2, 0.001)  # some with a rise in their model, some without
    many = replace(
        calibration,
        roi_id=np.arange(n, dtype=np.uint32),
        tau_rise_s=rises.astype(np.float32),
        **{name: np.resize(getattr(calibration, name), n) for name in ("tau_s", "amplitude_dff", "sigma_dff")},
    )
    parts_of = np.split(np.arange(n), np.cumsum(sizes)[:-1])
    columns = ("roi_id", "tau_rise_s", "tau_s", "amplitude_dff", "sigma_dff")
    each = [replace(many, **{name: getattr(many, name)[rows] for name in columns}) for rows in parts_of]
    whole, one, parts = (
        DeconvolutionStage(many, 1),
        DeconvolutionStage(many, 1),
        [DeconvolutionStage(c, 1) for c in each],
    )
    assert len(whole._orders) == 2
    y = (0.2 * rng.standard_normal((500, n)) + (rng.random((500, n)) < 0.05)).astype(np.float32)
    usable, expected, out = np.ones(n, np.uint8), np.zeros((2, n), np.float32), np.zeros((2, n), np.float32)
    for frame, sample in enumerate(y):
        whole.process(sample, usable, 0, expected[0], expected[1])
        if frame < 250:
            for rows, part in zip(parts_of, parts, strict=True):
                part.process(
                    sample[rows], usable[rows], 0, np.zeros(len(rows), np.float32), np.zeros(len(rows), np.float32)
                )
            continue
        if frame == 250:
            one.adopt(parts)
        one.process(sample, usable, 0, out[0], out[1])
        np.testing.assert_array_equal(out, expected)

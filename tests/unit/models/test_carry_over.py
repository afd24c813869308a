"""Yesterday's cells keep their identity where they are seen today; what is lost and what is new is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from two_days import OFFSET, UM_PER_PX, Days, matrix, two_days

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.models.calibrate import calibrate
from rt_engine.models.carry_over import CarryOver, Fate, Heritage

SIZE = 160
SHIFT = (7.3, -4.1)
NEAR_PX = 5.0
Array = np.ndarray[Any, Any]


def calibrated(frames: Array, heritage: Heritage | None = None) -> Calibration:
    return calibrate(
        lambda: iter(frames), frame_rate_hz=30.0, indicator="jGCaMP8m", n_frames=len(frames), false_alarms_per_min=0.5,
        neuropil_coefficient=0.7, um_per_px=UM_PER_PX, offset_counts=float(OFFSET), adc_max=65535, max_shift_px=8.0,
        progress=lambda stage, done: None, heritage=heritage,
    )  # fmt: skip


@pytest.fixture(scope="module")
def days() -> Days:
    return two_days(SHIFT, size=SIZE, n_cells=26, n_frames=400, n_gone=4, n_new=4, n_silent=4)


@pytest.fixture(scope="module")
def old(days: Days) -> Calibration:
    return calibrated(days.first)


@pytest.fixture(scope="module")
def carried(days: Days, old: Calibration) -> tuple[Calibration, CarryOver]:
    heritage = Heritage(old)
    new = calibrated(days.second, heritage)
    assert heritage.result is not None
    return new, heritage.result


def nearest(places: Array, centres: Array) -> Array:
    """Planted cell at each place, -1 for none."""
    distance = np.hypot(*(places[:, None] - centres[None]).transpose(2, 0, 1))
    out: Array = np.where(distance.min(axis=1) < NEAR_PX, distance.argmin(axis=1), -1)
    return out


def today(days: Days) -> Array:
    middle = (SIZE - 1) / 2
    moved: Array = (days.centres - middle) @ matrix(0.0, 1.0).T + middle + SHIFT
    return moved


def test_the_field_is_found_where_it_was_moved(carried: tuple[Calibration, CarryOver]) -> None:
    transform = carried[1].transform
    assert (transform.shift_y_px, transform.shift_x_px) == pytest.approx(SHIFT, abs=0.4)
    assert transform.rotation_deg == pytest.approx(0.0, abs=0.3)


def test_an_identity_never_goes_to_another_cell(
    days: Days, old: Calibration, carried: tuple[Calibration, CarryOver]
) -> None:
    new, _ = carried
    was = dict(zip(old.roi_id.tolist(), nearest(old.centroids_yx_px(), days.centres), strict=True))
    now = dict(zip(new.roi_id.tolist(), nearest(new.centroids_yx_px(), today(days)), strict=True))
    both = set(was) & set(now)
    assert len(both) >= 12
    assert {i: was[i] for i in both} == {i: now[i] for i in both}
    assert len(set(new.roi_id.tolist())) == new.n_rois
    assert new.n_rois == len(new.f0_counts) == len(new.quality)


def test_most_cells_that_are_there_are_carried_over_and_none_that_is_gone(
    days: Days, old: Calibration, carried: tuple[Calibration, CarryOver]
) -> None:
    new, result = carried
    who = nearest(old.centroids_yx_px(), days.centres)
    inside = ((today(days) > 8) & (today(days) < SIZE - 8)).all(axis=1)
    there = [k for k in range(old.n_rois) if who[k] >= 0 and who[k] not in days.gone and inside[who[k]]]
    kept = [k for k in there if result.fate[k] in (Fate.FOUND, Fate.SILENT)]
    assert len(kept) >= 0.85 * len(there)
    silent = [result.fate[k] for k in there if who[k] in days.silent]
    assert silent.count(Fate.SILENT) >= 0.75 * len(silent) > 0
    gone = [result.fate[k] for k in range(old.n_rois) if who[k] in days.gone]
    assert gone
    assert set(gone) <= {Fate.UNSEEN, Fate.OUTSIDE}
    assert set(result.lost_roi_id()) == set(old.roi_id.tolist()) - set(new.roi_id.tolist())


def test_new_cells_get_numbers_that_nobody_had(
    days: Days, old: Calibration, carried: tuple[Calibration, CarryOver]
) -> None:
    new, result = carried
    fresh = new.roi_id[~np.isin(new.roi_id, old.roi_id)]
    assert len(fresh) == result.n_new > 0
    assert fresh.min() > old.roi_id.max()
    planted_new = nearest(new.centroids_yx_px(), today(days))[np.isin(new.roi_id, fresh)]
    assert len(set(planted_new.tolist()) & days.new) >= 3


def test_noise_and_f0_are_those_of_today(days: Days, old: Calibration) -> None:
    dimmed = ((days.first.astype(np.int64) - OFFSET) // 2 + OFFSET).astype(np.uint16)
    heritage = Heritage(old)
    new = calibrated(dimmed, heritage)
    _, mine, theirs = np.intersect1d(old.roi_id, new.roi_id, return_indices=True)
    assert len(mine) >= 0.9 * old.n_rois
    assert np.median(new.f0_counts[theirs] / old.f0_counts[mine]) == pytest.approx(0.5, abs=0.03)


def test_cells_that_the_field_lost_are_said_to_be_outside(old: Calibration) -> None:
    template = np.roll(old.template, 30, axis=0)
    template[:30] = old.template.mean()
    heritage = Heritage(old)
    heritage.adopt(template, [], np.zeros(0, np.float32))
    assert heritage.result is not None
    low = old.centroids_yx_px()[:, 0] > SIZE - 26
    assert low.any()
    fates = np.array([fate is Fate.OUTSIDE for fate in heritage.result.fate])
    assert fates[low].all()
    assert not fates[old.centroids_yx_px()[:, 0] < SIZE - 42].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[::-1].copy(), "not the field"),
        (lambda image: np.zeros_like(image), "not the field"),
        (lambda image: zoomed(image, 1.05), "zoom is another.*magnified by 1.0[45]"),
        (lambda image: zoomed(image, 1.0, 4.5), "rotated by 4.5"),
    ],
)
def test_another_field_zoom_or_angle_is_refused(old: Calibration, change: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as refused:
        Heritage(old).adopt(change(old.template), [], np.zeros(0, np.float32))
    assert "--from" in refused.value.remedy


def zoomed(image: Array, scale: float, rotation_deg: float = 0.0) -> Array:
    from scipy.ndimage import affine_transform

    inverse, middle = np.linalg.inv(matrix(rotation_deg, scale)), np.full(2, (SIZE - 1) / 2)
    out: Array = affine_transform(image, inverse, middle - inverse @ middle, order=1, mode="nearest")
    return out


def test_weights_of_a_silent_cell_move_with_it(days: Days, old: Calibration) -> None:
    """Yesterday with weights, today nothing found: every cell that is still seen brings its own weights along."""
    assert old.roi_weight.size
    rng = np.random.default_rng(0)
    weighted = replace(old, roi_weight=rng.integers(60, 256, len(old.roi_pixels)).astype(np.uint8))
    heritage = Heritage(weighted)
    footprints, _ = heritage.adopt(old.template, [], np.zeros(0, np.float32))
    assert len(footprints) == len(heritage.silent_footprints) > 5
    row_of = {int(roi): row for row, roi in enumerate(weighted.roi_id)}
    for roi, (pixels, weights) in zip(heritage.roi_id, heritage.silent_footprints, strict=True):
        row = row_of[int(roi)]
        entries = slice(int(weighted.roi_start[row]), int(weighted.roi_start[row + 1]))
        np.testing.assert_array_equal(pixels, weighted.roi_pixels[entries])
        np.testing.assert_array_equal(weights, weighted.roi_weight[entries])

"""What demixing learns from the baseline: which footprints have weights, background, rest; and what it gives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.models.demixing import demix_baseline, footprints_to_read, roi_weights
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import PlaneMasks

WIDTH = 48


def disc(y_px: float, x_px: float, radius_px: float) -> NDArray[np.uint32]:
    y, x = np.indices((WIDTH, WIDTH))
    return np.flatnonzero(np.hypot(y - y_px, x - x_px) < radius_px).astype(np.uint32)


def test_only_cells_that_overlap_are_read_with_weights() -> None:
    wide = [disc(10, 10, 6), disc(10, 20, 6), disc(38, 38, 6)]
    narrow = [disc(10, 10, 4), disc(10, 20, 4), disc(38, 38, 4)]
    weights = [np.full(len(pixels), 100, np.uint8) for pixels in wide]
    footprints, used = footprints_to_read(narrow, wide, weights, WIDTH * WIDTH)
    for k, expected in enumerate((wide[0], wide[1], narrow[2])):
        np.testing.assert_array_equal(footprints[k], expected)
    assert [set(weight.tolist()) for weight in used] == [{100}, {100}, {255}]


def test_weights_of_a_users_cell_stand_at_its_pixels() -> None:
    roi = RoiMask(np.array([3, 2, 2]), np.array([5, 7, 6]), np.array([0.5, 2.0, 1.0], np.float32), "a")
    footprint = roi.core_pixels(WIDTH)
    assert footprint.tolist() == [2 * WIDTH + 6, 2 * WIDTH + 7, 3 * WIDTH + 5]
    assert roi_weights(roi, footprint, WIDTH).tolist() == [128, 255, 64]


def recording(n_frames: int = 600, seed: int = 0) -> tuple[NDArray[np.uint16], PlaneMasks, NDArray]:
    """Two overlapping cells, the second silent, in haze that moves; no noise but that of rounding."""
    rng = np.random.default_rng(seed)
    cells = [disc(20, 16, 6), disc(20, 24, 6), disc(40, 40, 4)]
    y, x = np.indices((WIDTH, WIDTH))
    rings = [
        np.flatnonzero(
            (np.hypot(y - cy, x - cx) > radius + 2) & (np.hypot(y - cy, x - cx) < radius + 7)
            & ~np.isin(np.arange(WIDTH * WIDTH).reshape(WIDTH, WIDTH), np.concatenate(cells))
        )
        for cy, cx, radius in ((20, 16, 6), (20, 24, 6), (40, 40, 4))
    ]  # fmt: skip
    light = 3000.0 + 2000.0 * np.maximum(rng.normal(0, 1, n_frames), 0)
    haze = 1000.0 * (1 + 0.1 * np.sin(np.arange(n_frames) / 20))
    covered = np.isin(np.arange(WIDTH * WIDTH), np.concatenate(cells))
    frames = np.zeros((n_frames, WIDTH * WIDTH))
    frames += haze[:, None] * np.where(covered, 0.7, 1.0)
    frames[:, cells[0]] += light[:, None]
    frames[:, cells[1]] += 2500.0

    def start(parts: list[NDArray]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)

    masks = PlaneMasks(
        n_lines=WIDTH, pixels_per_line=WIDTH, offset_counts=0.0, adc_max_counts=np.nan, roi_start=start(cells),
        roi_pixels=np.concatenate(cells).astype(np.uint32), neuropil_start=start(rings),
        neuropil_pixels=np.concatenate(rings).astype(np.uint32),
    )  # fmt: skip
    return np.rint(frames).astype(np.uint16).reshape(-1, WIDTH, WIDTH), masks, light


def traces(frames: NDArray[np.uint16], masks: PlaneMasks) -> tuple[NDArray, NDArray, NDArray]:
    stage = RoiExtraction(masks)
    out = []
    for frame in frames:
        stage.process(frame, 0.0, 0.0)
        out.append((stage.f_roi.copy(), stage.f_np.copy(), stage.valid.copy()))
    f_roi, f_np, valid = (np.array(part) for part in zip(*out, strict=True))
    return f_roi, f_np, valid


def test_crosstalk_goes_and_everything_else_stays() -> None:
    frames, masks, light = recording()
    f_roi, f_np, valid = traces(frames, masks)
    before = f_roi.copy()
    demix_baseline(masks, f_roi, f_np, valid)
    haze = f_np - np.median(f_np, axis=0)
    plain, demixed = (values - 0.7 * haze for values in (before, f_roi))
    assert np.ptp(plain[:, 1]) > 1000
    assert np.ptp(demixed[:, 1]) < 0.01 * np.ptp(plain[:, 1])
    np.testing.assert_allclose(demixed[:, 0] - demixed[:, 0].mean(), light - light.mean(), atol=15)
    # At rest the silent cell shows its own light and the haze on it, nothing of its neighbour.
    assert np.median(f_roi[:, 1]) == pytest.approx(2500 + 700, rel=0.03)
    assert f_roi[:, 2].tobytes() == before[:, 2].tobytes()


def test_live_extraction_gives_the_traces_of_the_calibration_to_the_bit() -> None:
    frames, masks, _ = recording(200)
    f_roi, f_np, valid = traces(frames, masks)
    learned, _ = demix_baseline(masks, f_roi, f_np, valid)
    again, again_np, again_valid = traces(frames, learned)
    assert again.tobytes() == f_roi.tobytes()
    assert again_np.tobytes() == f_np.tobytes()
    assert again_valid.tobytes() == valid.tobytes()


def test_bleaching_and_haze_of_two_places_leave_the_silent_cell_alone() -> None:
    frames, masks, _ = recording()
    fading = np.linspace(1.0, 0.8, len(frames))[:, None, None]
    tilt = 1 + 0.2 * np.sin(np.arange(len(frames)) / 7)[:, None, None] * np.linspace(-1, 1, WIDTH)[None, None, :] * 0.1
    f_roi, f_np, valid = traces(np.rint(frames * fading * tilt).astype(np.uint16), masks)
    before = f_roi.copy()
    demix_baseline(masks, f_roi, f_np, valid)
    slow = np.linspace(0, 1, len(frames))

    def fast(values: NDArray) -> NDArray:
        rest = values - 0.7 * (f_np[:, 1] - np.median(f_np[:, 1]))
        return rest - np.polyval(np.polyfit(slow, rest, 1), slow)

    assert fast(f_roi[:, 1]).std() < 0.15 * fast(before[:, 1]).std()


@pytest.mark.parametrize("n_frames", [0, 5])
def test_a_recording_too_short_for_a_background_takes_an_even_one(n_frames: int) -> None:
    frames, masks, _ = recording(max(n_frames, 1))
    f_roi, f_np, valid = traces(frames, masks)
    learned, _ = demix_baseline(masks, f_roi[:n_frames], f_np[:n_frames], valid[:n_frames])
    np.testing.assert_array_equal(learned.background_loading[[0, 1]], [[1, 0], [1, 0]])

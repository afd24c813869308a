"""ROI extraction equals resample-then-average, and says where its values cannot be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from naive import pixels as slow

from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import PlaneMasks, spans_of_masks

N_LINES, N_PIXELS = 61, 83


def discs(n: int, inner_px: float, outer_px: float, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.indices((N_LINES, N_PIXELS))
    masks = []
    for _ in range(n):
        distance = np.hypot(y - rng.integers(0, N_LINES), x - rng.integers(0, N_PIXELS))
        masks.append(np.flatnonzero((distance >= inner_px) & (distance < outer_px)))
    return masks


def packed(masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    start = np.concatenate([[0], np.cumsum([len(mask) for mask in masks])]).astype(np.int64)
    return start, np.concatenate([*masks, np.zeros(0)]).astype(np.uint32)


def extraction(
    rois: list[np.ndarray], rings: list[np.ndarray], offset: float = 0.0, adc_max: float = np.nan
) -> RoiExtraction:
    roi_start, roi_pixels = packed(rois)
    neuropil_start, neuropil_pixels = packed(rings)
    return RoiExtraction(
        PlaneMasks(
            n_lines=N_LINES,
            pixels_per_line=N_PIXELS,
            offset_counts=offset,
            adc_max_counts=adc_max,
            roi_start=roi_start,
            roi_pixels=roi_pixels,
            neuropil_start=neuropil_start,
            neuropil_pixels=neuropil_pixels,
        )
    )


SQUARE = (np.arange(20, 30)[:, None] * N_PIXELS + np.arange(30, 40)).ravel()
FAR_RING = (np.arange(15, 17)[:, None] * N_PIXELS + np.arange(25, 45)).ravel()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (0.3, 0.7), (-4.25, 5.5), (-8.0, 7.999), (100.0, 0.0)])
def test_extraction_equals_resampling_then_averaging(dtype: type, shift: tuple[float, float]) -> None:
    rois, rings = discs(12, 0, 6), discs(12, 8, 12)
    limits = np.iinfo(dtype)
    frame = np.random.default_rng(5).integers(limits.min, limits.max, (N_LINES, N_PIXELS), endpoint=True).astype(dtype)
    stage = extraction(rois, rings, offset=10.5)
    stage.process(frame, *shift)
    for i in range(12):
        f_roi, n_inside = slow.mean_over_mask(frame, rois[i], *shift, 10.5)
        f_np, n_ring = slow.mean_over_mask(frame, rings[i], *shift, 10.5)
        assert stage.f_roi[i] == pytest.approx(f_roi, rel=1e-5, abs=1e-2)
        assert stage.f_np[i] == pytest.approx(f_np, rel=1e-5, abs=1e-2)
        assert stage.valid[i] == (n_inside >= 0.9 * len(rois[i]) and n_ring > 0)


def test_the_mask_follows_the_shift_of_the_content() -> None:
    rng = np.random.default_rng(6)
    still = rng.integers(0, 4000, (N_LINES, N_PIXELS)).astype(np.uint16)
    moved = np.roll(still, (3, -5), axis=(0, 1))
    stage = extraction([SQUARE], [FAR_RING])
    stage.process(still, 0.0, 0.0)
    expected = stage.f_roi[0], stage.f_np[0]
    stage.process(moved, 3.0, -5.0)
    assert (stage.f_roi[0], stage.f_np[0]) == expected


def test_a_cell_without_ring_reads_zero_neuropil_and_stays_valid() -> None:
    stage = extraction([SQUARE], [np.zeros(0, np.int64)])
    stage.process(np.full((N_LINES, N_PIXELS), 9, np.uint16), 0.4, 0.0)
    assert stage.f_np[0] == 0.0
    assert stage.valid[0] == 1


@pytest.mark.parametrize(
    ("line0", "n_lines", "shift_y_px", "lost"),
    [(0, 15, 0.0, False), (0, 16, 0.0, True), (30, 5, 0.0, False), (29, 1, 0.0, True), (30, 5, 0.5, True),
     (30, 5, 1.0, True), (0, 16, 1.0, False)],
)  # fmt: skip
def test_blanked_lines_mute_exactly_the_cells_that_read_them(
    line0: int, n_lines: int, shift_y_px: float, lost: bool
) -> None:
    stage = extraction([SQUARE], [FAR_RING])
    stage.process(np.zeros((N_LINES, N_PIXELS), np.uint16), shift_y_px, 0.0, blanked=[(line0, n_lines)])
    assert stage.blanked[0] == lost
    assert stage.valid[0] == (not lost)
    stage.process(np.zeros((N_LINES, N_PIXELS), np.uint16), shift_y_px, 0.0)
    assert stage.blanked[0] == 0
    assert stage.valid[0] == 1


@pytest.mark.parametrize(("n_bright", "censored"), [(0, 0), (1, 0), (2, 1)])
def test_more_than_one_percent_of_saturated_pixels_censors(n_bright: int, censored: int) -> None:
    frame = np.zeros((N_LINES, N_PIXELS), np.uint16)
    frame.ravel()[SQUARE[:n_bright]] = 4014
    stage = extraction([SQUARE], [FAR_RING], adc_max=4095)
    stage.process(frame, 0.0, 0.0)
    assert stage.censored[0] == censored
    stage.process(np.roll(frame, 2, axis=0), 2.2, 0.3)
    assert stage.censored[0] == censored


def test_nothing_is_censored_where_the_detectors_limit_is_unknown() -> None:
    stage = extraction([SQUARE], [FAR_RING])
    stage.process(np.full((N_LINES, N_PIXELS), 65535, np.uint16), 0.0, 0.0)
    assert stage.censored[0] == 0


def test_the_last_line_of_a_cell_is_that_of_its_footprint() -> None:
    assert extraction([SQUARE], [FAR_RING]).line_of_roi.tolist() == [29]


def test_spans_cover_exactly_the_mask() -> None:
    masks = [*discs(6, 0, 5), np.arange(N_PIXELS - 3, N_PIXELS + 3), np.zeros(0, np.int64), np.array([0])]
    spans, span_start = spans_of_masks(*packed(masks), N_PIXELS)
    for i, mask in enumerate(masks):
        runs = spans[span_start[i] : span_start[i + 1]]
        covered = [y * N_PIXELS + x for y, first, end in runs.tolist() for x in range(first, end)]
        assert covered == mask.tolist()

"""ROI extraction equals resample-then-average, and says where its values cannot be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from naive import extraction as slow_extraction
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
    rois: list[np.ndarray],
    rings: list[np.ndarray],
    offset: float = 0.0,
    adc_max: float = np.nan,
    weights: list[np.ndarray] | None = None,
    demixed: bool = False,
) -> RoiExtraction:
    roi_start, roi_pixels = packed(rois)
    neuropil_start, neuropil_pixels = packed(rings)
    n = len(rois) if demixed else 0
    return RoiExtraction(
        PlaneMasks(
            n_lines=N_LINES,
            pixels_per_line=N_PIXELS,
            offset_counts=offset,
            adc_max_counts=adc_max,
            roi_start=roi_start,
            roi_pixels=roi_pixels,
            roi_weight=np.zeros(0, np.uint8) if weights is None else np.concatenate(weights).astype(np.uint8),
            neuropil_start=neuropil_start,
            neuropil_pixels=neuropil_pixels,
            background_loading=np.tile(np.array([1.0, 0.0], np.float32), (n, 1)),
            reference_roi_counts=np.zeros(n, np.float32),
            reference_np_counts=np.zeros(n, np.float32),
            rest_counts=np.zeros(n, np.float32),
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


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.7), (5.5, 2.0), (-30.25, 0.5)])
def test_both_ways_of_reading_give_the_same_bits(shift: tuple[float, float]) -> None:
    frame = np.random.default_rng(7).integers(0, 65536, (N_LINES, N_PIXELS)).astype(np.uint16)
    results = []
    for reads_prefix_sums in (True, False):
        stage = extraction(discs(12, 0, 6), discs(12, 8, 12), offset=10.5, adc_max=60000)
        stage.reads_prefix_sums = reads_prefix_sums
        stage.process(frame, *shift, blanked=[(20, 3)])
        results.append([array.tobytes() for array in (stage.f_roi, stage.f_np, stage.valid, stage.censored)])
    assert results[0] == results[1]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, 0.7), (-4.25, 5.5)])
def test_footprints_with_weights_are_read_beside_binary_ones(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(8)
    rois, rings = discs(6, 0, 6), discs(6, 8, 12)
    weights = [rng.integers(1, 256, len(roi)) if i % 2 else np.full(len(roi), 255) for i, roi in enumerate(rois)]
    frame = rng.integers(0, 4096, (N_LINES, N_PIXELS)).astype(np.uint16)
    stage = extraction(rois, rings, 10.5, weights=weights)
    stage.process(frame, *shift)
    for i in range(6):
        expected, inside = slow_extraction.weighted_mean(frame, rois[i], weights[i], shift, 10.5)
        assert stage.f_roi[i] == pytest.approx(expected, rel=1e-5, abs=1e-3)
        if stage.f_np[i] != 0.0:
            assert stage.valid[i] == (inside >= 0.9 * weights[i].sum())


def test_the_weight_that_left_the_field_decides_about_a_weighted_footprint() -> None:
    weights = np.ones(100, int)
    weights[:10] = 255  # the first line of the square
    for shift_y_px, valid in ((-20.0, 1), (-21.0, 0)):
        stage = extraction([SQUARE], [FAR_RING + 40 * N_PIXELS], weights=[weights])
        stage.process(np.ones((N_LINES, N_PIXELS), np.uint16), shift_y_px, 0.0)
        assert stage.valid[0] == valid


def test_saturated_pixels_are_left_out_of_the_ring_and_a_saturated_ring_is_no_sample() -> None:
    frame = np.full((N_LINES, N_PIXELS), 100, np.uint16)
    frame.ravel()[FAR_RING[:-1]] = 4095
    stage = extraction([SQUARE], [FAR_RING], adc_max=4095)
    stage.process(frame, 0.0, 0.0)
    assert (stage.f_np[0], stage.valid[0]) == (100.0, 1)
    frame.ravel()[FAR_RING] = 4095
    stage.process(frame, 0.0, 0.0)
    assert stage.valid[0] == 0


def test_a_footprint_of_nothing_has_no_sample_and_one_of_three_pixels_is_read() -> None:
    frame = np.arange(N_LINES * N_PIXELS, dtype=np.uint16).reshape(N_LINES, N_PIXELS)
    stage = extraction([np.zeros(0, int), np.array([200, 201, 202])], [FAR_RING, FAR_RING], demixed=True)
    stage.process(frame, 0.0, 0.0)
    assert stage.valid.tolist() == [0, 1]
    assert stage.f_roi[1] == 201.0


NEAR = (np.arange(20, 30)[:, None] * N_PIXELS + np.arange(37, 47)).ravel()
NEAR_RING = (np.arange(32, 34)[:, None] * N_PIXELS + np.arange(25, 45)).ravel()


def test_the_light_of_a_neighbour_is_taken_out_and_lone_cells_stay_to_the_bit() -> None:
    lone = (np.arange(45, 55)[:, None] * N_PIXELS + np.arange(60, 70)).ravel()
    frame = np.zeros((N_LINES, N_PIXELS))
    frame.ravel()[SQUARE] += 500
    frame.ravel()[lone] += 300
    rings = [FAR_RING, NEAR_RING, NEAR_RING + 20 * N_PIXELS]
    results = {}
    for demixed in (False, True):
        stage = extraction([SQUARE, NEAR, lone], rings, demixed=demixed)
        stage.process(frame.astype(np.uint16), 0.0, 0.0)
        results[demixed] = stage.f_roi.copy()
    np.testing.assert_allclose(results[False], [500.0, 150.0, 300.0])
    np.testing.assert_allclose(results[True], [500.0, 0.0, 300.0], atol=1e-3)
    assert results[True][2] == results[False][2]


def test_an_overlapping_footprint_needs_95_percent_inside() -> None:
    for rois, valid in (([SQUARE, NEAR], 0), ([SQUARE, NEAR + 20], 1)):
        stage = extraction(rois, [FAR_RING + 40 * N_PIXELS] * 2, demixed=True)
        stage.process(np.ones((N_LINES, N_PIXELS), np.uint16), -21.0, 0.0)
        assert stage.valid[0] == valid


def test_lines_lost_to_light_mute_the_overlapping_neighbour_too_and_say_why() -> None:
    high = NEAR + 5 * N_PIXELS
    stage = extraction([SQUARE, high], [np.zeros(0, int)] * 2, demixed=True)
    stage.process(np.ones((N_LINES, N_PIXELS), np.uint16), 0.0, 0.0, blanked=[(20, 2)])
    assert stage.valid.tolist() == [0, 0]
    assert stage.blanked.tolist() == [1, 1]
    assert stage.last_line_needed.tolist() == [34, 34]
    assert stage.line_of_roi.tolist() == [29, 34]


def test_cells_of_one_footprint_give_one_trace() -> None:
    frame = np.random.default_rng(3).integers(0, 4096, (N_LINES, N_PIXELS)).astype(np.uint16)
    stage = extraction([SQUARE, NEAR, SQUARE], [FAR_RING, NEAR_RING, FAR_RING], demixed=True)
    stage.process(frame, 0.25, 0.5)
    assert stage.f_roi[2] == stage.f_roi[0]
    assert stage.valid.tolist() == [1, 1, 1]


def test_frames_of_fractions_are_refused_not_read() -> None:
    stage = extraction([SQUARE], [FAR_RING])
    with pytest.raises(TypeError):
        stage.process(np.full((N_LINES, N_PIXELS), np.nan, np.float32), 0.0, 0.0)


def test_the_last_line_of_a_cell_is_that_of_its_footprint() -> None:
    assert extraction([SQUARE], [FAR_RING]).line_of_roi.tolist() == [29]


def test_spans_cover_exactly_the_mask() -> None:
    masks = [*discs(6, 0, 5), np.arange(N_PIXELS - 3, N_PIXELS + 3), np.zeros(0, np.int64), np.array([0])]
    spans, span_start = spans_of_masks(*packed(masks), N_PIXELS)
    for i, mask in enumerate(masks):
        runs = spans[span_start[i] : span_start[i + 1]]
        covered = [y * N_PIXELS + x for y, first, end in runs.tolist() for x in range(first, end)]
        assert covered == mask.tolist()

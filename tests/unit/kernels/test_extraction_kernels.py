"""Extraction kernels equal their slow twins, and one way of reading gives the bits of the other."""

from __future__ import annotations

import numpy as np
import pytest
from naive import extraction as slow
from naive.pixels import mean_over_mask

from rt_engine.kernels.extraction import line_maxima, mean_over_pixels, mean_over_spans, row_prefix_sums
from rt_engine.kernels.saturation import leave_out_saturated, saturated_weight
from rt_engine.kernels.weighted_extraction import weighted_mean
from rt_engine.pipeline.masks import PlaneMasks, span_masks, spans_of_masks, weighted_masks

SHAPE = (37, 53)
SHIFTS = [(0.0, 0.0), (2.0, -3.0), (0.25, 0.75), (-4.5, 6.125), (0.0, 0.5), (0.5, 0.0), (30.25, 0.0), (0.0, -50.5)]
DTYPES = [np.uint16, np.int16]


def frames(dtype: type) -> list[np.ndarray]:
    """Random over the whole range, largest, smallest, zero."""
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    return [
        rng.integers(limits.min, limits.max, SHAPE, endpoint=True).astype(dtype),
        *(np.full(SHAPE, value, dtype) for value in (limits.max, limits.min, 0)),
    ]


def masks() -> list[np.ndarray]:
    """Discs anywhere, a single pixel, three pixels, a whole line, nothing, everything."""
    rng = np.random.default_rng(2)
    y, x = np.indices(SHAPE)
    discs = [
        np.flatnonzero(np.hypot(y - rng.integers(SHAPE[0]), x - rng.integers(SHAPE[1])) < rng.uniform(1, 8))
        for _ in range(8)
    ]
    corner = SHAPE[0] * SHAPE[1] - 1
    line = np.arange(5 * SHAPE[1], 6 * SHAPE[1])
    return [*discs, np.array([corner]), np.array([0, 1, 60]), line, np.zeros(0, int), np.arange(SHAPE[0] * SHAPE[1])]


def packed(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    start = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return start, np.concatenate(parts).astype(np.uint32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_line_maxima_are_the_largest_counts(dtype: type) -> None:
    for frame in frames(dtype):
        out = np.zeros(SHAPE[0], np.int32)
        assert line_maxima(frame, out) == frame.max()
        np.testing.assert_array_equal(out, frame.max(axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_prefix_sums_and_pixels_give_the_same_bits_and_those_of_the_mean(
    dtype: type, shift: tuple[float, float]
) -> None:
    parts = masks()
    spans, start = spans_of_masks(*packed(parts), SHAPE[1])
    for frame in frames(dtype):
        prefix = np.zeros((SHAPE[0] + 1, SHAPE[1] + 2), np.uint32)
        largest = np.zeros(SHAPE[0], np.int32)
        assert row_prefix_sums(frame, prefix, largest) == frame.max()
        np.testing.assert_array_equal(largest, frame.max(axis=1))
        means = np.full((2, len(parts)), np.nan, np.float32)
        inside = np.full((2, len(parts)), -1, np.int64)
        whole = span_masks(*packed(parts), SHAPE[1])
        mean_over_spans(prefix, prefix.reshape(-1), whole, *shift, 10.5, means[0], inside[0])
        mean_over_pixels(frame, spans, start, *shift, 10.5, means[1], inside[1])
        assert means[0].tobytes() == means[1].tobytes()
        np.testing.assert_array_equal(inside[0], inside[1])
        for i, part in enumerate(parts):
            mean, n_inside = mean_over_mask(frame, part, *shift, 10.5)
            assert inside[0, i] == n_inside
            assert means[0, i] == pytest.approx(mean, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_weighted_mean_is_that_of_the_resampled_frame(dtype: type, shift: tuple[float, float]) -> None:
    parts = masks()
    rng = np.random.default_rng(3)
    weights = [rng.integers(1, 256, len(part)).astype(np.uint8) for part in parts]
    start, pixels = packed(parts)
    plane = PlaneMasks(
        n_lines=SHAPE[0], pixels_per_line=SHAPE[1], offset_counts=0.0, adc_max_counts=np.nan, roi_start=start,
        roi_pixels=pixels, roi_weight=np.concatenate(weights), neuropil_start=np.zeros(len(parts) + 1, np.int64),
        neuropil_pixels=np.zeros(0, np.uint32),
    )  # fmt: skip
    rows = np.array([i for i in range(len(parts)) if i != 2])
    packed_masks = weighted_masks(plane, rows)
    for frame in frames(dtype):
        mean, inside = np.full(len(parts), np.nan, np.float32), np.full(len(parts), -1, np.int64)
        weighted_mean(frame, packed_masks, *shift, 10.5, mean, inside)
        assert np.isnan(mean[2])
        for i in rows:
            expected, expected_inside = slow.weighted_mean(frame, parts[i], weights[i], shift, 10.5)
            assert inside[i] == expected_inside
            assert mean[i] == pytest.approx(expected, rel=1e-6, abs=1e-3)


def test_a_run_of_the_largest_weights_and_counts_does_not_overflow() -> None:
    wide = np.full((3, 700), 65535, np.uint16)
    whole = np.arange(wide.size)
    plane = PlaneMasks(
        n_lines=3, pixels_per_line=700, offset_counts=0.0, adc_max_counts=np.nan,
        roi_start=np.array([0, len(whole)]), roi_pixels=whole.astype(np.uint32),
        roi_weight=np.full(len(whole), 255, np.uint8), neuropil_start=np.zeros(2, np.int64),
        neuropil_pixels=np.zeros(0, np.uint32),
    )  # fmt: skip
    mean, inside = np.zeros(1, np.float32), np.zeros(1, np.int64)
    weighted_mean(wide, weighted_masks(plane, np.array([0])), 0.0, 0.0, 0.0, mean, inside)
    assert mean[0] == 65535.0
    assert inside[0] == 255 * len(whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_saturation_counts_by_the_parts_of_the_pixels_read(dtype: type, shift: tuple[float, float]) -> None:
    parts = masks()
    spans, start = spans_of_masks(*packed(parts), SHAPE[1])
    for frame in frames(dtype):
        limit = int(np.quantile(frame, 0.9))
        largest, out = np.zeros(SHAPE[0], np.int32), np.full(len(parts), np.nan)
        line_maxima(frame, largest)
        saturated_weight(frame, largest, spans, start, *shift, limit, out)
        expected = [slow.saturated_weight(frame, part, shift, limit) for part in parts]
        np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("quantile", [0.5, 0.97, 1.0])
def test_saturated_pixels_are_left_out_of_a_mean(dtype: type, shift: tuple[float, float], quantile: float) -> None:
    parts = masks()
    spans, start = spans_of_masks(*packed(parts), SHAPE[1])
    frame = frames(dtype)[0]
    limit = int(np.quantile(frame, quantile))
    largest, mean, inside = np.zeros(SHAPE[0], np.int32), np.zeros(len(parts), np.float32), np.zeros(len(parts), int)
    line_maxima(frame, largest)
    mean_over_pixels(frame, spans, start, *shift, 7.0, mean, inside)
    leave_out_saturated(frame, largest, spans, start, *shift, limit, 7.0, mean, inside)
    for i, part in enumerate(parts):
        expected, n_left = slow.mean_unsaturated(frame, part, shift, limit, 7.0)
        assert inside[i] == n_left
        assert mean[i] == pytest.approx(expected, rel=1e-4, abs=0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_larger_than_its_lowest_32_bits_tell_is_read_too(dtype: type) -> None:
    frame = np.full((300, 300), np.iinfo(dtype).max, dtype)
    start, pixels = np.array([0, frame.size]), np.arange(frame.size, dtype=np.uint32)
    prefix = np.zeros((301, 302), np.uint32)
    row_prefix_sums(frame, prefix, np.zeros(frame.shape[0], np.int32))
    mean, inside = np.zeros(1, np.float32), np.zeros(1, np.int64)
    whole = span_masks(start, pixels, 300)
    mean_over_spans(prefix, prefix.reshape(-1), whole, 0.0, 0.0, 0.0, mean, inside)
    assert (mean[0], inside[0]) == (np.iinfo(dtype).max, frame.size)

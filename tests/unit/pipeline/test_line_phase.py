"""The line phase of bidirectional scanning is found, and what is read is what it would be without it."""

from __future__ import annotations

import numpy as np
import pytest
from moving_field import MovingField, jitter_px
from naive import line_phase as slow
from naive import pixels as slow_pixels

from rt_engine.kernels.line_phase import bin_lines_apart, mean_over_lines_apart
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.line_phase import estimate_line_phase, straightened
from rt_engine.pipeline.masks import PlaneMasks, weighted_masks
from rt_engine.pipeline.registration import RigidRegistration


def masks(size_px: int, line_phase_px: float = 0.0, weighted: bool = False) -> PlaneMasks:
    """Discs of 6 px with rings."""
    y, x = np.indices((size_px, size_px))
    discs, rings = [], []
    for centre in ((10, 12), (size_px // 2, size_px // 2), (size_px - 9, size_px - 8), (30, size_px - 20)):
        distance = np.hypot(y - centre[0], x - centre[1])
        discs.append(np.flatnonzero(distance < 6).astype(np.uint32))
        rings.append(np.flatnonzero((distance > 8) & (distance < 12)).astype(np.uint32))
    pixels = np.concatenate(discs)
    return PlaneMasks(
        n_lines=size_px,
        pixels_per_line=size_px,
        offset_counts=100.0,
        adc_max_counts=float("nan"),
        roi_start=np.concatenate([[0], np.cumsum([len(disc) for disc in discs])]).astype(np.int64),
        roi_pixels=pixels,
        roi_weight=(1 + pixels % 255).astype(np.uint8) if weighted else np.zeros(0, np.uint8),
        neuropil_start=np.concatenate([[0], np.cumsum([len(ring) for ring in rings])]).astype(np.int64),
        neuropil_pixels=np.concatenate(rings),
        line_phase_px=line_phase_px,
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("bin_px", [1, 2])
@pytest.mark.parametrize("phase", [0.0, 0.4, -1.75, 3.0])
def test_binning_reads_odd_lines_at_their_phase(dtype: type, bin_px: int, phase: float) -> None:
    frame = np.random.default_rng(1).integers(0, 4000, (23, 31)).astype(dtype)
    out = np.full((30, 40), 7.0, np.float32)
    mean = bin_lines_apart(frame, bin_px, phase, out)
    expected, expected_mean = slow.bin_lines_apart(frame, bin_px, phase)
    assert mean == pytest.approx(expected_mean, rel=1e-6)
    np.testing.assert_allclose(out[: expected.shape[0], : expected.shape[1]], expected, atol=0.02)
    if phase == 0.0:
        np.testing.assert_allclose(expected, slow_pixels.bin_and_centre(frame, bin_px)[0], atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("phase", [0.0, 0.6, -1.25])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (-2.25, 3.5), (7.0, 9.75)])
def test_masks_are_moved_line_by_line(shift: tuple[float, float], phase: float, weighted: bool) -> None:
    plane = masks(48, weighted=weighted)
    frame = np.random.default_rng(2).integers(0, 4000, (48, 48)).astype(np.uint16)
    mean, inside = np.zeros(4, np.float32), np.zeros(4, np.int64)
    mean_over_lines_apart(frame, weighted_masks(plane, np.arange(4)), *shift, phase, 100.0, mean, inside)
    for cell in range(4):
        own = slice(plane.roi_start[cell], plane.roi_start[cell + 1])
        weights = plane.roi_weight[own] if weighted else np.ones(own.stop - own.start, np.int64)
        expected, expected_inside = slow.mean_over_lines_apart(
            frame, plane.roi_pixels[own], weights, shift, phase, 100.0
        )
        assert inside[cell] == expected_inside
        assert mean[cell] == pytest.approx(expected, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("phase", [0.0, 0.3, -0.7, 1.4, -3.2])
def test_the_phase_is_found_on_a_moving_sample(phase: float) -> None:
    sample = MovingField(128, 0.9)
    shifts = jitter_px(60, 128, np.random.default_rng(3))
    found, error = estimate_line_phase(np.mean([sample.frame(shift, phase) for shift in shifts], axis=0))
    assert found == pytest.approx(phase, abs=0.05)
    assert error < 0.05


def test_no_phase_is_made_up_from_noise() -> None:
    rng = np.random.default_rng(4)
    assert estimate_line_phase(rng.normal(100, 5, (128, 128)))[0] == 0.0
    assert estimate_line_phase(np.zeros((64, 64)))[0] == 0.0


@pytest.mark.parametrize("phase", [0.6, -1.4])
def test_shifts_and_traces_are_those_of_a_sample_scanned_one_way(phase: float) -> None:
    sample = MovingField(128, 200.0)
    plain, known = RigidRegistration(sample.template, 8.0), RigidRegistration(sample.template, 8.0, phase)
    still = RoiExtraction(masks(128))
    still.process(sample.template.astype(np.uint16), 0.0, 0.0)
    moving = RoiExtraction(masks(128, phase))
    for shift in ((0.0, 0.0), (1.5, -2.25), (-3.0, 0.5)):
        frame = sample.frame(np.array(shift), phase)
        known.process(frame)
        plain.process(frame)
        assert (known.shift_y_px, known.shift_x_px) == pytest.approx(shift, abs=0.06)
        assert plain.shift_x_px - shift[1] == pytest.approx(phase / 2, abs=0.3)
        assert abs(plain.shift_x_px - shift[1]) > 0.15
        moving.process(frame, *shift)
        for now, expected in ((moving.f_roi, still.f_roi), (moving.f_np, still.f_np)):
            np.testing.assert_allclose(now[[1, 3]], expected[[1, 3]], rtol=0.04)


def test_straightened_frames_have_no_phase_left() -> None:
    sample = MovingField(128, 20.0)
    frame = sample.frame(np.zeros(2), 1.3)
    frames = straightened(lambda: iter([frame]), 1.3)
    assert estimate_line_phase(frame.astype(float))[0] == pytest.approx(1.3, abs=0.05)
    left, _ = estimate_line_phase(next(iter(frames())).astype(float))
    assert abs(left) <= 0.06
    assert next(iter(straightened(lambda: iter([frame]), 0.0)())) is frame

"""Strips follow what moves within a frame; cells are decided when their lines are there, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from moving_field import MovingField, breathing_px, jitter_px
from numpy.typing import NDArray
from strip_accuracy import errors_px

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.calibrate import calibrate
from rt_engine.pipeline.cell_group import CellGroup, groups_of_strips
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.strips import StripRegistration

SIZE, STRIP = 256, 32
PERIOD_NS = 33_333_333


def test_motion_within_a_frame_is_followed_by_strips_and_not_by_whole_frames() -> None:
    whole, strips, n_muted = errors_px(MovingField(SIZE, 0.9), breathing_px(20, SIZE))
    assert whole.max() > 0.2
    assert np.all(strips < 0.7 * whole)
    assert n_muted == 0


def test_strips_lose_little_on_a_sample_that_moves_between_frames() -> None:
    shifts = jitter_px(20, SIZE, np.random.default_rng(3))
    whole, strips, n_muted = errors_px(MovingField(SIZE, 0.9), shifts)
    assert whole.max() < 0.05
    assert strips.max() < 0.12
    assert n_muted == 0


@pytest.mark.parametrize(("size_px", "strip_lines", "n_frames"), [(128, 16, 60), (256, 8, 34)])
def test_strips_too_thin_to_be_registered_alone_wait_for_more_lines(
    size_px: int, strip_lines: int, n_frames: int
) -> None:
    """At the top of the field there are none before them: what little they show is no jump."""
    sample = MovingField(size_px, 0.5)
    strips = StripRegistration(sample.template, 8.0, strip_lines)
    shifts, muted = [], 0
    for _ in range(n_frames):
        frame = sample.frame(np.zeros(2))
        for strip in range(len(strips.ends)):
            strips.process(frame, strip)
            shifts.append((strips.shift_y_px, strips.shift_x_px))
            muted += strips.jumped
    settled = np.abs(np.array(shifts)[2 * len(strips.ends) :])
    assert settled.max() < 0.5
    assert muted < 0.1 * len(shifts)


def test_a_jump_within_a_frame_mutes_from_its_strip_on_and_is_followed() -> None:
    sample = MovingField(SIZE, 2.0)
    strips = StripRegistration(sample.template, 8.0, STRIP)
    shift = np.zeros((SIZE, 2))
    jumped = []
    for index in range(6):
        if index == 3:
            shift[SIZE // 2 :] = (5.0, -3.0)
        frame = sample.frame(shift)
        if index == 3:
            shift[:] = (5.0, -3.0)
        for strip in range(len(strips.ends)):
            strips.process(frame, strip)
            jumped.append(strips.jumped)
    n = len(strips.ends)
    first = jumped.index(True)
    assert 3 * n + n // 2 <= first <= 3 * n + n // 2 + 2
    last = len(jumped) - 1 - jumped[::-1].index(True)
    assert last - first >= 2 * n
    assert jumped[-1] is False
    np.testing.assert_allclose(strips.strip_shift_px, np.broadcast_to((5.0, -3.0), (n, 2)), atol=0.3)


def test_another_image_in_the_lower_half_is_told_by_its_strips_alone() -> None:
    sample, other = MovingField(SIZE, 2.0), MovingField(SIZE, 2.0, seed=9)
    strips = StripRegistration(sample.template, 8.0, STRIP)
    n = len(strips.ends)
    for _ in range(40):
        frame = sample.frame(np.zeros(2))
        for strip in range(n):
            strips.process(frame, strip)
    usual = strips.strip_quality.copy()
    frame[SIZE // 2 :] = other.frame(np.zeros(2))[SIZE // 2 :]
    jumped = []
    for strip in range(n):
        strips.process(frame, strip)
        jumped.append(strips.jumped)
    assert not any(jumped[: n // 2])
    assert all(jumped[n // 2 + 3 :])
    np.testing.assert_allclose(strips.strip_quality[: n // 2], usual[: n // 2], rtol=0.3)
    assert np.all(strips.strip_quality[n // 2 + 3 :] < 0.5 * usual[n // 2 + 3 :])


def test_black_lines_have_no_quality_mute_and_move_nothing() -> None:
    sample = MovingField(SIZE, 2.0)
    strips = StripRegistration(sample.template, 8.0, STRIP)
    for index in range(35):
        frame = sample.frame(np.array([1.0, -2.0])) if index < 34 else np.zeros((SIZE, SIZE), np.uint16)
        for strip in range(len(strips.ends)):
            strips.process(frame, strip)
    assert strips.quality == 0.0
    assert strips.jumped
    assert (strips.shift_y_px, strips.shift_x_px) == pytest.approx((1.0, -2.0), abs=0.2)


N_BASELINE, N_LIVE = 400, 60


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint16]:
    sample = VirtualSample(SampleConfig(seed=1, n_cells=40), SIZE, SIZE, 0.8, 30.0)
    out = np.zeros((N_BASELINE + N_LIVE, SIZE, SIZE), np.uint16)
    for index, frame in enumerate(out):
        sample.render(index, frame)
    return out


@pytest.fixture(scope="module")
def calibration(frames: NDArray[np.uint16]) -> Calibration:
    def open_frames() -> Iterator[NDArray[Any]]:
        return iter(frames[:N_BASELINE])

    return calibrate(
        open_frames,
        frame_rate_hz=30.0,
        indicator="jGCaMP8m",
        n_frames=N_BASELINE,
        hold_frames=1,
        false_alarms_per_min=1.0,
        neuropil_coefficient=0.7,
        um_per_px=0.8,
        offset_counts=None,
        adc_max=None,
        max_shift_px=8.0,
        progress=lambda stage, fraction: None,
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.25, -3.5), (-8.0, 8.0), (7.9, 0.5)])
def test_a_group_reads_from_its_lines_what_the_plane_reads_from_all(
    calibration: Calibration, frames: NDArray[np.uint16], shift: tuple[float, float]
) -> None:
    plane = RoiExtraction(calibration)
    plane.process(frames[-1], *shift, [(40, 3)])
    groups = groups_of_strips(calibration, np.arange(STRIP, SIZE + 1, STRIP), 8.0)
    assert len(groups) >= 4
    assert sorted(np.concatenate([group.rows for group in groups])) == list(range(calibration.n_rois))
    for group in groups:
        group.read(frames[-1], *shift, [(40, 3)])
        for name in ("f_roi", "f_np", "blanked", "censored"):
            expected = getattr(plane, name)[group.rows]
            np.testing.assert_allclose(getattr(group.extraction, name), expected, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(group.extraction.valid == 1, plane.valid[group.rows] == 1)


def strip_engine(calibration: Calibration) -> Engine:
    engine = Engine(calibration, 8.0, MonotonicClock(), STRIP)
    engine.warm_up()
    return engine


def run_strips(engine: Engine, frames: NDArray[np.uint16], unseen: int | None) -> list[bytes]:
    """Events of every strip, and every frame's activity; lines that are not there yet hold `unseen`."""
    out = []
    for index, frame in enumerate(frames):
        buffer = frame.copy() if unseen is None else np.full_like(frame, unseen)
        engine.begin(1000 + index, 0)
        for end in range(STRIP, SIZE + 1, STRIP):
            buffer[:end] = frame[:end]
            t_scan_ns = index * PERIOD_NS + round(end / SIZE * PERIOD_NS)
            n_events = engine.process_lines(buffer, 1000 + index, end, t_scan_ns)
            out.append(engine.events[:n_events].tobytes())
        out.append(engine.fill_activity().tobytes())
    return out


def test_lines_that_are_not_there_yet_are_not_looked_at(calibration: Calibration, frames: NDArray[np.uint16]) -> None:
    live = frames[N_BASELINE:]
    expected = run_strips(strip_engine(calibration), live, None)
    assert run_strips(strip_engine(calibration), live, 4000) == expected
    assert sum(len(of_strip) for of_strip in expected) > 0


def test_strips_and_whole_frames_tell_nearly_the_same_traces(
    calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    live = frames[N_BASELINE:]
    by_strips, whole = strip_engine(calibration), Engine(calibration, 8.0, MonotonicClock())
    correlation = []
    for index, frame in enumerate(live):
        run_strips(by_strips, frame[None], None)
        whole.process(frame, 1000 + index, index * PERIOD_NS, 0)
        one, other = by_strips.fill_activity()[2], whole.fill_activity()[2]
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() >= 5:
            correlation.append(np.corrcoef(one[both], other[both])[0, 1])
    assert len(correlation) >= 0.9 * N_LIVE
    assert np.median(correlation) > 0.9


def test_most_cells_are_decided_before_the_frame_ends(calibration: Calibration, frames: NDArray[np.uint16]) -> None:
    engine = strip_engine(calibration)
    engine.begin(1000, 0)
    engine.process_lines(frames[-1], 1000, SIZE // 2, PERIOD_NS // 2)
    decided = np.zeros(calibration.n_rois, bool)
    for group in engine._groups[: engine._n_decided]:
        decided[group.rows] = True
    centre = calibration.centroids_yx_px()[:, 0]
    assert decided[centre < SIZE / 2 - 50].all()
    assert not decided[centre > SIZE / 2].any()


def test_cells_below_missing_lines_have_no_sample_of_that_frame(
    calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    engine = strip_engine(calibration)
    run_strips(engine, frames[N_BASELINE : N_BASELINE + 2], None)
    engine.begin(1002, 0)
    engine.process_lines(frames[-1], 1002, SIZE // 2, 2 * PERIOD_NS)
    engine.begin(1003, 0)
    missing = {group.n_missing for group in engine._groups if group.last_line_needed < SIZE // 2 - 20}
    assert missing == {0}
    assert {group.n_missing for group in engine._groups if group.last_line_needed > SIZE // 2} == {1}
    engine.process_lines(frames[-1], 1003, SIZE, 3 * PERIOD_NS)
    assert {group.n_missing for group in engine._groups} == {0}


def test_a_group_of_all_cells_is_the_plane(calibration: Calibration) -> None:
    group = CellGroup(calibration, np.arange(calibration.n_rois), 8.0)
    assert (group.line0, group.end_line) == (0, SIZE)

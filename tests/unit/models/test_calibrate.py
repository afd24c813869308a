"""A calibration is made from frames alone, and refuses recordings from which none can be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rt_engine.interfaces.calibration import Calibration, load_calibration, save_calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.models.calibrate import calibrate
from rt_engine.models.component_quality import QUALITY_NUMBERS
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine

SIZE, N_FRAMES, OFFSET = 96, 300, 100
CENTRES = [(24.0, 26.0), (30.0, 68.0), (68.0, 40.0)]


def recording(seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Three cells on structured haze, moving by up to two pixels; frames and shifts."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE)).astype(float)
    spots = rng.uniform(0, SIZE, (60, 2))
    phase = np.arange(N_FRAMES)[:, None] / np.array([17.0, 23.0])
    shifts = np.rint(2.0 * np.sin(phase)).astype(int)
    glow = np.ones((N_FRAMES, len(CENTRES)))
    for cell in range(len(CENTRES)):
        for start in rng.choice(N_FRAMES - 40, 8, replace=False):
            glow[start : start + 40, cell] += 1.5 * np.exp(-np.arange(40) / 6.0)
    frames = []
    for (dy, dx), brightness in zip(shifts, glow, strict=True):
        photons = np.full((SIZE, SIZE), 2.0)
        for spot in spots:
            photons += 3.0 * np.exp(-0.5 * ((y - spot[0] - dy) ** 2 + (x - spot[1] - dx) ** 2) / 1.5**2)
        for centre, value in zip(CENTRES, brightness, strict=True):
            photons += 4.0 * value * (np.hypot(y - centre[0] - dy, x - centre[1] - dx) < 7.5)
        frames.append((20 * rng.poisson(photons) + OFFSET).astype(np.uint16))
    return frames, shifts


@pytest.fixture(scope="module")
def moving() -> list[np.ndarray]:
    return recording()[0]


def run(frames: list[np.ndarray], **changes: object) -> Calibration:
    options: dict[str, object] = {
        "frame_rate_hz": 30.0, "indicator": "jGCaMP8m", "n_frames": len(frames), "false_alarms_per_min": 0.5,
        "neuropil_coefficient": 0.7, "um_per_px": 0.8, "offset_counts": float(OFFSET), "adc_max": 4095,
        "max_shift_px": 6.0, "progress": lambda stage, done: None,
    }  # fmt: skip

    def open_frames() -> Iterator[np.ndarray]:
        yield from frames

    return calibrate(open_frames, **{**options, **changes})  # type: ignore[arg-type]


def test_planted_cells_become_a_calibration_that_survives_its_file(moving: list[np.ndarray], tmp_path: Path) -> None:
    stages: dict[str, list[float]] = {}
    made = run(moving, progress=lambda stage, done: stages.setdefault(stage, []).append(done))
    centroids = made.centroids_yx_px()
    for centre in CENTRES:
        assert np.hypot(*(centroids - centre).T).min() < 2.0
    assert made.provisional
    assert np.all(made.f0_counts > 0.0)
    assert list(stages) == ["template", "register", "cells", "traces", "thresholds"]
    assert all(done == sorted(done) and done[0] >= 0.0 and done[-1] <= 1.0 for done in stages.values())
    save_calibration(tmp_path / "c.h5", made)
    np.testing.assert_array_equal(load_calibration(tmp_path / "c.h5").threshold, made.threshold)


def test_what_became_of_the_candidates_is_said_and_first_masks_come_early(moving: list[np.ndarray]) -> None:
    said: list[str] = []
    order: list[str] = []
    first: list[list[np.ndarray]] = []

    def keep(footprints: list[np.ndarray]) -> None:
        order.append("first")
        first.append(footprints)

    made = run(moving, say=said.append, first_rois=keep, progress=lambda stage, done: order.append(stage))
    assert len(said) == 1
    assert said[0].startswith(f"{made.n_rois} cells")
    assert order.index("first") < order.index("traces")
    assert len(first[0]) >= len(CENTRES)
    assert made.quality_numbers.shape == (made.n_rois, len(QUALITY_NUMBERS))


def test_the_same_recording_gives_the_same_calibration_bit_for_bit(moving: list[np.ndarray]) -> None:
    once, again = run(moving), run(moving)
    np.testing.assert_array_equal(once.roi_pixels, again.roi_pixels)
    np.testing.assert_array_equal(once.threshold, again.threshold)


def test_fifty_frames_give_a_provisional_calibration(moving: list[np.ndarray]) -> None:
    made = run(moving[:50])
    assert made.provisional
    assert made.n_baseline_frames == 50
    assert 1 <= made.n_rois <= len(CENTRES) + 1
    assert np.all(np.isfinite(made.threshold))


def test_an_unknown_offset_is_found_by_photon_transfer(moving: list[np.ndarray]) -> None:
    assert run(moving, offset_counts=None).offset_counts == pytest.approx(OFFSET, abs=15.0)


def box(y0: int, x0: int, height: int, width: int) -> RoiMask:
    y, x = (part.ravel() for part in np.mgrid[y0 : y0 + height, x0 : x0 + width])
    return RoiMask(y, x, np.ones(y.size, np.float32), "box")


def test_given_cells_are_used_as_they_are_also_where_they_overlap(moving: list[np.ndarray]) -> None:
    rois = [box(20, 20, 10, 10), box(60, 60, 10, 6), box(25, 25, 8, 8)]
    made = run(moving, rois=rois)
    assert made.n_rois == 3
    for index, roi in enumerate(rois):
        found = made.roi_pixels[made.roi_start[index] : made.roi_start[index + 1]]
        assert np.array_equal(found, np.sort(roi.y * SIZE + roi.x))
    assert np.all(made.quality == 1.0)


def test_bad_frames_and_bad_cells_cost_their_own_samples_and_nothing_else(moving: list[np.ndarray]) -> None:
    """A black frame, a saturated one, one with a missing line; cells of 0 and of 3 pixels, and one given twice."""
    frames = [frame.copy() for frame in moving]
    frames[50][:], frames[60][:], frames[70][20] = 0, 65535, 0
    nothing = RoiMask(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), "nothing")
    rois = [box(20, 20, 10, 10), nothing, box(60, 60, 1, 3), box(20, 20, 10, 10)]
    made = run(frames, rois=rois)
    assert made.inseparable_roi_id.tolist() == [[1, 4]]
    good = made.roi_id != 2
    for name in ("f0_counts", "sigma_dff", "threshold", "expected_detection"):
        assert np.isfinite(getattr(made, name)[good]).all(), name
    clean = run(moving, rois=rois)
    np.testing.assert_allclose(made.f0_counts[good], clean.f0_counts[good], rtol=0.03)
    assert np.isnan(made.baseline_shift_px[[50, 60]]).all()
    engine = Engine(made, 8.0, MonotonicClock())
    engine.warm_up()
    for index, frame in enumerate(moving[:20]):
        engine.process(frame, index, index, 0)
    activity = engine.fill_activity()
    valid, dff = activity[ACTIVITY_FIELDS.index("valid")], activity[ACTIVITY_FIELDS.index("dff")]
    assert valid.tolist() == [1.0, 0.0, 1.0, 1.0]
    assert np.isnan(dff[1])
    assert dff[0] == dff[3]


def test_a_progress_that_raises_cancels(moving: list[np.ndarray]) -> None:
    def stop(stage: str, done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(moving, progress=stop)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([np.ones((64, 64), np.uint16)] * 49, "49 frames"),
        ([np.zeros((64, 64), np.uint16)] * 60, "black"),
        ([np.r_[np.full((32, 64), 4095, np.uint16), np.zeros((32, 64), np.uint16)]] * 60, "limit"),
        ([np.full((64, 64), 4095, np.uint16)] * 60, "4095"),
        ([np.full((64, 64), np.nan, np.float32)] * 60, "every pixel is NaN"),
        ([np.ones((64, 64), np.float32)] * 60, "float32"),
    ],
)
def test_a_recording_without_information_is_refused(frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as error:
        run(frames)
    assert error.value.remedy


def test_a_recording_without_cells_is_refused() -> None:
    rng = np.random.default_rng(1)
    light = rng.uniform(1.0, 4.0, (64, 64))
    with pytest.raises(CalibrationError, match="no active cell"):
        run([(20 * rng.poisson(light) + OFFSET).astype(np.uint16) for _ in range(150)])

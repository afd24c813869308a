"""Movement told by a bright structural channel, cells read from a dim functional one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from moving_field import MovingField, jitter_px

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.models.calibrate import calibrate
from rt_engine.pipeline.engine import Engine

SIZE, N_BASELINE, N_LIVE = 128, 240, 80
Array = np.ndarray[Any, Any]


class TwoChannels:
    """The same movement in both: red is bright, green so dim that it hardly shows it."""

    def __init__(self) -> None:
        red, green = MovingField(SIZE, 8.0, seed=1), MovingField(SIZE, 0.03, seed=1)
        rng = np.random.default_rng(5)
        self.shift = 3.0 * jitter_px(N_BASELINE + N_LIVE, SIZE, rng)
        self.red = np.stack([red.frame(shift) for shift in self.shift])
        self.green = np.stack([green.frame(shift) for shift in self.shift])


@pytest.fixture(scope="module")
def movie() -> TwoChannels:
    """Baseline and live frames of both channels."""
    return TwoChannels()


def _calibrated(movie: TwoChannels, structural: bool) -> Calibration:
    y, x = np.indices((SIZE, SIZE))
    rois = []
    for cy, cx in ((30, 40), (64, 64), (90, 30)):
        inside = np.nonzero(np.hypot(y - cy, x - cx) < 6)
        rois.append(RoiMask(inside[0], inside[1], np.ones(len(inside[0]), np.float32), ""))
    return calibrate(
        lambda: iter(movie.green[:N_BASELINE]), frame_rate_hz=30.0, indicator="jGCaMP8m", n_frames=N_BASELINE,
        hold_frames=1, false_alarms_per_min=1.0, neuropil_coefficient=0.7, um_per_px=0.8, offset_counts=100.0,
        adc_max=None, rois=rois, max_shift_px=8.0, progress=lambda stage, done: None,
        open_structural=(lambda: iter(movie.red[:N_BASELINE])) if structural else None,
        registration_channel=1 if structural else -1,
    )  # fmt: skip


def _shifts(engine: Engine, movie: TwoChannels, *, structural: bool, strip: int = SIZE) -> Array:
    engine.warm_up()
    out = []
    for index in range(N_LIVE):
        engine.begin(index, 0)
        for end in range(strip, SIZE + 1, strip):
            engine.reference = movie.red[N_BASELINE + index] if structural else None
            engine.process_lines(movie.green[N_BASELINE + index], index, end, index)
        out.append(engine.shift_yx_px)
    return np.array(out)


def _error_px(found: Array, movie: TwoChannels) -> float:
    true = movie.shift[N_BASELINE:, SIZE // 2]
    difference = found - true
    return float(np.sqrt(np.mean((difference - np.median(difference, axis=0)) ** 2)))


@pytest.mark.parametrize("strip", [SIZE, 64])
def test_the_shift_is_that_of_the_structural_channel(movie: TwoChannels, strip: int) -> None:
    both = _calibrated(movie, structural=True)
    assert both.registration_channel == 1
    alone = _calibrated(movie, structural=False)
    in_strips = None if strip == SIZE else strip
    with_red = _error_px(
        _shifts(Engine(both, 8.0, MonotonicClock(), in_strips), movie, structural=True, strip=strip), movie
    )
    without = _error_px(
        _shifts(Engine(alone, 8.0, MonotonicClock(), in_strips), movie, structural=False, strip=strip), movie
    )
    assert with_red < 0.15
    assert without > 3 * with_red


def test_both_templates_show_the_same_place(movie: TwoChannels) -> None:
    made = _calibrated(movie, structural=True)

    def rough(image: Array) -> Array:
        return image[:120, :120].reshape(15, 8, 15, 8).mean(axis=(1, 3)).ravel()

    assert np.corrcoef(rough(made.template), rough(made.registration_template))[0, 1] > 0.9


def test_without_structural_lines_cells_are_read_where_the_frame_before_was(movie: TwoChannels) -> None:
    engine = Engine(_calibrated(movie, structural=True), 8.0, MonotonicClock())
    engine.warm_up()
    engine.reference = movie.red[N_BASELINE]
    engine.process(movie.green[N_BASELINE], 0, 0, 0)
    before = engine.shift_yx_px
    engine.reference = None
    engine.process(movie.green[N_BASELINE + 1], 1, 1, 0)
    assert engine.shift_yx_px == before
    engine.reference = movie.red[N_BASELINE + 2]
    engine.process(movie.green[N_BASELINE + 2], 2, 2, 0)
    assert engine.shift_yx_px != before


def test_a_rig_that_registers_otherwise_is_refused(movie: TwoChannels) -> None:
    from rt_engine.interfaces.errors import CalibrationError

    made = _calibrated(movie, structural=True)
    made.require_registration(1, "c.h5")
    with pytest.raises(CalibrationError, match="registers by channel 1, the rig by the channel that is read"):
        made.require_registration(None, "c.h5")
    with pytest.raises(CalibrationError, match="the rig by channel 1"):
        replace(made, registration_channel=-1).require_registration(1, "c.h5")

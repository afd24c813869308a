"""Planted truth of crosstalk: overlapping cells of the virtual rig of which every other one is silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.interfaces.sample_config import BackgroundConfig, CellsConfig, MotionConfig, SampleConfig, SpikingConfig
from rt_engine.models.calibrate import calibrate
from rt_engine.pipeline.engine import Engine

SIZE, RATE_HZ = 128, 30.0
LEAST_SHARED = 0.1
"""Cosine of two footprints from which on a silent cell counts as the neighbour of an active one."""


@dataclass(frozen=True)
class Planted:
    """Frames, what was planted, and the pairs (silent cell, active neighbour) with the cosine of their footprints."""

    frames: NDArray[np.uint16]
    rois: list[RoiMask]
    dff: NDArray[np.float64]
    silent: NDArray[np.bool_]
    pairs: list[tuple[int, int]]
    cosine: NDArray[np.float64]


def planted(n_frames: int, seed: int, n_cells: int = 40) -> Planted:
    """A small crowded field, not in motion."""
    config = SampleConfig(
        seed=seed,
        n_cells=n_cells,
        cells=CellsConfig(min_distance_um=7.0, median_a_over_sigma=6.0, log_sd_a_over_sigma=0.1),
        spiking=SpikingConfig(min_rate_hz=0.4, max_rate_hz=0.8, n_groups=0),
        background=BackgroundConfig(vessels_per_mm=0.0),
        motion=MotionConfig(jitter_um=0.1, jump_rate_hz=0.0, drift_um=0.0),
    )
    sample = VirtualSample(config, SIZE, SIZE, 0.8, RATE_HZ)
    silent = np.arange(n_cells) % 2 == 0
    fire = sample.spikes.take_until

    def fire_some(end_s: float) -> Any:
        time_s, cell = fire(end_s)
        keep = ~silent[cell]
        return time_s[keep], cell[keep]

    sample.spikes.take_until = fire_some  # type: ignore[method-assign]
    frames = np.zeros((n_frames, SIZE, SIZE), np.uint16)
    dff = np.zeros((n_frames, n_cells))
    for index in range(n_frames):
        sample.render(index, frames[index])
        dff[index] = sample.dff
    rois, footprints = _footprints(sample)
    unit = footprints / np.linalg.norm(footprints, axis=1, keepdims=True)
    cosine = unit @ unit.T
    pairs = [
        (int(k), int(np.argmax(np.where(silent, 0.0, cosine[k]))))
        for k in np.flatnonzero(silent)
        if np.where(silent, 0.0, cosine[k]).max() >= LEAST_SHARED
    ]
    return Planted(frames, rois, dff, silent, pairs, cosine)


def _footprints(sample: VirtualSample) -> tuple[list[RoiMask], NDArray[np.float64]]:
    """Planted somata as footprints with weights, and the same dense, shape (n_cells, n_pixels)."""
    somata, margin = sample.somata, sample.margin_px
    wide = SIZE + 2 * margin
    rois, dense = [], np.zeros((len(somata.y_px), SIZE * SIZE))
    for k in range(len(somata.y_px)):
        entries = slice(somata.start[k], somata.start[k + 1])
        y, x = np.divmod(somata.pixels[entries].astype(np.int64), wide)
        y, x, weight = y - margin, x - margin, somata.weight[entries]
        keep = (y >= 0) & (y < SIZE) & (x >= 0) & (x < SIZE) & (weight >= 0.05)
        rois.append(RoiMask(y[keep], x[keep], weight[keep].astype(np.float32), f"cell {k}"))
        dense[k, y[keep] * SIZE + x[keep]] = weight[keep]
    return rois, dense


def calibrated(of: Planted, n_baseline: int, neuropil_coefficient: float | None = None) -> Calibration:
    """Calibration from the first frames, cells as planted."""

    def open_frames() -> Iterator[NDArray[Any]]:
        return iter(of.frames[:n_baseline])

    return calibrate(
        open_frames, frame_rate_hz=RATE_HZ, indicator="jGCaMP8m", n_frames=n_baseline, hold_frames=1,
        false_alarms_per_min=0.5, neuropil_coefficient=neuropil_coefficient, um_per_px=0.8, offset_counts=100.0,
        adc_max=4095, rois=of.rois, max_shift_px=4.0, progress=lambda stage, done: None,
    )  # fmt: skip


@dataclass(frozen=True)
class LiveRun:
    """dF/F of all cells, shape (n_frames, n_cells), and the number of events of each."""

    dff: NDArray[np.float32]
    n_events: NDArray[np.int64]


def live(of: Planted, calibration: Calibration, n_baseline: int) -> LiveRun:
    """The engine on the frames after the baseline."""
    engine = Engine(calibration, 4.0, MonotonicClock())
    engine.warm_up()
    dff, n_events = [], np.zeros(calibration.n_rois, np.int64)
    row_of = {int(roi): row for row, roi in enumerate(calibration.roi_id)}
    for index, frame in enumerate(of.frames[n_baseline:]):
        n = engine.process(frame, index, index * 33_333_333, 0)
        for event in engine.events[:n]:
            n_events[row_of[int(event["roi_id"])]] += 1
        dff.append(engine.fill_activity()[2].copy())
    return LiveRun(np.array(dff), n_events)

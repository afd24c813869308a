"""Frames and calibration of a small sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_field import N_BASELINE, N_LIVE, SIZE

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.calibrate import calibrate


@pytest.fixture(scope="session")
def frames() -> NDArray[np.uint16]:
    """Baseline and live frames of a small sample."""
    sample = VirtualSample(SampleConfig(seed=1, n_cells=12), SIZE, SIZE, 0.8, 30.0)
    out = np.zeros((N_BASELINE + N_LIVE, SIZE, SIZE), np.uint16)
    for index, frame in enumerate(out):
        sample.render(index, frame)
    return out


@pytest.fixture(scope="session")
def calibration(frames: NDArray[np.uint16]) -> Calibration:
    """Calibration from the baseline."""

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

"""What baseline and decision of a calibration's cells go by, as their kernels take it."""

from __future__ import annotations

import numpy as np

from rt_engine.interfaces.calibration import Calibration
from rt_engine.kernels.baseline import BaselineParameters
from rt_engine.kernels.decision import DecisionParameters
from rt_engine.pipeline.plain_functions import exp

BASELINE_QUANTILE = 0.1
_PHI_INVERSE = -1.2815515655446004  # of the quantile
_DENSITY = 0.17549833193248685  # of a standard normal at the quantile
BASELINE_MEMORY_S = 60.0
LARGEST_SLOPE_PER_S = 0.01  # of F0
HOLD_OFF_DECAYS = 3.0  # decay times after an event for which the baseline stands still


def baseline_parameters(calibration: Calibration) -> BaselineParameters:
    """Steps and bounds of the running quantile, so that its memory is `BASELINE_MEMORY_S` or its slope at its limit."""
    f0 = calibration.f0_counts.astype(np.float64)
    sigma = calibration.sigma_dff.astype(np.float64) * f0
    rate = calibration.frame_rate_hz
    for_memory = sigma / (_DENSITY * BASELINE_MEMORY_S * rate)
    for_slope = LARGEST_SLOPE_PER_S * f0 / ((1 - BASELINE_QUANTILE) * rate)
    step = np.minimum(for_memory, for_slope)
    return BaselineParameters(
        neuropil_coefficient=calibration.neuropil_coefficient.astype(np.float64),
        neuropil_median_counts=calibration.neuropil_median_counts.astype(np.float64),
        step_up_counts=step * BASELINE_QUANTILE,
        step_down_counts=step * (1 - BASELINE_QUANTILE),
        lift_counts=-_PHI_INVERSE * sigma,
        lowest_f0_counts=0.1 * f0,
    )


def decision_parameters(calibration: Calibration) -> DecisionParameters:
    """What decides; the thresholds are a copy, for a person may change them."""
    decay_frames = calibration.tau_s.astype(np.float64) * calibration.frame_rate_hz
    return DecisionParameters(
        sigma_dff=calibration.sigma_dff,
        f0_counts=calibration.f0_counts,
        gain=calibration.filter_gain,
        threshold=calibration.threshold.copy(),
        prior=(calibration.rate_hz / np.float32(calibration.frame_rate_hz)).astype(np.float32),
        gamma=exp(-1 / decay_frames).astype(np.float32),
        hold_off_frames=np.ceil(HOLD_OFF_DECAYS * decay_frames).astype(np.int64),
        roi_id=np.ascontiguousarray(calibration.roi_id, np.uint32),
    )

"""What the combined decision needs of every cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EVENT_RATE_HZ = 0.3
"""Prior rate of events that `log_prior` says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriveConstants:
    """Constants of smoother and decision; float64 ndarrays, shape (n_rois,), unless said.

    Attributes
    ----------
    decay, rise, step_decay, step_rise, noise_variance, drive_variance, baseline_variance
        See `kernels.drive_smoother.DriveParameters`.
    noise_dff, threshold, smallest_probability, unit_dff, response, gain, log_prior
        See `kernels.drive_decision.DriveDecisionParameters`.
    refractory_frames, hold_off_frames : int64 ndarray, shape (n_rois,)
    tables : float64 ndarray, shape (4, n_knots)
    calibration : float64 ndarray, shape (2, n_knots)
        These and the two above: see there as well.
    """

    decay: NDArray[np.float64]
    rise: NDArray[np.float64]
    step_decay: NDArray[np.float64]
    step_rise: NDArray[np.float64]
    noise_variance: NDArray[np.float64]
    drive_variance: NDArray[np.float64]
    baseline_variance: NDArray[np.float64]
    noise_dff: NDArray[np.float64]
    threshold: NDArray[np.float64]
    smallest_probability: NDArray[np.float64]
    unit_dff: NDArray[np.float64]
    response: NDArray[np.float64]
    gain: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    refractory_frames: NDArray[np.int64]
    hold_off_frames: NDArray[np.int64]
    tables: NDArray[np.float64]
    calibration: NDArray[np.float64]

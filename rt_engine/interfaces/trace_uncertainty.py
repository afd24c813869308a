"""How well the constants of the cells are known, and what their traces were like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraceUncertainty:
    """Standard errors (half of a 68 % interval) and findings; ndarrays of shape (n_rois,), float32 unless said.

    Attributes
    ----------
    sigma_se_dff, tau_se_s, amplitude_se_dff, f0_se_counts
        Of the fields of `Calibration` of these names.
    neuropil_fit, neuropil_fit_se
        Coefficient that the recording itself suggests under the prior 0.7 +- 0.15; the one in use is
        `Calibration.neuropil_coefficient`.
    has_dynamics : bool ndarray
        False: the trace cannot be told from noise without memory ("no calcium dynamics").
    noise_disputed : bool ndarray
        Spectrum and autocovariance differ by more than 20 %: activity or drift is in one of them.
    sigma_spectrum_dff, sigma_covariance_dff
        Those two estimates of the noise.
    f0_slope_per_min
        Relative change of the baseline a minute.
    f0_change
        Relative change of the baseline from start to end.
    valid_fraction
        Part of the frames with a sample.
    n_isolated_events : int64 ndarray
        Events that decay and amplitude rest on; 0: both are those of the population.
    detection_low, detection_high
        Expected detection for an amplitude one standard error lower and higher.
    """

    sigma_se_dff: NDArray[np.float32]
    tau_se_s: NDArray[np.float32]
    amplitude_se_dff: NDArray[np.float32]
    f0_se_counts: NDArray[np.float32]
    neuropil_fit: NDArray[np.float32]
    neuropil_fit_se: NDArray[np.float32]
    has_dynamics: NDArray[np.bool_]
    noise_disputed: NDArray[np.bool_]
    sigma_spectrum_dff: NDArray[np.float32]
    sigma_covariance_dff: NDArray[np.float32]
    f0_slope_per_min: NDArray[np.float32]
    f0_change: NDArray[np.float32]
    valid_fraction: NDArray[np.float32]
    n_isolated_events: NDArray[np.int64]
    detection_low: NDArray[np.float32]
    detection_high: NDArray[np.float32]

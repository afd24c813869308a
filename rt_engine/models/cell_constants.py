"""Everything that inference must know of cells beyond their masks, from their traces."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.threshold_law import ThresholdLaw
from rt_engine.models.cost_price import price_of_cost
from rt_engine.models.drive_calibration import calibrate_drive
from rt_engine.models.indicators import Indicator
from rt_engine.models.neuropil_fit import choose_neuropil
from rt_engine.models.trace_calibration import PhotonCounting, calibrate_traces
from rt_engine.models.trace_uncertainty import describe_traces
from rt_engine.pipeline.masks import PlaneMasks

TRACE_FIELDS = (
    "neuropil_coefficient",
    "neuropil_median_counts",
    "f0_counts",
    "sigma_dff",
    "tau_rise_s",
    "tau_s",
    "amplitude_dff",
    "rate_hz",
    "filter_taps",
    "filter_gain",
    "threshold",
    "expected_detection",
)
"""Fields of `Calibration` that come from the traces alone."""

WORKING_FALSE_ALARMS_PER_MIN = 0.5
"""Of the matched filter that finds activity where events are decided by cost."""


def cell_constants(
    masks: PlaneMasks,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    valid: NDArray[np.uint8],
    *,
    frame_rate_hz: float,
    indicator: Indicator,
    hold_frames: int,
    false_alarms_per_min: float | None,
    neuropil_coefficient: float | None,
    photon_gain_counts: float,
    false_event_cost: float | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, Any]:
    """Noise, kernels, thresholds and what they are worth, as fields of `Calibration`.

    Parameters
    ----------
    masks : PlaneMasks
        Of the cells whose traces these are.
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), mean counts, offset subtracted, demixed, read
    valid : uint8 ndarray, shape (n_frames, n_rois), read
        1 where there is a sample.
    frame_rate_hz : float
    indicator : Indicator
    hold_frames : int
    false_alarms_per_min : float or None
        Per cell; None: `false_event_cost` decides.
    neuropil_coefficient : float or None
        r of every cell; None estimates it.
    photon_gain_counts : float
        Counts of one photon; NaN if unknown.
    false_event_cost : float, optional
        Of a false event, in units of that of a missed one.
    progress : callable
        Gets the fraction done.
    """
    rate = WORKING_FALSE_ALARMS_PER_MIN if false_alarms_per_min is None else false_alarms_per_min
    neuropil = choose_neuropil(
        f_roi, f_np, valid == 1, np.diff(masks.neuropil_start), frame_rate_hz, neuropil_coefficient
    )
    photons = PhotonCounting(photon_gain_counts, _effective_pixels(masks), np.diff(masks.neuropil_start))
    traces = calibrate_traces(
        f_roi, f_np, valid, frame_rate_hz=frame_rate_hz, indicator=indicator, hold_frames=hold_frames,
        false_alarms_per_min=rate, neuropil_coefficient=neuropil.coefficient, photons=photons,
    )  # fmt: skip
    progress(0.5)
    drive = calibrate_drive(
        traces, f_roi, f_np, valid, frame_rate_hz=frame_rate_hz, indicator=indicator, hold_frames=hold_frames,
        false_alarms_per_min=rate, photons=photons, false_event_cost=false_event_cost,
    )  # fmt: skip
    progress(0.7)
    described = describe_traces(
        traces, f_roi, f_np, valid, frame_rate_hz=frame_rate_hz, indicator=indicator, hold_frames=hold_frames,
        false_alarms_per_min=rate, taps=drive.taps, threshold=drive.constants.threshold,
        neuropil=neuropil,
    )  # fmt: skip
    by_cost: dict[str, Any] = {}
    if false_event_cost is not None:
        by_cost = price_of_cost(
            traces, drive, described.uncertainty, photons=photons, frame_rate_hz=frame_rate_hz, hold_frames=hold_frames
        )
    progress(1.0)
    found = {name: getattr(traces, name) for name in TRACE_FIELDS} | {
        "uncertainty": described.uncertainty,
        "expected_detection": described.expected_detection,
        "threshold": drive.constants.threshold.astype(np.float32),
        "drive": drive.constants,
        "threshold_law": ThresholdLaw(skewness=drive.skewness, log_rate=drive.log_rate, peaks=described.peaks),
        "neuropil_coefficient_se": neuropil.standard_error.astype(np.float32),
        "neuropil_from_prior": neuropil.from_prior.astype(np.uint8),
    }
    return found | by_cost


def _effective_pixels(masks: PlaneMasks) -> NDArray[np.float64]:
    """Pixels of a plain mean whose photon noise is as skewed as that of the weighted one, shape (n_rois,)."""
    found = np.diff(masks.roi_start).astype(np.float64)
    if len(masks.roi_weight):
        for n, (first, last) in enumerate(pairwise(masks.roi_start)):
            weight = masks.roi_weight[first:last].astype(np.float64)
            found[n] = np.sqrt(weight.sum() ** 3 / np.sum(weight**3)) if len(weight) else 0.0
    return np.maximum(found, 1.0)

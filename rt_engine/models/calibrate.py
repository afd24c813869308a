"""Calibrate one plane from a baseline recording: template, cells, rings, noise, kernels, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.models.baseline import (
    MOVIE_BYTES,
    BaselineMovie,
    OpenFrames,
    extract_traces,
    first_template,
    register_baseline,
)
from rt_engine.models.carry_over import Heritage
from rt_engine.models.cell_constants import cell_constants
from rt_engine.models.cells import FoundCells, find_cells
from rt_engine.models.demixing import demix_baseline, footprints_to_read, roi_weights
from rt_engine.models.indicators import indicator as indicator_named
from rt_engine.models.neuropil_rings import neuropil_rings
from rt_engine.models.photon_transfer import photon_transfer
from rt_engine.models.seeds import correlation_image
from rt_engine.pipeline.extraction import SATURATED_ADC
from rt_engine.pipeline.line_phase import estimate_line_phase, straightened
from rt_engine.pipeline.masks import PlaneMasks

MIN_FRAMES = 50
LINE_PHASE_FRAMES = 200
MAX_BIN_S = 0.3
"""Frames are binned for the search to the indicator's decay, at most this; up to this where memory is short."""
MIN_BINS = 100
"""Short recordings are binned less."""
MAX_SATURATED = 0.25
"""Part of the field that may be at the detector's limit in the template."""

Progress = Callable[[str, float], None]


def calibrate(
    open_frames: OpenFrames,
    *,
    frame_rate_hz: float,
    indicator: str,
    n_frames: int,
    hold_frames: int | None = None,
    false_alarms_per_min: float | None,
    neuropil_coefficient: float | None,
    um_per_px: float | None,
    offset_counts: float | None,
    adc_max: int | None,
    rois: Sequence[RoiMask] | None = None,
    heritage: Heritage | None = None,
    max_shift_px: float,
    progress: Progress,
    say: Callable[[str], None] = lambda text: None,
    first_rois: Callable[[list[NDArray[np.uint32]]], None] = lambda footprints: None,
    plane: int = 0,
    channel: int = 0,
    open_structural: OpenFrames | None = None,
    registration_channel: int = -1,
    false_event_cost: float | None = None,
) -> Calibration:
    """Make a calibration; the recording is read three times, and memory does not grow with its length but for traces.

    Parameters
    ----------
    open_frames : callable
        Gives the frames from the first on: uint16 or int16, shape (n_lines, n_pixels), C order.
    frame_rate_hz : float
    indicator : str
        Name in the indicator library.
    n_frames : int
        Frames that `open_frames` gives.
    hold_frames : int, optional
        Decision lag; None takes the indicator's default at this rate.
    false_alarms_per_min : float or None
        Nominal rate of false events per cell; None: `false_event_cost` decides.
    neuropil_coefficient : float or None
        r of every cell; None estimates it (`rt_engine.models.neuropil_fit`).
    um_per_px, offset_counts, adc_max : float, float, int or None
        None where unknown; an unknown offset is estimated by photon transfer.
    rois : sequence of RoiMask, optional
        Cells given by the user, within the field; None looks for active cells.
    heritage : Heritage, optional
        An older calibration of the field, whose cells keep their identity and are joined to those found.
    max_shift_px : float
        Limit of the registration.
    progress : callable
        Gets a stage's name and the fraction of it done; may raise to cancel.
    say : callable
        Gets what became of the candidates: how many are cells, how many were dropped for which reason.
    first_rois : callable
        Gets the masks found so far as soon as they can be used: flat pixel indices of each cell, in the coordinates of
        the template.
    plane, channel : int
    open_structural : callable, optional
        Gives as many frames of a structural channel, by which all are registered; the cells are read from the others.
    registration_channel : int
        Its number; -1 without.
    false_event_cost : float, optional
        Of a false event, in units of that of a missed one.

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        Too few frames, black or saturated frames, frames that are no counts, or no cells.
    ConfigError
        Unknown indicator.
    """
    library_entry = indicator_named(indicator)
    if n_frames < MIN_FRAMES:
        raise CalibrationError(
            f"the recording has {n_frames} frames, a calibration needs at least {MIN_FRAMES}",
            "record a longer baseline",
        )
    _require_counts(next(iter(open_frames())))
    line_phase_px = _line_phase_px(open_frames)
    straight = straightened(open_frames, line_phase_px)
    structural = None if open_structural is None else straightened(open_structural, line_phase_px)
    template = first_template(structural or straight, n_frames, max_shift_px, lambda done: progress("template", done))
    registration_template = np.zeros((0, 0), np.float32) if structural is None else template
    _require_unsaturated(template, adc_max)
    bin_frames = search_bin_frames(frame_rate_hz, library_entry.tau_s, n_frames, MOVIE_BYTES // template.nbytes)
    baseline = register_baseline(
        straight, n_frames, template, bin_frames=bin_frames, max_shift_px=max_shift_px, open_structural=structural,
        progress=lambda done: progress("register", done),
    )  # fmt: skip
    cells = None
    if rois is None:
        cells = find_cells(
            baseline.movie, um_per_px=um_per_px, progress=lambda done: progress("cells", done),
            first=lambda found: first_rois(found.footprints),
        )  # fmt: skip
        say(f"{cells.summary()}; expected diameter {cells.diameter_px:.1f} px")
    template, local_correlation, quality, masks, photon_gain_counts = _describe_plane(
        baseline, cells, rois or (), heritage, offset_counts, adc_max
    )
    del baseline
    masks = replace(masks, line_phase_px=line_phase_px)
    shift_px = np.zeros((n_frames, 2), np.float32)
    f_roi, f_np, valid = extract_traces(
        open_frames, n_frames, template if structural is None else registration_template, masks,
        max_shift_px=max_shift_px, shift_px_out=shift_px, open_structural=open_structural,
        progress=lambda done: progress("traces", done),
    )  # fmt: skip
    progress("thresholds", 0.0)
    hold = library_entry.default_hold_frames(frame_rate_hz) if hold_frames is None else hold_frames
    masks, overlap = demix_baseline(masks, f_roi, f_np, valid)
    constants = cell_constants(
        masks, f_roi, f_np, valid, frame_rate_hz=frame_rate_hz, indicator=library_entry, hold_frames=hold,
        false_alarms_per_min=false_alarms_per_min, false_event_cost=false_event_cost,
        neuropil_coefficient=neuropil_coefficient,
        photon_gain_counts=photon_gain_counts, progress=lambda done: progress("thresholds", done),
    )  # fmt: skip
    roi_id = np.arange(1, len(masks.roi_start), dtype=np.uint32) if heritage is None else heritage.roi_id
    return Calibration(
        **constants,
        photon_gain_counts=photon_gain_counts,
        plane=plane,
        channel=channel,
        frame_rate_hz=frame_rate_hz,
        n_lines=masks.n_lines,
        pixels_per_line=masks.pixels_per_line,
        line_phase_px=masks.line_phase_px,
        um_per_px=um_per_px if um_per_px is not None else float("nan"),
        indicator=library_entry.name,
        hold_frames=hold,
        n_baseline_frames=n_frames,
        offset_counts=masks.offset_counts,
        adc_max_counts=masks.adc_max_counts,
        false_alarms_per_min=float("nan") if false_alarms_per_min is None else false_alarms_per_min,
        false_event_cost=float("nan") if false_event_cost is None else false_event_cost,
        template=template,
        correlation_image=local_correlation,
        roi_id=roi_id,
        roi_start=masks.roi_start,
        roi_pixels=masks.roi_pixels,
        neuropil_start=masks.neuropil_start,
        neuropil_pixels=masks.neuropil_pixels,
        quality=quality,
        roi_weight=masks.roi_weight,
        background_loading=masks.background_loading,
        reference_roi_counts=masks.reference_roi_counts,
        reference_np_counts=masks.reference_np_counts,
        rest_counts=masks.rest_counts,
        registration_channel=registration_channel if structural is not None else -1,
        registration_template=registration_template,
        baseline_shift_px=shift_px,
        inseparable_roi_id=roi_id[np.array(overlap.inseparable(), np.int64).reshape(-1, 2)],
        condition_number=overlap.condition_number(),
        quality_numbers=cells.quality_numbers if cells and not heritage else np.zeros((0, 5), np.float32),
    )


def search_bin_frames(frame_rate_hz: float, tau_s: float, n_frames: int, max_bins: int) -> int:
    """Frames averaged for the search: about the decay, enough bins for statistics, few enough for memory."""
    to_fit = min(-(-n_frames // max_bins), round(frame_rate_hz * MAX_BIN_S))
    wanted = max(round(frame_rate_hz * min(tau_s, MAX_BIN_S)), to_fit)
    return max(1, min(wanted, n_frames // MIN_BINS))


def _require_counts(frame: NDArray[Any]) -> None:
    if frame.dtype in (np.uint16, np.int16):
        return
    if np.issubdtype(frame.dtype, np.floating) and not np.any(np.isfinite(frame)):
        raise CalibrationError(
            "the frames hold no number: every pixel is NaN", "check how the recording was converted, and do it again"
        )
    raise CalibrationError(
        f"the frames are {frame.dtype}, not counts", "convert them to unsigned or signed 16-bit integers"
    )


def _require_unsaturated(template: NDArray[np.float32], adc_max: int | None) -> None:
    if adc_max is None:
        return
    part = float(np.mean(template >= SATURATED_ADC * adc_max))
    if part > MAX_SATURATED:
        raise CalibrationError(
            f"{100 * part:.0f} % of the field is at the detector's limit of {adc_max} counts",
            "lower laser power or detector gain, then record the baseline again",
        )


def _describe_plane(
    baseline: BaselineMovie,
    cells: FoundCells | None,
    rois: Sequence[RoiMask],
    heritage: Heritage | None,
    offset_counts: float | None,
    adc_max: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], PlaneMasks, float]:
    """Template, local correlation, quality of the cells, all masks, and the counts of a photon (NaN if unknown)."""
    n_lines, pixels_per_line = baseline.template.shape
    if cells is not None:
        footprints, quality, local_correlation = cells.footprints, cells.quality, cells.correlation_image
        if heritage is not None:
            footprints, quality = heritage.adopt(baseline.template, footprints, quality)
        if not footprints:
            raise CalibrationError(
                "no active cell was found",
                "record longer, with activity, check focus and expression, or give the cells with --rois",
            )
    else:
        footprints = [roi.core_pixels(pixels_per_line) for roi in rois]
        quality, local_correlation = np.ones(len(footprints), np.float32), correlation_image(baseline.movie)
    rings = neuropil_rings(footprints, n_lines, pixels_per_line)
    if cells is None:
        weights = [
            roi_weights(roi, footprint, pixels_per_line) for roi, footprint in zip(rois, footprints, strict=True)
        ]
    else:
        of_yesterday = heritage.silent_footprints if heritage is not None else []
        weighted_pixels = [*cells.weighted_pixels, *(pixels for pixels, _ in of_yesterday)]
        weights = [*cells.weights, *(weight for _, weight in of_yesterday)]
        footprints, weights = footprints_to_read(footprints, weighted_pixels, weights, n_lines * pixels_per_line)
    darkest = min(float(baseline.template.ravel()[pixels].mean()) for pixels in [*footprints, *rings] if len(pixels))
    transfer = photon_transfer(baseline.mean, baseline.variance, darkest)
    if offset_counts is None:
        offset_counts = transfer.offset_counts
    masks = PlaneMasks(
        n_lines=n_lines,
        pixels_per_line=pixels_per_line,
        offset_counts=float(offset_counts),
        adc_max_counts=float(adc_max) if adc_max is not None else float("nan"),
        roi_start=_starts(footprints),
        roi_pixels=np.concatenate(footprints).astype(np.uint32),
        roi_weight=np.concatenate(weights),
        neuropil_start=_starts(rings),
        neuropil_pixels=np.concatenate(rings).astype(np.uint32),
    )
    gain_counts = transfer.gain_counts if transfer.gain_counts > 0 else float("nan")
    return baseline.template, local_correlation, quality, masks, gain_counts


def _line_phase_px(open_frames: OpenFrames) -> float:
    """Line phase of the mean of the first frames."""
    frames = open_frames()
    mean, n_frames = None, 0
    for frame in islice(frames, LINE_PHASE_FRAMES):
        mean = frame.astype(np.float64) if mean is None else mean + frame
        n_frames += 1
    close = getattr(frames, "close", None)
    if close is not None:
        close()
    return 0.0 if mean is None else estimate_line_phase(mean / n_frames)[0]


def _starts(masks: list[NDArray[np.uint32]]) -> NDArray[np.int64]:
    starts: NDArray[np.int64] = np.concatenate(([0], np.cumsum([len(mask) for mask in masks]))).astype(np.int64)
    return starts

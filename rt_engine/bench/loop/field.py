"""A planted plane for the loop: frames in which a cell that triggers fires every time, and its calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

from rt_engine.interfaces.calibration import Calibration
from rt_engine.models.detection import frames_before
from rt_engine.models.drive_fit import fit_drive
from rt_engine.models.indicators import Indicator, indicator
from rt_engine.models.stage_run import RunSettings, calibration_of, run_stage
from rt_engine.models.trace_calibration import calibrate_from_priors
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import PlaneMasks

INDICATOR = "jGCaMP8m"
RATE_HZ = 30.0
HOLD_FRAMES = 1
N_TRIGGERING = 30
"""Cells that fire in turn, one a frame: so that (nearly) every frame ends in a command."""
SPIKES_PER_S = 0.1
"""Of all other cells."""
PHOTONS_PER_PX = 6.0
COUNTS_PER_PHOTON, OFFSET_COUNTS, READ_NOISE_COUNTS = 20.0, 100.0, 5.0
ADC_MAX_COUNTS = 65535
MARGIN_PX = 16
SOMA_RADIUS_PX = 5.7
RING_RADII_PX = (8.0, 12.7)
SHIFT_PX = (2.6, 1.9)
NEUROPIL_COEFFICIENT = 0.7
FALSE_ALARMS_PER_MIN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PlantedLoop:
    """Frames and what inference has to know of them.

    Attributes
    ----------
    frames : uint16 ndarray, shape (n_frames, n_lines, pixels_per_line), counts
        A recording without end: the last is followed by the first.
    shift_yx_px : float64 ndarray, shape (n_frames, 2)
        Where the sample is in each of them.
    calibration : Calibration
    """

    frames: NDArray[np.uint16]
    shift_yx_px: NDArray[np.float64]
    calibration: Calibration


def plant_loop(n_cells: int, side_px: int, n_frames: int, seed: int, *, demixed: bool = False) -> PlantedLoop:
    """Draw frames and calibrate on them.

    Parameters
    ----------
    n_cells : int
    side_px : int
        Lines, and pixels of a line.
    n_frames : int
        A multiple of `N_TRIGGERING`.
    seed : int
    demixed : bool
        Cells at random places, of which many overlap and are taken apart; else on a grid.
    """
    rng = np.random.default_rng(seed)
    centres = _places(rng, n_cells, side_px, demixed)
    masks = _masks(centres, side_px, demixed)
    prior = indicator(INDICATOR)
    spikes = _spikes(rng, n_frames, n_cells)
    frames, shifts, rest = _draw(rng, centres, side_px, _calcium(spikes, prior))
    template = (COUNTS_PER_PHOTON * rest + OFFSET_COUNTS).astype(np.float32)
    return PlantedLoop(frames, shifts, _calibrate(frames, shifts, masks, template, prior))


def _places(rng: np.random.Generator, n_cells: int, side_px: int, demixed: bool) -> NDArray[np.int64]:
    low, high = MARGIN_PX, side_px - MARGIN_PX
    if demixed:
        return rng.integers(low, high, (n_cells, 2))
    per_side = int(np.ceil(np.sqrt(n_cells)))
    step = np.linspace(low, high - 1, per_side)
    grid = np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1).reshape(-1, 2)
    chosen = np.sort(rng.permutation(len(grid))[:n_cells])
    moved = grid[chosen] + rng.integers(-1, 2, (n_cells, 2))
    return np.rint(moved).clip(low, high - 1).astype(np.int64)


def _disc(inner_px: float, outer_px: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    y, x = np.indices((27, 27)) - 13
    distance = np.hypot(y, x)
    inside = (distance >= inner_px) & (distance < outer_px)
    return y[inside], x[inside]


def _masks(centres: NDArray[np.int64], side_px: int, demixed: bool) -> PlaneMasks:
    n = len(centres)
    soma, ring = _disc(0.0, SOMA_RADIUS_PX), _disc(*RING_RADII_PX)
    loading = np.column_stack([np.ones(n), (centres[:, 0] - centres[:, 0].mean()) / side_px])
    n_demixed = n if demixed else 0
    level = COUNTS_PER_PHOTON * PHOTONS_PER_PX
    return PlaneMasks(
        n_lines=side_px,
        pixels_per_line=side_px,
        offset_counts=OFFSET_COUNTS,
        adc_max_counts=float(ADC_MAX_COUNTS),
        roi_start=np.arange(n + 1, dtype=np.int64) * len(soma[0]),
        roi_pixels=_flat(centres, soma, side_px),
        neuropil_start=np.arange(n + 1, dtype=np.int64) * len(ring[0]),
        neuropil_pixels=_flat(centres, ring, side_px),
        background_loading=loading[:n_demixed].astype(np.float32),
        reference_roi_counts=np.full(n_demixed, level, np.float32),
        reference_np_counts=np.full(n_demixed, level / 3, np.float32),
        rest_counts=np.full(n_demixed, level / 2, np.float32),
    )


def _flat(
    centres: NDArray[np.int64], shape: tuple[NDArray[np.int64], NDArray[np.int64]], side_px: int
) -> NDArray[np.uint32]:
    y, x = shape
    pixels = (centres[:, :1] + y) * side_px + centres[:, 1:] + x
    return np.ascontiguousarray(pixels.ravel().astype(np.uint32))


def _spikes(rng: np.random.Generator, n_frames: int, n_cells: int) -> NDArray[np.bool_]:
    spikes = rng.random((n_frames, n_cells)) < SPIKES_PER_S / RATE_HZ
    in_turn = np.arange(min(N_TRIGGERING, n_cells))
    spikes[:, in_turn] = np.arange(n_frames)[:, None] % N_TRIGGERING == in_turn
    return spikes


def _calcium(spikes: NDArray[np.bool_], prior: Indicator) -> NDArray[np.float32]:
    """dF/F of every cell in a recording without end."""
    decay, rise = (np.exp(-1.0 / (tau_s * RATE_HZ)) for tau_s in (prior.tau_s, prior.tau_rise_s))
    n_frames = len(spikes)
    t = np.arange(n_frames)
    response = decay ** (t + 1) - rise ** (t + 1)
    response *= prior.amplitude_dff / response.max()
    spectrum = np.fft.rfft(spikes, axis=0) * np.fft.rfft(response)[:, None]
    return np.fft.irfft(spectrum, n_frames, axis=0).astype(np.float32)


def _draw(
    rng: np.random.Generator, centres: NDArray[np.int64], side_px: int, dff: NDArray[np.float32]
) -> tuple[NDArray[np.uint16], NDArray[np.float64], NDArray[np.float64]]:
    """Frames in counts, the shift of each, and the sample at rest in photons."""
    canvas = side_px + 2 * MARGIN_PX
    y, x = _disc(0.0, SOMA_RADIUS_PX)
    pixels = (centres[:, :1] + MARGIN_PX + y) * canvas + centres[:, 1:] + MARGIN_PX + x
    level = PHOTONS_PER_PX * rng.lognormal(0.0, 0.2, len(centres))
    values = np.repeat(level, len(y)).astype(np.float32)
    start = np.arange(len(centres) + 1) * len(y)
    cells = csr_array((values, pixels.ravel(), start), shape=(len(centres), canvas * canvas))
    haze = 0.2 * PHOTONS_PER_PX * np.exp(0.3 * gaussian_filter(rng.standard_normal((canvas, canvas)), 6.0) * 20)
    n_frames = len(dff)
    turn = 2 * np.pi * np.arange(n_frames) / n_frames
    shifts = np.column_stack([SHIFT_PX[0] * np.sin(3 * turn), SHIFT_PX[1] * np.sin(5 * turn + 0.4)])
    frames = np.empty((n_frames, side_px, side_px), np.uint16)
    for frame, values_of_frame, shift in zip(frames, dff, shifts, strict=True):
        image = haze + (cells.T @ (1.0 + values_of_frame)).reshape(canvas, canvas)
        photons = rng.poisson(np.maximum(_moved(image, shift, side_px), 0.0))
        counts = COUNTS_PER_PHOTON * photons + rng.normal(OFFSET_COUNTS, READ_NOISE_COUNTS, photons.shape)
        np.copyto(frame, np.rint(counts).clip(0, ADC_MAX_COUNTS), casting="unsafe")
    rest = haze + (cells.T @ np.ones(len(centres), np.float32)).reshape(canvas, canvas)
    return frames, shifts, _moved(rest, np.zeros(2), side_px)


def _moved(image: NDArray[np.float64], shift: NDArray[np.float64], side_px: int) -> NDArray[np.float64]:
    """The field of view when the sample has moved by `shift`, bilinear."""
    whole = np.floor(-shift).astype(int)
    part_y, part_x = -shift - whole
    rows, columns = (slice(MARGIN_PX + int(n), MARGIN_PX + int(n) + side_px + 1) for n in whole)
    window = image[rows, columns]
    lines = (1 - part_y) * window[:-1] + part_y * window[1:]
    return np.asarray((1 - part_x) * lines[:, :-1] + part_x * lines[:, 1:])


def _calibrate(
    frames: NDArray[np.uint16],
    shifts: NDArray[np.float64],
    masks: PlaneMasks,
    template: NDArray[np.float32],
    prior: Indicator,
) -> Calibration:
    extraction = RoiExtraction(masks)
    n = len(masks.roi_start) - 1
    f_roi, f_np = (np.empty((len(frames), n), np.float32) for _ in range(2))
    good = np.ones((len(frames), n), np.bool_)
    for t, (frame, (shift_y_px, shift_x_px)) in enumerate(zip(frames, shifts, strict=True)):
        extraction.process(frame, float(shift_y_px), float(shift_x_px))
        f_roi[t], f_np[t] = extraction.f_roi, extraction.f_np
    settings = RunSettings(RATE_HZ, prior, HOLD_FRAMES, frames_before(prior.tau_s, RATE_HZ), FALSE_ALARMS_PER_MIN)
    traces = calibrate_from_priors(
        f_roi,
        f_np,
        good.astype(np.uint8),
        frame_rate_hz=RATE_HZ,
        indicator=prior,
        hold_frames=HOLD_FRAMES,
        false_alarms_per_min=FALSE_ALARMS_PER_MIN,
        neuropil_coefficient=NEUROPIL_COEFFICIENT,
    )
    dff = run_stage(traces, f_roi, f_np, good, settings).dff
    drive = fit_drive(
        dff,
        good & np.isfinite(dff),
        frame_rate_hz=RATE_HZ,
        prior=prior,
        hold_frames=HOLD_FRAMES,
        false_alarms_per_min=FALSE_ALARMS_PER_MIN,
    ).constants
    fields: dict[str, Any] = {name: getattr(masks, name) for name in PlaneMasks.__dataclass_fields__}
    fields |= {"template": template, "correlation_image": template, "drive": drive}
    return replace(calibration_of(traces, settings, len(frames)), **fields)

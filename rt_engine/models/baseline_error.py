"""How the baseline moved over a recording, and how wrong it may be at its end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rt_engine.models.stage_run import StageRun, TraceCalibration
from rt_engine.pipeline.trace_parameters import BASELINE_MEMORY_S, BASELINE_QUANTILE

FloatArray = NDArray[np.float64]

BLOCK_S = 10.0  # of the baseline over time
N_BLOCKS = 6  # at least, of a short recording
LOW_QUANTILE, LOWEST_QUANTILE = BASELINE_QUANTILE, 0.02
LOWEST_DENSITY = 0.0484  # of a standard normal at the lowest quantile
MIN_QUIET_FRAMES = 20


class BaselinePath(NamedTuple):
    """Of every cell, shape (n_rois,): relative slope a minute, relative change from start to end, error of the baseline
    that activity makes (counts), scatter of a block's baseline about the line (counts).
    """

    slope_per_min: FloatArray
    change: FloatArray
    lift_counts: FloatArray
    scatter_counts: FloatArray


def _noise_quantile(q: float, sigma_dff: float) -> float:
    """Quantile of photon noise, in standard deviations: normal, shifted by the skewness sigma (Cornish-Fisher)."""
    x = float(ndtri(q))
    return x + sigma_dff * (x * x - 1) / 6


def f0_at_start(
    traces: TraceCalibration,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    frame_rate_hz: float,
) -> NDArray[np.float32]:
    """Baseline of the first seconds, from the lower quarter of the samples; that of the calibration without samples.

    Parameters
    ----------
    traces : TraceCalibration
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts, read
    good : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float

    Returns
    -------
    float32 ndarray, shape (n_rois,), counts
    """
    n_first = max(100, round(BLOCK_S * frame_rate_hz))
    f_c = f_roi - traces.neuropil_coefficient * (f_np - traces.neuropil_median_counts)
    out = traces.f0_counts.astype(np.float64)
    for n in range(len(out)):
        some = f_c[:n_first, n][good[:n_first, n]]
        if len(some) >= MIN_QUIET_FRAMES:
            out[n] = max(np.quantile(some, 0.25) - ndtri(0.25) * traces.sigma_dff[n] * out[n], 0.1 * out[n])
    return out.astype(np.float32)


def baseline_path(
    traces: TraceCalibration, run: StageRun, quiet: NDArray[np.bool_], frame_rate_hz: float
) -> BaselinePath:
    """Baseline over time, from low quantiles of quiet frames in blocks.

    Parameters
    ----------
    traces : TraceCalibration
    run : StageRun
        Of the recording that the calibration was made from.
    quiet : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float
    """
    n_frames, n_rois = run.dff.shape
    n_blocks = max(N_BLOCKS, int(n_frames / frame_rate_hz / BLOCK_S))
    edges = np.linspace(0, n_frames, n_blocks + 1).astype(np.int64)
    minutes = (edges[:-1] + edges[1:]) / 2 / frame_rate_hz / 60
    whole_min = n_frames / frame_rate_hz / 60
    out = np.zeros((4, n_rois))
    f_c = (run.dff + 1) * run.f0
    n_last = min(n_frames, round(2 * BASELINE_MEMORY_S * frame_rate_hz))
    for n in range(n_rois):
        sigma = float(traces.sigma_dff[n])
        counts = sigma * float(traces.f0_counts[n])
        level = np.full(n_blocks, np.nan)
        for b in range(n_blocks):
            at = slice(edges[b], edges[b + 1])
            some = f_c[at, n][quiet[at, n]]
            if len(some) >= MIN_QUIET_FRAMES:
                level[b] = np.quantile(some, LOW_QUANTILE) - counts * _noise_quantile(LOW_QUANTILE, sigma)
        known = np.isfinite(level)
        if known.sum() >= 3:
            slope, first = np.polyfit(minutes[known], level[known], 1)
            out[0, n] = slope / max(first + slope * whole_min / 2, 1e-9)
            out[1, n] = slope * whole_min / max(first, 1e-9)
            out[3, n] = np.std(level[known] - first - slope * minutes[known], ddof=2)
        last = slice(n_frames - n_last, n_frames)
        flat = run.dff[last, n][quiet[last, n]]
        if len(flat) >= MIN_QUIET_FRAMES:
            lowest = float(np.quantile(flat, LOWEST_QUANTILE)) - sigma * _noise_quantile(LOWEST_QUANTILE, sigma)
            chance = LOWEST_QUANTILE / len(flat) * (sigma / LOWEST_DENSITY) ** 2
            out[2, n] = traces.f0_counts[n] * np.sqrt(max(lowest**2 - chance, 0.0))
    return BaselinePath(*out)


def f0_error(
    traces: TraceCalibration,
    path: BaselinePath,
    noise_error: FloatArray,
    good: NDArray[np.bool_],
    frame_rate_hz: float,
) -> FloatArray:
    """Standard error of the baseline: chance, the noise it is corrected for, activity, and its lag on drift.

    Parameters
    ----------
    traces : TraceCalibration
    path : BaselinePath
    noise_error : float64 ndarray, shape (n_rois,)
        Relative standard error of the noise.
    good : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float

    Returns
    -------
    float64 ndarray, shape (n_rois,), counts
    """
    counts = traces.sigma_dff.astype(np.float64) * traces.f0_counts
    memory = np.minimum(BASELINE_MEMORY_S * frame_rate_hz, np.maximum(good.sum(axis=0), 1))
    q, x = BASELINE_QUANTILE, float(ndtri(BASELINE_QUANTILE))
    density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    tracker = np.sqrt(q * (1 - q) / (2 * memory)) / density * counts
    scatter = path.scatter_counts / np.sqrt(2 * memory / frame_rate_hz / BLOCK_S)
    memory_min, whole_min = BASELINE_MEMORY_S / 60, len(good) / frame_rate_hz / 60
    lag = path.slope_per_min * traces.f0_counts * memory_min * -np.expm1(-whole_min / memory_min)
    systematic = np.maximum(path.lift_counts, np.abs(lag))  # what lags behind drift is lifted by it, too
    parts = np.maximum(tracker, scatter), x * noise_error * counts, systematic
    return np.asarray(np.sqrt(sum(part**2 for part in parts)))

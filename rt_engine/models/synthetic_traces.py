"""Synthetic traces with their spikes, drawn from the ranges of a file; for training and tests."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from rt_engine.models.forward import CalciumPopulation, response
from rt_engine.models.indicator_physics import IndicatorPhysics
from rt_engine.models.indicators import Indicator, indicator, indicator_names
from rt_engine.models.randomisation import Randomisation, RecordingRanges, SpikeRanges

FloatArray = NDArray[np.float64]

USUAL_RATE_HZ = 30.0  # of every other block
N_PER_FRAME = 3  # times within a frame at which the scanned light is averaged
_MODULATION_STEP_S = 0.05


class SyntheticTraces(NamedTuple):
    """``traces`` : float32 ndarray, shape (n_rois, n_frames), dF/F, NaN where a sample is lost; ``counts`` : uint8
    ndarray of that shape, spikes in each frame; ``frame_rate_hz``; ``indicator`` : of the library, which the cells
    differ from.
    """

    traces: NDArray[np.float32]
    counts: NDArray[np.uint8]
    frame_rate_hz: float
    indicator: Indicator


def synthetic_traces(
    ranges: Randomisation, seed: tuple[int, ...], n_rois: int = 24, duration_s: float = 90.0
) -> SyntheticTraces:
    """Draw a block of cells that share microscope and indicator.

    Parameters
    ----------
    ranges : Randomisation
    seed : tuple of int
        The same gives the same traces; odd last numbers give 30 Hz.
    n_rois : int
    duration_s : float
    """
    rng = np.random.default_rng(seed)
    names = indicator_names()
    library = indicator(names[rng.integers(len(names))])
    rate_hz = USUAL_RATE_HZ if seed[-1] % 2 else float(ranges.recording.frame_rate_hz.draw(rng))
    physics = _physics(library.physics, ranges, rng)
    n_frames = int(duration_s * rate_hz)
    spikes_s = [_spikes(ranges.spikes, duration_s, rng) for _ in range(n_rois)]
    dff = _calcium(physics, spikes_s, n_frames, rate_hz, averages=rng.random() < 0.6)
    # Half of the blocks keep the size that the physics gives, half the library's: amplitudes and kinetics both vary.
    peak = response(physics, np.zeros(1), 1.5).max()
    size = library.amplitude_dff / peak if rng.random() < 0.5 else 1.0
    dff *= size * ranges.indicator.amplitude.draw(rng, n_rois)
    traces = _record(ranges.recording, dff, rate_hz, rng)
    edges = np.arange(n_frames + 1) / rate_hz
    counts = np.stack([np.histogram(s, edges)[0] for s in spikes_s]).clip(max=255).astype(np.uint8)
    return SyntheticTraces(np.ascontiguousarray(traces.T, np.float32), counts, rate_hz, library)


def _physics(library: IndicatorPhysics, ranges: Randomisation, rng: np.random.Generator) -> IndicatorPhysics:
    of = ranges.indicator
    return replace(
        library,
        rest_calcium_nm=library.rest_calcium_nm * float(of.rest_calcium.draw(rng)),
        tau_calcium_s=library.tau_calcium_s * float(of.tau_calcium.draw(rng)),
        k_d_nm=library.k_d_nm * float(of.k_d.draw(rng)),
        hill=max(1.0, library.hill + float(of.hill.draw(rng))),
        tau_on_s=library.tau_on_s * float(of.tau_on.draw(rng)),
        tau_off_s=library.tau_off_s * float(of.tau_off.draw(rng)),
    )


def _spikes(ranges: SpikeRanges, duration_s: float, rng: np.random.Generator) -> FloatArray:
    """Times of one cell: events at a slowly changing rate, some of them bursts."""
    step_s = _MODULATION_STEP_S
    n_steps = int(duration_s / step_s) + 1
    keep = np.exp(-step_s / float(ranges.modulation_s.draw(rng)))
    depth = float(ranges.modulation_depth.draw(rng))
    slow = lfilter([1.0], [1.0, -keep], rng.standard_normal(n_steps) * np.sqrt(1 - keep**2))
    bursts, largest = float(ranges.burst_fraction.draw(rng)), int(ranges.burst_spikes.draw(rng))
    isi_s = float(ranges.burst_isi_s.draw(rng))
    per_event = 1 - bursts + bursts * (2 + largest) / 2
    rate = float(ranges.rate_hz.draw(rng)) / per_event * np.exp(depth * slow - depth**2 / 2)
    n_events = rng.poisson(np.minimum(rate, 100.0) * step_s)
    start = (np.repeat(np.arange(n_steps), n_events) + rng.random(n_events.sum())) * step_s
    n_spikes = np.where(rng.random(len(start)) < bursts, rng.integers(2, largest + 1, len(start)), 1)
    trains = [
        t + np.concatenate([[0.0], np.cumsum(rng.gamma(4, isi_s / 4, k - 1))])
        for t, k in zip(start, n_spikes, strict=True)
    ]
    spikes = np.sort(np.concatenate(trains)) if trains else np.zeros(0)
    return np.asarray(spikes[spikes < duration_s])


def _calcium(
    physics: IndicatorPhysics, spikes_s: list[FloatArray], n_frames: int, rate_hz: float, *, averages: bool
) -> FloatArray:
    """dF/F of the forward model, shape (n_frames, n_rois): mean over the frame, or at its end."""
    step_s, n_rois = 1 / (rate_hz * N_PER_FRAME), len(spikes_s)
    n_steps = n_frames * N_PER_FRAME
    cell = np.repeat(np.arange(n_rois), [len(s) for s in spikes_s])
    times = np.concatenate(spikes_s)
    step = np.minimum((times / step_s).astype(np.int64), n_steps)
    order = np.lexsort((times, cell, step))
    inside = np.clip(times - step * step_s, 0.0, np.nextafter(step_s, 0))[order]
    each = np.zeros((n_steps + 1, n_rois), np.int64)
    np.add.at(each, (step, cell), 1)
    first = np.concatenate([[0], np.cumsum(each.sum(axis=1))])
    starts = np.concatenate([np.zeros((n_steps + 1, 1), np.int64), np.cumsum(each, axis=1)], axis=1)
    population = CalciumPopulation(physics, n_rois, step_s)
    out = np.zeros((n_frames, N_PER_FRAME, n_rois))
    for k in range(n_steps):
        population.advance(starts[k], inside[first[k] : first[k + 1]])
        out[k // N_PER_FRAME, k % N_PER_FRAME] = population.dff
    return np.asarray(out.mean(axis=1) if averages else out[:, -1])


def _slow(keep: float, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Noise of the first order, of unit variance, along the first axis."""
    return np.asarray(lfilter([np.sqrt(1 - keep**2)], [1.0, -keep], rng.standard_normal(shape), axis=0))


def _record(ranges: RecordingRanges, dff: FloatArray, rate_hz: float, rng: np.random.Generator) -> FloatArray:
    """What the microscope makes of dF/F, shape (n_frames, n_rois)."""
    n_frames, n_rois = dff.shape
    t_s = np.arange(n_frames)[:, None] / rate_hz
    left = 1 - ranges.bleaching.draw(rng, n_rois) * (1 - np.exp(-t_s / ranges.bleaching_s.draw(rng, n_rois)))
    y = (1 + dff) * left / left.mean(axis=0) - 1
    keep = float(np.exp(-1 / (float(ranges.neuropil_s.draw(rng)) * rate_hz)))
    y += ranges.neuropil_dff.draw(rng, n_rois) * _slow(keep, dff.shape, rng)
    y += ranges.drift_dff.draw(rng, n_rois) * _slow(float(np.exp(-1 / (30 * rate_hz))), dff.shape, rng)
    y += _noise(ranges, y, rate_hz, rng)
    _move(ranges, y, rate_hz, rng)
    part = ranges.saturated.draw(rng, n_rois)
    for n in np.flatnonzero(part):
        y[:, n] = np.minimum(y[:, n], np.quantile(y[:, n], 1 - part[n]))
    if rng.random() < 0.5:  # dF/F of whole recordings is often off by a constant
        y -= np.percentile(y, rng.uniform(5, 30), axis=0)
    y[rng.random(y.shape) < ranges.lost_samples.draw(rng, n_rois)] = np.nan
    return np.asarray(y)


def _noise(ranges: RecordingRanges, y: FloatArray, rate_hz: float, rng: np.random.Generator) -> FloatArray:
    """Noise of the standardised level, growing with the light as that of photons does."""
    n_rois = y.shape[1]
    white = rng.standard_normal(y.shape)
    for n, phi in enumerate(ranges.noise_correlation.draw(rng, n_rois)):
        if phi > 0:
            white[:, n] = lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], white[:, n])
    white[rng.random(y.shape) < ranges.heavy_tails.draw(rng, n_rois)] *= 4
    sigma = ranges.noise.draw(rng, n_rois) / 100 * np.sqrt(rate_hz)
    return np.asarray(white * sigma * np.sqrt(np.maximum(1 + y, 0.2)))


def _move(ranges: RecordingRanges, y: FloatArray, rate_hz: float, rng: np.random.Generator) -> None:
    """Steps while the cell is out of place, up to a second."""
    n_frames, n_rois = y.shape
    per_frame, size = ranges.motion_per_s.draw(rng, n_rois) / rate_hz, ranges.motion_dff.draw(rng, n_rois)
    for n in range(n_rois):
        for t in np.flatnonzero(rng.random(n_frames) < per_frame[n]):
            y[t : t + int(rng.integers(1, max(2, int(rate_hz)))), n] += size[n] * rng.standard_normal()

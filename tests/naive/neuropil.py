"""Planted traces: cells in neuropil that may be driven by the same drive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE_HZ = 30.0


def planted(
    seed: int,
    *,
    ring_noise: float,
    correlated: bool,
    r: float = 0.7,
    n_frames: int = 3000,
    n_cells: int = 20,
    amplitude: float = 0.5,
    rate_hz: float = 0.9,
    noise: float = 0.08,
) -> tuple[NDArray, NDArray]:
    """Footprints and rings, shape (n_frames, n_cells): F = 1.5 + calcium + r neuropil + noise.

    The neuropil is an Ornstein-Uhlenbeck process of 1 s and SD 0.25 around 2; spikes are Poisson, their rate
    exponential in the neuropil, or in another such process where the drive is not shared.
    """
    rng = np.random.default_rng(seed)
    keep = np.exp(-1 / RATE_HZ)

    def drive() -> NDArray:
        steps = rng.normal(size=(n_frames + 300, n_cells)) * np.sqrt(1 - keep**2)
        return lfilter([1], [1, -keep], steps, axis=0)[300:]

    shared = drive()
    own = shared if correlated else drive()
    spikes = rng.poisson(rate_hz / RATE_HZ * np.exp(1.1 * own - 1.1**2 / 2))
    calcium = amplitude * lfilter([1], [1, -np.exp(-1 / (RATE_HZ * 0.3))], spikes, axis=0)
    neuropil = 2 + 0.254 * shared
    f_np = neuropil + ring_noise * rng.normal(size=shared.shape)
    f_roi = 1.5 + calcium + r * neuropil + noise * rng.normal(size=shared.shape)
    return f_roi, f_np


def least_squares(f_roi: NDArray, f_np: NDArray) -> NDArray:
    """Slope of a plain regression, cell by cell."""
    return np.array([np.polyfit(x, y, 1)[0] for x, y in zip(f_np.T, f_roi.T, strict=True)])

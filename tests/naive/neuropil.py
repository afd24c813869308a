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


class OneCell:
    """Coefficient of one cell from weighted moments of all frames kept, in the plainest form."""

    def __init__(self, r: float, sigma: float, f0: float, pace: tuple[float, float, float]) -> None:
        self.r, self.sigma, self.f0, self.pace = r, sigma, f0, pace
        self.kept: list[tuple[float, float, float]] = []
        self.mean_x = self.mean_y = None
        self.variance = self.covariance = self.d1 = self.d2 = 0.0
        self.ring: list[float] = []

    def step(self, y: float, x: float, learns: bool) -> float:
        """One frame; the coefficient after it."""
        if not learns:
            self.ring = []
            return self.r
        n = len(self.kept)
        share = max(self.pace[0], 1 / (n + 1))
        if len(self.ring) >= 2:
            self.d1 += share * ((x - self.ring[-1]) ** 2 - self.d1)
            self.d2 += share * ((x - self.ring[-2]) ** 2 - self.d2)
        self.ring.append(x)
        if n == 0:
            self.mean_x, self.mean_y = x, self.f0
        dx, dy = x - self.mean_x, y - self.mean_y
        residual = dy - self.r * dx
        if not -2.7132 * self.sigma <= residual <= 1.2868 * self.sigma:
            if n < 1 / self.pace[0]:
                self.mean_y += 0.05 * np.clip(residual, -self.sigma, self.sigma)
            return self.r
        self.kept.append((x, y, share))
        self.mean_x += share * dx
        self.mean_y += share * dy
        self.variance = (1 - share) * (self.variance + share * dx**2)
        self.covariance = (1 - share) * (self.covariance + share * dx * dy)
        own = self.variance - max(self.d1 - self.d2 / 2, 0)
        if len(self.kept) >= self.pace[1] and own > 0.2 * self.variance:
            wanted = self.r + np.clip(self.covariance / own - self.r, -self.pace[2], self.pace[2])
            highest = self.mean_x + 1.645 * np.sqrt(self.variance)
            limit = 0.95 * (self.f0 - 1.645 * self.sigma) / highest if highest > 0 else wanted
            self.r = float(max(min(wanted, limit), 0.0))
        return self.r

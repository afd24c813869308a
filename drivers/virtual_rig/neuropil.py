"""How the neuropil fluctuates: smooth in space, slow in time, partly driven by the population around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.sample_config import BackgroundConfig

SHARED = 0.5
"""Part of the variance of the neuropil's own fluctuation that the whole field shares."""
LOWEST = -0.9


class Neuropil:
    """Relative modulation on a coarse grid, frame by frame.

    Parameters
    ----------
    config : BackgroundConfig
    scene_shape : (int, int)
        Pixels that the grid must span.
    um_per_px, frame_rate_hz : float
    cell_yx_px : float64 ndarray, shape (n_cells, 2)
        Positions in the scene.
    rate_hz : float64 ndarray, shape (n_cells,)
        Mean spikes per second.
    spikes_per_volley : float
        Mean square over mean number of spikes of an event: how bursts widen the drive.
    rng : numpy.random.Generator
        Used by nobody else.

    Attributes
    ----------
    spacing_px : float
    modulation : float32 ndarray, shape (n_grid_y, n_grid_x)
        Overwritten by `step`; relative change of the light.

    Notes
    -----
    Own part: second-order autoregression with a double root (a smooth process). Driven part: spikes of the cells around
    each node, low-passed with `time_constant_s`, brought to zero mean and the configured SD as if cells were
    independent.
    """

    def __init__(
        self,
        config: BackgroundConfig,
        scene_shape: tuple[int, int],
        um_per_px: float,
        frame_rate_hz: float,
        cell_yx_px: NDArray[np.float64],
        rate_hz: NDArray[np.float64],
        spikes_per_volley: float,
        rng: np.random.Generator,
    ) -> None:
        self._config = config
        self._rng = rng
        self.spacing_px = config.correlation_um / um_per_px
        self._grid = tuple(int(np.ceil(n / self.spacing_px)) + 2 for n in scene_shape)
        self.modulation = np.zeros(self._grid, dtype=np.float32)
        root = float(np.exp(-2 / (frame_rate_hz * config.time_constant_s)))
        self._root = root
        self._noise_sd = ((1 - root**2) ** 3 / (1 + root**2)) ** 0.5
        lag_one = 2 * root / (1 + root**2)
        self._last = self._correlated_noise()
        self._now = lag_one * self._last + (1 - lag_one**2) ** 0.5 * self._correlated_noise()
        keep = float(np.exp(-1 / (frame_rate_hz * config.time_constant_s)))
        self._keep = keep
        node = np.stack(np.meshgrid(*(np.arange(n) for n in self._grid), indexing="ij"), axis=-1) * self.spacing_px
        square = np.sum((node[:, :, None, :] - cell_yx_px) ** 2, axis=-1)
        weight = np.exp(-square / (2 * self.spacing_px**2))
        mean_count = rate_hz / frame_rate_hz / (1 - keep)
        variance = rate_hz / frame_rate_hz / (1 - keep**2) * spikes_per_volley
        spread = np.sqrt(weight**2 @ variance)
        self._weight = weight / np.maximum(spread, 1e-12)[..., None] * (spread > 0)[..., None]
        self._mean_drive = self._weight @ mean_count
        self._drive = self._mean_drive.copy()

    def step(self, spike_cell: NDArray[np.int64]) -> None:
        """Advance one frame; `spike_cell` are the cells that fired in it, one entry a spike."""
        config = self._config
        new = 2 * self._root * self._now - self._root**2 * self._last + self._noise_sd * self._correlated_noise()
        self._last, self._now = self._now, new
        self._drive *= self._keep
        for cell in spike_cell:
            self._drive += self._weight[:, :, cell]
        total = config.fluctuation * self._now + config.population_drive * (self._drive - self._mean_drive)
        np.maximum(total, LOWEST, out=self.modulation, casting="same_kind")

    def _correlated_noise(self) -> NDArray[np.float64]:
        shared = self._rng.standard_normal()
        own = self._rng.standard_normal(self._grid)
        return np.asarray(SHARED**0.5 * shared + (1 - SHARED) ** 0.5 * own)

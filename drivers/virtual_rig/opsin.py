"""How the virtual cells answer light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.sample_config import OpsinConfig


class Opsin:
    """Threshold of every cell, and the spikes that a pulse evokes.

    Parameters
    ----------
    config : OpsinConfig
    cell_yx_px : float64 ndarray, shape (n_cells, 2), template coordinates, read
    um_per_px : float
    seed : tuple of int
        Entropy; the answer to the n-th pulse depends on it, on n and on the light alone.

    Attributes
    ----------
    p50_mw : float64 ndarray, shape (n_cells,)
    """

    def __init__(
        self, config: OpsinConfig, cell_yx_px: NDArray[np.float64], um_per_px: float, seed: tuple[int, ...]
    ) -> None:
        self._config = config
        self._cell_yx_px = cell_yx_px
        self._um_per_px = um_per_px
        self._seed = seed
        self._n_pulses = 0
        rng = np.random.default_rng((*seed, 0))
        self.p50_mw = config.median_p50_mw * np.exp(config.log_sd_p50 * rng.standard_normal(len(cell_yx_px)))

    def received_mw(
        self, power_mw: NDArray[np.float64], targets_yx_px: NDArray[np.float64], shift_yx_px: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Power that each cell receives.

        Parameters
        ----------
        power_mw : float64 ndarray, shape (n_targets,), read
        targets_yx_px : float64 ndarray, shape (n_targets, 2), read
            Where the optics aim, in the template.
        shift_yx_px : float64 ndarray, shape (2,), read
            Where the sample has moved to: a displaced cell is missed by as much.
        """
        offset = self._cell_yx_px[:, None, :] + shift_yx_px - targets_yx_px[None, :, :]
        square_um2 = np.sum(offset**2, axis=-1) * self._um_per_px**2
        config = self._config
        focused = np.exp(-4 * np.log(2) * square_um2 / config.lateral_fwhm_um**2)
        scattered = np.exp(-4 * np.log(2) * square_um2 / config.scatter_fwhm_um**2)
        spread = (1 - config.scatter_fraction) * focused + config.scatter_fraction * scattered
        return np.asarray(spread @ power_mw)

    def imaged(self, frame: int, period_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Spikes that the imaging beam evokes while it scans one frame, at `imaging_rate_hz` in every cell.

        Returns
        -------
        since_s : float64 ndarray
            From the beginning of the frame.
        cell : int64 ndarray, same shape
        """
        n_cells = len(self.p50_mw)
        rng = np.random.default_rng((*self._seed, 2, frame))
        counts = rng.poisson(self._config.imaging_rate_hz * period_s, n_cells)
        return rng.random(int(counts.sum())) * period_s, np.repeat(np.arange(n_cells), counts)

    def spike_probability(self, received_mw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of a spike, shape (n_cells,).

        Notes
        -----
        Logistic in power around `p50_mw` with slope `slope_mw`, minus its value in the dark and scaled to reach 1, so
        that no light evokes nothing (at P50 = 4 mW and slope 1 mW this lowers the curve by at most 0.018).
        """
        slope = self._config.slope_mw
        dark = 1 / (1 + np.exp(self.p50_mw / slope))
        lit = 1 / (1 + np.exp((self.p50_mw - received_mw) / slope))
        return np.asarray((lit - dark) / (1 - dark))

    def answer(self, width_s: float, received_mw: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Spikes that one pulse evokes.

        Returns
        -------
        latency_s : float64 ndarray
            From the beginning of the pulse, at least a tenth of the mean latency.
        cell : int64 ndarray, same shape
        """
        self._n_pulses += 1
        config = self._config
        rng = np.random.default_rng((*self._seed, 1, self._n_pulses))
        coin = rng.random(len(self.p50_mw))
        latency_ms = config.latency_ms + config.latency_sd_ms * rng.standard_normal(len(self.p50_mw))
        if width_s * 1000 < config.min_width_ms:
            return np.zeros(0), np.zeros(0, dtype=np.int64)
        cell = np.flatnonzero(coin < self.spike_probability(received_mw))
        return np.maximum(latency_ms[cell], 0.1 * config.latency_ms) / 1000, cell

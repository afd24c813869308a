"""An opsin that silences: for some time after light a cell's own spikes are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Silencing:
    """Which of the cells' own spikes light takes away.

    Parameters
    ----------
    silences_s : float
        How long a cell that light has reached is silent.
    """

    def __init__(self, silences_s: float) -> None:
        self._silences_s = silences_s
        self._begin_s: NDArray[np.float64] = np.zeros(0)
        self._cell: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, begin_s: NDArray[np.float64], cell: NDArray[np.int64]) -> None:
        """Light has reached some cells.

        Parameters
        ----------
        begin_s : float64 ndarray, shape (n,), read
            Sample time from which on each is silent.
        cell : int64 ndarray, shape (n,), read
        """
        self._begin_s = np.concatenate([self._begin_s, begin_s])
        self._cell = np.concatenate([self._cell, cell])

    def spared(self, spike_s: NDArray[np.float64], cell: NDArray[np.int64], end_s: float) -> NDArray[np.bool_]:
        """Which spikes remain; what is over by `end_s` is forgotten.

        Parameters
        ----------
        spike_s : float64 ndarray, shape (n_spikes,), read
        cell : int64 ndarray, shape (n_spikes,), read
        end_s : float
            No earlier spike will be asked about.

        Returns
        -------
        bool ndarray, shape (n_spikes,)
        """
        if len(self._cell) == 0:
            return np.ones(len(spike_s), bool)
        since_s = spike_s[:, None] - self._begin_s[None, :]
        lost = (cell[:, None] == self._cell[None, :]) & (since_s >= 0) & (since_s < self._silences_s)
        lasting = self._begin_s + self._silences_s > end_s
        self._begin_s, self._cell = self._begin_s[lasting], self._cell[lasting]
        return np.asarray(~lost.any(axis=1))

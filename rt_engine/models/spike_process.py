"""Spontaneous spikes: Poisson events, some of them bursts, some shared by groups of cells. Seeded, streaming."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 8.0
"""Spikes are drawn in blocks of this length; a burst may reach into the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeStatistics:
    """How the population fires.

    Attributes
    ----------
    min_rate_hz, max_rate_hz : float
        Mean spikes per second, log-uniform over cells.
    burst_fraction : float
        Part of the events that are bursts; the others are single spikes.
    burst_spikes : (int, int)
        Smallest and largest number of spikes of a burst, uniform.
    burst_isi_s : (float, float)
        Smallest and largest interval within a burst, uniform.
    n_groups, group_size : int
        Groups of cells that share events; a cell is in one group at most.
    shared_fraction : float
        Largest part of a member's events that are its group's.
    group_jitter_s : float
        SD of a member's time around the group's event.
    """

    min_rate_hz: float
    max_rate_hz: float
    burst_fraction: float
    burst_spikes: tuple[int, int]
    burst_isi_s: tuple[float, float]
    n_groups: int
    group_size: int
    shared_fraction: float
    group_jitter_s: float

    @property
    def spikes_per_event(self) -> float:
        """Mean number of spikes of an event."""
        return 1 - self.burst_fraction + self.burst_fraction * sum(self.burst_spikes) / 2


class SpikeProcess:
    """Spike trains of a population; the same seed gives the same spikes, however they are asked for.

    Parameters
    ----------
    statistics : SpikeStatistics
    n_cells : int
    seed : tuple of int
        Entropy of the generators; other processes must use another.

    Attributes
    ----------
    rate_hz : float64 ndarray, shape (n_cells,)
        Mean spikes per second of each cell, single and shared events together.
    group : int64 ndarray, shape (n_cells,)
        Group of each cell, -1 for none.
    """

    def __init__(self, statistics: SpikeStatistics, n_cells: int, seed: tuple[int, ...]) -> None:
        self.statistics = statistics
        self.n_cells = n_cells
        self._seed = seed
        rng = np.random.default_rng((*seed, 0))
        low, high = np.log([statistics.min_rate_hz, statistics.max_rate_hz])
        self.rate_hz = np.exp(rng.uniform(low, high, n_cells))
        self.group = np.full(n_cells, -1, dtype=np.int64)
        n_groups = min(statistics.n_groups, n_cells // statistics.group_size)
        members = rng.permutation(n_cells)[: n_groups * statistics.group_size]
        self.group[members] = np.repeat(np.arange(n_groups), statistics.group_size)
        event_rate_hz = self.rate_hz / statistics.spikes_per_event
        shared_hz = np.where(self.group >= 0, statistics.shared_fraction * event_rate_hz, 0.0)
        self._group_rate_hz = np.zeros(n_groups)
        np.maximum.at(self._group_rate_hz, self.group[members], shared_hz[members])
        self._joins = np.zeros(n_cells)
        if statistics.shared_fraction > 0:
            self._joins[members] = shared_hz[members] / self._group_rate_hz[self.group[members]]
        self._own_rate_hz = event_rate_hz - shared_hz
        self._block = 0
        self._t_s: NDArray[np.float64] = np.zeros(0)
        self._cell: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def take_until(self, t_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Spikes before `t_s` that have not been taken yet.

        Parameters
        ----------
        t_s : float
            Seconds since the beginning; must not decrease from call to call.

        Returns
        -------
        times_s : float64 ndarray, ascending
        cells : int64 ndarray, same shape
        """
        while (self._block - 1) * BLOCK_S < t_s:
            self._draw_block()
        n = int(np.searchsorted(self._t_s, t_s))
        taken = self._t_s[:n], self._cell[:n]
        self._t_s, self._cell = self._t_s[n:], self._cell[n:]
        return taken

    def _draw_block(self) -> None:
        """Append one block; the jitter of shared events may move a spike into the block before, hence the lead."""
        rng = np.random.default_rng((*self._seed, 1, self._block))
        start_s = self._block * BLOCK_S
        own = np.repeat(np.arange(self.n_cells), rng.poisson(self._own_rate_hz * BLOCK_S))
        own_s = start_s + rng.random(len(own)) * BLOCK_S
        shared_s, shared = self._shared_events(rng, start_s)
        event_s = np.concatenate([own_s, shared_s])
        event_cell = np.concatenate([own, shared])
        spike_s, spike_cell = self._expand_bursts(rng, event_s, event_cell)
        first_s = max(0.0, start_s - BLOCK_S)
        np.maximum(spike_s, first_s, out=spike_s)
        times = np.concatenate([self._t_s, spike_s])
        order = np.argsort(times, kind="stable")
        self._t_s = times[order]
        self._cell = np.concatenate([self._cell, spike_cell])[order]
        self._block += 1

    def _shared_events(self, rng: np.random.Generator, start_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        times: list[NDArray[np.float64]] = [np.zeros(0)]
        cells: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        for group, rate_hz in enumerate(self._group_rate_hz):
            members = np.flatnonzero(self.group == group)
            for t_s in start_s + rng.random(rng.poisson(rate_hz * BLOCK_S)) * BLOCK_S:
                here = members[rng.random(len(members)) < self._joins[members]]
                cells.append(here)
                times.append(t_s + self.statistics.group_jitter_s * rng.standard_normal(len(here)))
        return np.concatenate(times), np.concatenate(cells)

    def _expand_bursts(
        self, rng: np.random.Generator, event_s: NDArray[np.float64], event_cell: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        law = self.statistics
        is_burst = rng.random(len(event_s)) < law.burst_fraction
        n_spikes = np.where(is_burst, rng.integers(law.burst_spikes[0], law.burst_spikes[1] + 1, len(event_s)), 1)
        first = np.cumsum(n_spikes) - n_spikes
        interval_s = rng.uniform(*law.burst_isi_s, int(n_spikes.sum()))
        elapsed_s = np.cumsum(interval_s) if len(interval_s) else interval_s
        since_first_s = elapsed_s - np.repeat(elapsed_s[first], n_spikes) if len(event_s) else elapsed_s
        return np.repeat(event_s, n_spikes) + since_first_s, np.repeat(event_cell, n_spikes)

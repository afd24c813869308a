"""Events of one message, counted for every group that somebody listens to, in a few array operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.running.tick import Tick


class EventChannels:
    """One channel for each group and threshold. Add channels first, then `freeze`.

    Parameters
    ----------
    n_rois : int

    Attributes
    ----------
    counts : list of int
        Events in the newest message, by channel.
    counted : int64 ndarray, shape (n_channels,)
        The same as an array; as of the newest message that had events.
    any : bool
        True if the newest message had events at all.
    """

    def __init__(self, n_rois: int) -> None:
        self._n_rois = n_rois
        self._keys: dict[tuple[tuple[int, ...], float, float], int] = {}
        self.counts: list[int] = []
        self.any = False

    def add(self, rows: tuple[int, ...], min_probability: float = 0.0, min_spikes: float = 0.0) -> int:
        """Channel of the events of the cells in `rows` that reach both thresholds; the same one if there is one."""
        return self._keys.setdefault((rows, min_probability, min_spikes), len(self._keys))

    def freeze(self) -> None:
        """Make the arrays; no channel can be added any more."""
        n = len(self._keys)
        self._member = np.zeros((n, self._n_rois + 1), bool)
        for index, (rows, _, _) in enumerate(self._keys):
            self._member[index, list(rows)] = True
        self._min_probability = np.array([key[1] for key in self._keys], np.float32).reshape(n, 1)
        self._min_spikes = np.array([key[2] for key in self._keys], np.float32).reshape(n, 1)
        self._has_spikes_bound = bool(np.any(self._min_spikes > 0))
        self._none = [0] * n
        self.counted = np.zeros(n, np.int64)
        self.counts = self._none
        self._hits: NDArray[np.bool_] = np.zeros((n, 0), bool)

    def update(self, tick: Tick) -> None:
        """Count the events of a message. An event without a probability reaches no threshold, not even 0."""
        if len(tick.rows) == 0 or not self._none:
            self.counts, self.any = self._none, False
            return
        hits = self._member.take(tick.rows, axis=1)
        hits &= tick.events["probability"] >= self._min_probability
        if self._has_spikes_bound:
            hits &= tick.events["n_spikes"] >= self._min_spikes
        self._hits = hits
        self.counted = np.add.reduce(hits, axis=1, dtype=np.int64)
        self.counts = self.counted.tolist()
        self.any = True

    def spikes(self, tick: Tick) -> NDArray[np.float64]:
        """Spikes in the newest message by channel, shape (n_channels,); only where `any`."""
        return np.asarray(self._hits @ tick.events["n_spikes"].astype(np.float64))

    def hits(self, channel: int) -> NDArray[np.bool_]:
        """Which events of the newest message belong to a channel, shape (n_events,); only where `counts` is above 0."""
        return np.asarray(self._hits[channel])

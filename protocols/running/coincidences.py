"""Coincidences: k cells of a group within a window, screened for all conditions at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.running.channels import EventChannels
from protocols.running.conditions import Node
from protocols.running.tick import NEVER_NS, Tick
from protocols.schema import triggers as schema
from rt_engine.interfaces.clock import NS_PER_MS


class LastEvents:
    """Time of the last event of every cell, for all coincidences with the same threshold of probability.

    Parameters
    ----------
    n_rois : int
    min_probability : float

    Attributes
    ----------
    t_ns : int64 ndarray, shape (n_rois + 1,)
        The last row belongs to events of unknown cells.
    """

    def __init__(self, n_rois: int, min_probability: float) -> None:
        self.t_ns = np.full(n_rois + 1, NEVER_NS, np.int64)
        self._n_rois, self._min_probability = n_rois, min_probability
        self._groups: list[NDArray[np.int64]] = []
        self._window_ns = 0
        self._member = np.zeros((0, n_rois + 1), np.float32)
        self.n_recent: list[float] = []

    def add(self, cells: NDArray[np.int64], window_ns: int) -> int:
        """Index of another group in `n_recent`."""
        self._groups.append(cells)
        self._window_ns = max(self._window_ns, window_ns)
        self._member = np.zeros((len(self._groups), self._n_rois + 1), np.float32)
        for index, group in enumerate(self._groups):
            self._member[index, group] = 1
        self.n_recent = [0.0] * len(self._groups)
        return len(self._groups) - 1

    def update(self, tick: Tick) -> None:
        """Take in a message; `n_recent` becomes the most cells of each group that can be within one window."""
        if len(tick.rows) == 0:
            return
        rows, t_ns = tick.rows, tick.events["t_event_ns"]
        if self._min_probability > 0:
            keep = tick.events["probability"] >= self._min_probability
            rows, t_ns = rows[keep], t_ns[keep]
            if len(rows) == 0:
                return
        # Events come in order of time: of several of one cell the last assignment is the latest.
        self.t_ns[rows] = np.maximum(self.t_ns[rows], t_ns)
        recent = self.t_ns >= int(t_ns[0]) - self._window_ns
        self.n_recent = (self._member @ recent).tolist()


class CoincidenceNode(Node):
    """See `schema.triggers.Coincidence`. Of one cell the latest event counts; an older one that comes later is none."""

    momentary = True

    def __init__(
        self,
        config: schema.Coincidence,
        channels: EventChannels,
        channel: int,
        rows: tuple[int, ...],
        last: LastEvents,
    ) -> None:
        super().__init__()
        self._channels, self._channel = channels, channel
        self._k, self._window_ns = config.k, round(config.window_ms * NS_PER_MS)
        self._cells = np.array(rows, np.int64)
        self._last = last
        self._index = last.add(self._cells, self._window_ns)
        self._used_ns = np.full(len(rows), NEVER_NS, np.int64)
        self._group = np.zeros(0, np.int64)
        self.listens_to = (channel,)

    def update(self, tick: Tick) -> None:
        """True if an event of this message completes a group of k."""
        self.true = False
        if not self._channels.counts[self._channel] or self._last.n_recent[self._index] < self._k:
            return
        times = self._last.t_ns[self._cells]
        times[times == self._used_ns] = NEVER_NS
        hits = self._channels.hits(self._channel)
        t_event_ns = tick.events["t_event_ns"][hits]
        for t_ns in t_event_ns[t_event_ns == self._last.t_ns[tick.rows[hits]]].tolist():
            if self._look_around(times, t_ns):
                return

    def _look_around(self, times: NDArray[np.int64], t_ns: int) -> bool:
        """Look for k cells within the window around an event."""
        k, window_ns = self._k, self._window_ns
        near = np.flatnonzero((times >= t_ns - window_ns) & (times <= t_ns + window_ns))
        if len(near) < k:
            return False
        near = near[np.argsort(times[near], kind="stable")]
        sorted_ns = times[near]
        fits = np.flatnonzero(sorted_ns[k - 1 :] - sorted_ns[: len(near) - k + 1] <= window_ns)
        if len(fits) == 0:
            return False
        first_ns = sorted_ns[fits[0]]
        self._group = near[(sorted_ns >= first_ns) & (sorted_ns <= first_ns + window_ns)]
        self.true = True
        return True

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Cells of the group that was completed."""
        return self._cells[self._group]

    def consume(self) -> None:
        """An event makes one coincidence only."""
        self._used_ns[self._group] = self._last.t_ns[self._cells[self._group]]

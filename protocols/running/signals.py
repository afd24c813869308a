"""Signals at work: rates from events, readouts of the population from activity."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.rois import Group, RoiTable
from protocols.running.channels import EventChannels
from protocols.running.tick import NEVER_NS, Tick
from protocols.schema.signals import (
    ActivityField,
    ActivitySignal,
    ProjectionSignal,
    RateSignal,
    SignalConfig,
    Statistic,
)
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.errors import ConfigError


class Signal:
    """A number followed in time.

    Attributes
    ----------
    value : float
        Smoothed; NaN while unknown. What conditions and clamps look at.
    raw : float
        The newest sample by itself; NaN if it is invalid. What responses are made of.
    uses_activity : bool
        True if it changes with `activity` messages, not with `spikes`.
    n_samples : int
        Samples of activity so far; with several planes not every message brings one.
    """

    uses_activity = False

    def __init__(self) -> None:
        self.value = self.raw = math.nan
        self.n_samples = 0


class Rates:
    """All rates with one window and one way of counting, in a few array operations a message.

    Parameters
    ----------
    channels : EventChannels
    window_ns : int
    counts_spikes : bool
        Count spikes instead of events.

    Attributes
    ----------
    values : list of float
        Events per second and cell, by index; NaN until the window has passed.
    """

    def __init__(self, channels: EventChannels, window_ns: int, counts_spikes: bool) -> None:
        self._channels, self._window_ns, self._counts_spikes = channels, window_ns, counts_spikes
        self._of: list[int] = []
        self._n_cells: list[int] = []
        self._recent: deque[tuple[int, NDArray[np.float64]]] = deque()
        self._start_ns = NEVER_NS
        self.values: list[float] = []

    def add(self, channel: int, n_cells: int) -> int:
        """Index of another rate."""
        self._of.append(channel)
        self._n_cells.append(n_cells)
        self._channel = np.array(self._of, np.intp)
        self._per_event = NS_PER_S / (self._window_ns * np.maximum(self._n_cells, 1))
        self._total = np.zeros(len(self._of))
        self.values = [math.nan] * len(self._of)
        return len(self._of) - 1

    def update(self, tick: Tick) -> None:
        """Take in the events of a message."""
        if self._start_ns == NEVER_NS:
            self._start_ns = tick.t_ns
        if self._channels.any:
            channels = self._channels
            n = channels.spikes(tick) if self._counts_spikes else channels.counted
            n = n.take(self._channel).astype(np.float64)
            self._recent.append((tick.t_ns, n))
            self._total += n
        since_ns = tick.t_ns - self._window_ns
        while self._recent and self._recent[0][0] <= since_ns:
            self._total -= self._recent.popleft()[1]
        if since_ns >= self._start_ns:
            self.values = (self._total * self._per_event).tolist()


class Rate(Signal):
    """See `schema.signals.RateSignal`; `Rates` counts."""

    def __init__(self, rates: Rates, index: int) -> None:
        self._rates, self._index = rates, index

    @property
    def value(self) -> float:  # type: ignore[override]
        """Events per second and cell."""
        return self._rates.values[self._index]

    raw = value


class Readout(Signal):
    """A number of a group's activity; `Readouts` computes it."""

    uses_activity = True

    def __init__(self, smooth_ms: float) -> None:
        super().__init__()
        self._smooth_ns = smooth_ms * NS_PER_MS
        self._t_ns = NEVER_NS

    def take(self, raw: float, t_ns: int) -> None:
        """One sample; an invalid one leaves the smoothed value where it was."""
        self.raw = raw
        self.n_samples += 1
        if raw != raw:
            return
        if self._smooth_ns <= 0 or self.value != self.value:
            self.value = raw
        else:
            self.value += -math.expm1(-(t_ns - self._t_ns) / self._smooth_ns) * (raw - self.value)
        self._t_ns = t_ns


class Readouts:
    """All readouts of the same planes and field, by one matrix product a message.

    Parameters
    ----------
    configs : sequence of (Readout, ActivitySignal or ProjectionSignal, rows)
        `rows` are those of the planes' `activity` arrays, one after the other.
    n_rois : int
        Cells of the planes.
    """

    def __init__(
        self,
        configs: Sequence[tuple[Readout, ActivitySignal | ProjectionSignal, tuple[int, ...]]],
        n_rois: int,
    ) -> None:
        self._linear, self._other = [], []
        weights, strict, offsets = [], [], []
        for readout, config, rows in configs:
            if isinstance(config, ActivitySignal) and config.statistic is not Statistic.MEAN:
                self._other.append((readout, config, np.array(rows, np.intp)))
                continue
            row = np.zeros(n_rois, np.float32)
            row[list(rows)] = config.weights if isinstance(config, ProjectionSignal) else 1.0
            weights.append(row)
            strict.append(isinstance(config, ProjectionSignal))
            offsets.append(config.offset if isinstance(config, ProjectionSignal) else 0.0)
            self._linear.append(readout)
        self._weights = np.array(weights, np.float32).reshape(len(weights), n_rois)
        self._member = (self._weights != 0).astype(np.float32)
        self._n_members = self._member.sum(axis=1)
        self._strict = np.array(strict, bool)
        self._offsets = np.array(offsets)
        self._filled = np.zeros(n_rois, np.float32)
        self._valid = np.zeros(n_rois, np.float32)

    def update(self, values: NDArray[np.float32], t_ns: int) -> None:
        """Take in one field of an `activity` message.

        Parameters
        ----------
        values : float32 ndarray, shape (n_rois,), NaN where invalid, read
        t_ns : int
        """
        finite = np.isfinite(values)
        if self._linear:
            np.copyto(self._valid, finite)
            np.copyto(self._filled, values)
            self._filled[~finite] = 0.0
            sums = self._weights @ self._filled
            n_valid = self._member @ self._valid
            with np.errstate(divide="ignore", invalid="ignore"):
                means = np.where(self._strict, sums - self._offsets, sums / n_valid)
            enough = np.where(self._strict, n_valid >= self._n_members, n_valid * 2 >= self._n_members)
            for readout, value, is_known in zip(self._linear, means.tolist(), enough.tolist(), strict=True):
                readout.take(value if is_known else math.nan, t_ns)
        for readout, config, rows in self._other:
            readout.take(_statistic(config, values[rows][finite[rows]], len(rows)), t_ns)


def _statistic(config: ActivitySignal, known: NDArray[np.float32], n_cells: int) -> float:
    """The number of a group; NaN where fewer than half of its cells have a sample."""
    if 2 * len(known) < n_cells or len(known) == 0:
        return math.nan
    if config.statistic is Statistic.MAX:
        return float(known.max())
    return float(np.mean(known > (config.level or 0.0)))


class SignalBank:
    """Every signal of a protocol.

    Parameters
    ----------
    configs : mapping of str to SignalConfig
    groups : mapping of str to Group
    rois : RoiTable
    channels : EventChannels
        Not frozen yet.

    Raises
    ------
    ConfigError
        Weights do not fit the group.

    Notes
    -----
    A readout of cells in several planes has one sample a volume, when the last of its planes has been decided. Cells
    of a plane whose frame did not come have no sample.
    """

    def __init__(
        self,
        configs: Mapping[str, SignalConfig],
        groups: Mapping[str, Group],
        rois: RoiTable,
        channels: EventChannels,
    ) -> None:
        self.by_name: dict[str, Signal] = {}
        self._rates: dict[tuple[int, bool], Rates] = {}
        row_of = {int(roi): row for row, roi in enumerate(rois.roi_id)}
        plane = rois.planes if len(rois.planes) else np.zeros(len(rois.roi_id), np.int64)
        parts: dict[
            tuple[tuple[int, ...], ActivityField],
            list[tuple[Readout, ActivitySignal | ProjectionSignal, tuple[int, ...]]],
        ] = {}
        for name, config in configs.items():
            rows = tuple(row_of[i] for i in groups[config.cells].ids)
            if isinstance(config, RateSignal):
                window = round(config.window_ms * NS_PER_MS), config.count == "spikes"
                rates = self._rates.setdefault(window, Rates(channels, *window))
                channel = channels.add(rows, config.min_probability)
                self.by_name[name] = Rate(rates, rates.add(channel, len(rows)))
                continue
            key = f"signals.{name}"
            own = tuple(sorted({int(plane[row]) for row in rows})) or (0,)
            if isinstance(config, ProjectionSignal) and len(config.weights) != len(rows):
                raise ConfigError(
                    f"{len(config.weights)} weights for the {len(rows)} cells of {config.cells!r}", key=f"{key}.weights"
                )
            within = np.argsort(np.argsort(np.where(np.isin(plane, own), plane, len(plane) + 256), kind="stable"))
            readout = Readout(config.smooth_ms)
            self.by_name[name] = readout
            parts.setdefault((own, config.field), []).append((readout, config, tuple(int(within[row]) for row in rows)))
        self._n_rois = {int(one): int(np.count_nonzero(plane == one)) for one in {0, *plane.tolist()}}
        self._readouts = {key: Readouts(members, self._n_of(key[0])) for key, members in parts.items()}
        self._gathered = {key: np.full(self._n_of(key[0]), np.nan, np.float32) for key in parts}

    def _n_of(self, planes: Sequence[int]) -> int:
        """Cells of some planes."""
        return sum(self._n_rois[plane] for plane in planes)

    @property
    def uses_activity(self) -> bool:
        """True if any signal needs `activity` messages."""
        return bool(self._readouts)

    def on_spikes(self, tick: Tick) -> None:
        """Update what follows events."""
        for rates in self._rates.values():
            rates.update(tick)

    def on_activity(self, plane: int, fields: Sequence[str], values: NDArray[np.float32], t_ns: int) -> bool:
        """Update what follows activity.

        Parameters
        ----------
        plane : int
        fields : sequence of str
        values : float32 ndarray, shape (n_fields, n_rois), read
        t_ns : int

        Returns
        -------
        bool
            True if any signal has a new sample. Cells added since the protocol was loaded are passed over.
        """
        found = False
        for key, readouts in self._readouts.items():
            planes, field = key
            if plane not in planes or field not in fields or values.shape[1] < self._n_rois[plane]:
                continue
            gathered, start = self._gathered[key], self._n_of(planes[: planes.index(plane)])
            gathered[start : start + self._n_rois[plane]] = values[fields.index(field)][: self._n_rois[plane]]
            if plane == planes[-1]:
                readouts.update(gathered, t_ns)
                gathered[:] = np.nan
                found = True
        return found

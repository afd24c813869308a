"""Conditions that look at the world themselves: events, signals, lines, time, keys."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from protocols.running.channels import EventChannels
from protocols.running.signals import Signal
from protocols.running.tick import NEVER_NS, Tick
from protocols.schema import triggers as schema
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S

_NO_ROWS: NDArray[np.int64] = np.zeros(0, np.int64)


class Node:
    """One condition.

    Attributes
    ----------
    true : bool
        As of the last `update`.
    momentary : bool
        True for what happens at a moment (an event), false for what lasts (a level).
    uses_activity : bool
        True if it depends on `activity` messages.
    listens_to : tuple of int
        Channels without whose events it need not look again, once it is false; empty: it looks at every tick.
    """

    momentary = False
    uses_activity = False
    listens_to: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.true = False

    def update(self, tick: Tick) -> None:
        """Look again; called once for every tick, whatever the phase."""

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Rows of the cells that made it true, earliest event first; only where `true`."""
        return _NO_ROWS

    def consume(self) -> None:
        """A trigger has come of it: what made it true is used up."""


class EventNode(Node):
    """See `schema.triggers.Event`."""

    momentary = True

    def __init__(self, channels: EventChannels, channel: int) -> None:
        super().__init__()
        self._channels, self._channel = channels, channel
        self.listens_to = (channel,)

    def update(self, tick: Tick) -> None:
        """True if the message holds an event."""
        self.true = self._channels.counts[self._channel] > 0

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Cells with an event in this message."""
        return unique_rows(tick.rows[self._channels.hits(self._channel)])


class SequenceNode(Node):
    """See `schema.triggers.Sequence`. Remembers the last 64 events of the first group."""

    momentary = True

    def __init__(self, config: schema.Sequence, channels: EventChannels, first: int, then: int) -> None:
        super().__init__()
        self._channels, self._first, self._then = channels, first, then
        self._min_ns = round(config.min_ms * NS_PER_MS)
        self._within_ns = round(config.within_ms * NS_PER_MS)
        self._earlier: deque[tuple[int, int]] = deque(maxlen=64)
        self._found: tuple[int, int] = (0, 0)
        self.listens_to = (first, then)

    def update(self, tick: Tick) -> None:
        """Note the first ones, then look whether a second one follows one of them."""
        self.true = False
        counts = self._channels.counts
        if counts[self._first]:
            hits = self._channels.hits(self._first)
            pairs = zip(tick.events["t_event_ns"][hits].tolist(), tick.rows[hits].tolist(), strict=True)
            self._earlier.extend(pairs)
        if not counts[self._then] or not self._earlier:
            return
        hits = self._channels.hits(self._then)
        for t_ns, row in zip(tick.events["t_event_ns"][hits].tolist(), tick.rows[hits].tolist(), strict=True):
            for earlier_ns, earlier_row in self._earlier:
                if max(self._min_ns, 1) <= t_ns - earlier_ns <= self._within_ns:
                    self.true, self._found = True, (earlier_row, row)
                    return

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """The two cells, in order."""
        return unique_rows(np.array(self._found, np.int64))

    def consume(self) -> None:
        """The first events so far make no further sequence."""
        self._earlier.clear()


class SilenceNode(Node):
    """See `schema.triggers.Silence`. A session begins with no silence behind it."""

    def __init__(self, config: schema.Silence, channels: EventChannels, channel: int) -> None:
        super().__init__()
        self._channels, self._channel = channels, channel
        self._for_ns = round(config.for_ms * NS_PER_MS)
        self._since_ns = NEVER_NS

    def update(self, tick: Tick) -> None:
        """True once the last event (its time, not that of the message) is old enough."""
        if self._since_ns == NEVER_NS:
            self._since_ns = tick.t_ns
        if self._channels.counts[self._channel]:
            newest = tick.events["t_event_ns"][self._channels.hits(self._channel)].max()
            self._since_ns = max(self._since_ns, int(newest))
        self.true = tick.t_ns - self._since_ns >= self._for_ns


class LevelNode(Node):
    """Above, below or inside, with hysteresis; an unknown signal fulfils nothing."""

    def __init__(self, signal: Signal, low: float, high: float, low_release: float, high_release: float) -> None:
        super().__init__()
        self.uses_activity = signal.uses_activity
        self._signal = signal
        self._bounds = (low, high), (low_release, high_release)

    @classmethod
    def of(cls, config: schema.Above | schema.Below | schema.Inside, signal: Signal) -> LevelNode:
        """Node of a condition on one signal."""
        inf = float("inf")
        if isinstance(config, schema.Inside):
            return cls(signal, config.low, config.high, config.low, config.high)
        release = config.level if config.release is None else config.release
        if isinstance(config, schema.Above):
            return cls(signal, math.nextafter(config.level, inf), inf, release, inf)
        return cls(signal, -inf, math.nextafter(config.level, -inf), -inf, release)

    def update(self, tick: Tick) -> None:
        """Compare."""
        low, high = self._bounds[self.true]
        self.true = low <= self._signal.value <= high


class RegionNode(Node):
    """See `schema.triggers.Region`."""

    def __init__(self, config: schema.Region, signals: tuple[Signal, ...]) -> None:
        super().__init__()
        self.uses_activity = any(signal.uses_activity for signal in signals)
        self._pairs = tuple(zip(signals, config.centre, strict=True))
        self._square = config.radius**2

    def update(self, tick: Tick) -> None:
        """Distance to the centre; NaN is outside."""
        self.true = sum((signal.value - centre) ** 2 for signal, centre in self._pairs) <= self._square


class DoseNode(Node):
    """See `schema.triggers.Dose`: the value holds from one message to the next; unknown adds nothing."""

    momentary = True

    def __init__(self, config: schema.Dose, signal: Signal) -> None:
        super().__init__()
        self.uses_activity = signal.uses_activity
        self._signal, self._reaches = signal, config.reaches
        self._t_ns, self.total = NEVER_NS, 0.0

    def update(self, tick: Tick) -> None:
        """Add; once the dose is reached it is taken off, what is beyond it counts for the next."""
        value = self._signal.value
        if self._t_ns != NEVER_NS and value == value:
            self.total = max(0.0, self.total + value * (tick.t_ns - self._t_ns) / NS_PER_S)
        self._t_ns = tick.t_ns
        self.true = self.total >= self._reaches
        if self.true:
            self.total -= self._reaches


class LineNode(Node):
    """See `schema.triggers.Line`. An edge counts in the first message scanned after it."""

    def __init__(self, config: schema.Line, lines: dict[str, LineState]) -> None:
        super().__init__()
        self._state = lines.setdefault(config.line, LineState())
        self._condition = config.condition
        self.momentary = config.condition in ("rising", "falling")

    def update(self, tick: Tick) -> None:
        """Look at the edges of this tick, or at the level."""
        state = self._state
        self.true = {
            "rising": state.rose,
            "falling": state.fell,
            "high": state.high,
            "low": state.known and not state.high,
        }[self._condition]


class LineState:
    """One behaviour line as of the newest tick."""

    __slots__ = ("fell", "high", "known", "rose")

    def __init__(self) -> None:
        self.rose = self.fell = self.high = self.known = False


class ScheduleNode(Node):
    """See `schema.triggers.Schedule`. Times count from the first live message; jitter is drawn once, at the start."""

    momentary = True

    def __init__(self, config: schema.Schedule, random: np.random.Generator) -> None:
        super().__init__()
        self._config, self._random = config, random
        self._start_ns, self._index = NEVER_NS, 0
        self._at_ns = sorted(round(t_s * NS_PER_S) for t_s in config.at_s)
        self._due_ns: int | None = None

    def update(self, tick: Tick) -> None:
        """True in the first tick at or after a due time; several due at once make one."""
        if self._start_ns == NEVER_NS:
            self._start_ns = tick.t_ns
            self._due_ns = self._next()
        self.true = False
        while self._due_ns is not None and tick.t_ns - self._start_ns >= self._due_ns:
            self.true = True
            self._due_ns = self._next()

    def _next(self) -> int | None:
        index, config = self._index, self._config
        self._index += 1
        if config.every_s is None:
            jitter_ns = round(self._random.uniform(0, config.jitter_s) * NS_PER_S) if config.jitter_s else 0
            return self._at_ns[index] + jitter_ns if index < len(self._at_ns) else None
        jitter_s = self._random.uniform(0, config.jitter_s) if config.jitter_s else 0.0
        return round((config.first_s + index * config.every_s + jitter_s) * NS_PER_S)


class KeyNode(Node):
    """See `schema.triggers.Key`."""

    momentary = True

    def __init__(self, key: str, pressed: set[str]) -> None:
        super().__init__()
        self._key, self._pressed = key, pressed

    def update(self, tick: Tick) -> None:
        """True in the first tick after the mark."""
        self.true = self._key in self._pressed


def unique_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows without repetition, in their order."""
    return np.array(list(dict.fromkeys(rows.tolist())), np.int64)

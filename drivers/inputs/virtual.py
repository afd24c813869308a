"""Inputs without hardware: a line, edges and a voltage, each the twin of one of an NI card."""

from __future__ import annotations

import bisect

import numpy as np

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.inputs import LineEdge, SampleBlock
from rt_engine.interfaces.virtual_inputs import VirtualVoltageInput


class VirtualLine:
    """A line that `press` changes.

    Parameters
    ----------
    name : str
        Name in the rig.
    is_high : bool
        Level at the start.
    clock : Clock

    Attributes
    ----------
    is_high : bool
        Level now.
    """

    def __init__(self, name: str, is_high: bool, clock: Clock) -> None:
        self.name, self.is_high = name, is_high
        self._clock = clock
        self._open = False
        self._edges: list[LineEdge] = []

    def open(self) -> None:
        """From now on edges are told."""
        self._open = True

    def press(self) -> None:
        """Change the level."""
        self.is_high = not self.is_high
        if self._open:
            self._edges.append(LineEdge(self._clock.now_ns(), self.is_high))

    def take_edges(self) -> list[LineEdge]:
        """Edges since the last call, in order."""
        edges, self._edges = self._edges, []
        return edges

    def close(self) -> None:
        """Nothing is told any more."""
        self._open = False
        self._edges = []


class VirtualEdges:
    """Rising edges without hardware, the twin of a counter on a terminal: of frames, of light, or made by command.

    Parameters
    ----------
    name : str
        Name in the rig.
    follows : str
        What makes an edge: ``frames``, ``light`` or ``hand``.
    clock : Clock

    Attributes
    ----------
    follows : str
    """

    def __init__(self, name: str, follows: str, clock: Clock) -> None:
        self.name, self.follows = name, follows
        self._clock = clock
        self._open = False
        self._due_ns: list[int] = []

    def open(self) -> None:
        """From now on edges are told."""
        self._open = True

    def press(self) -> None:
        """One edge, now."""
        self.pulse(self._clock.now_ns())

    def pulse(self, t_ns: int) -> None:
        """One edge, at a time that may be yet to come."""
        if self._open:
            bisect.insort(self._due_ns, t_ns)

    def take_edges(self) -> list[LineEdge]:
        """Edges that have come since the last call, in order."""
        n = bisect.bisect_right(self._due_ns, self._clock.now_ns())
        come, self._due_ns = self._due_ns[:n], self._due_ns[n:]
        return [LineEdge(t_ns, True) for t_ns in come]

    def close(self) -> None:
        """Nothing is told any more."""
        self._open = False
        self._due_ns = []


class VirtualVoltage:
    """A sampled voltage without hardware: a wave, and a step on top of it that `press` makes.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : VirtualVoltageInput
    clock : Clock
    """

    def __init__(self, name: str, config: VirtualVoltageInput, clock: Clock) -> None:
        self.name, self.sample_rate_hz = name, config.sample_rate_hz
        self._config, self._clock = config, clock
        self._t_start_ns: int | None = None
        self._taken = 0
        self._steps = [(0, 0.0)]

    def open(self) -> None:
        """The first sample is taken now."""
        if self._t_start_ns is None:
            self._t_start_ns, self._taken = self._clock.now_ns(), 0
            self._steps = [(self._t_start_ns, self._steps[-1][1])]

    def press(self) -> None:
        """Step up by `high_v`, or down again."""
        self._steps.append((self._clock.now_ns(), self._config.high_v if self._steps[-1][1] == 0.0 else 0.0))

    def take_block(self) -> SampleBlock | None:
        """Samples since the last call; None where there are none."""
        if self._t_start_ns is None:
            return None
        period_ns = NS_PER_S / self.sample_rate_hz
        there = int((self._clock.now_ns() - self._t_start_ns) / period_ns) + 1
        if there <= self._taken:
            return None
        since_ns = np.round(np.arange(self._taken, there) * period_ns)
        times_ns, levels = np.array([t for t, _ in self._steps]), np.array([level for _, level in self._steps])
        at = np.searchsorted(times_ns, since_ns + self._t_start_ns, side="right") - 1
        turns = 2 * np.pi * since_ns / (self._config.wave_period_s * NS_PER_S)
        volts = levels[np.maximum(at, 0)] + self._config.wave_v * np.sin(turns)
        self._taken, self._steps = there, self._steps[-1:]
        return SampleBlock(self._t_start_ns + round(float(since_ns[0])), volts.astype(np.float32))

    def close(self) -> None:
        """No sample is taken any more."""
        self._t_start_ns = None

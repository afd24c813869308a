"""A digital line without hardware: somebody presses it by command."""

from __future__ import annotations

from typing import NamedTuple

from rt_engine.interfaces.clock import Clock


class LineEdge(NamedTuple):
    """When a line changed, on the clock of this host, and to what."""

    t_edge_ns: int
    is_high: bool


class VirtualLine:
    """A line that `press` changes.

    Parameters
    ----------
    is_high : bool
        Level at the start.
    clock : Clock

    Attributes
    ----------
    is_high : bool
        Level now.
    """

    def __init__(self, is_high: bool, clock: Clock) -> None:
        self.is_high = is_high
        self._clock = clock
        self._edges: list[LineEdge] = []

    def press(self) -> None:
        """Change the level."""
        self.is_high = not self.is_high
        self._edges.append(LineEdge(self._clock.now_ns(), self.is_high))

    def take_edges(self) -> list[LineEdge]:
        """Edges since the last call, in order."""
        edges, self._edges = self._edges, []
        return edges

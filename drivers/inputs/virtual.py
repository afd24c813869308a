"""A digital line without hardware: somebody presses it by command."""

from __future__ import annotations

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.inputs import LineEdge


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

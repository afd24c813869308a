"""Which pulse an edge of the loop-back belongs to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.stimulation import Decision, PulseRequest

_KEPT = 64
_EARLY_NS = NS_PER_MS
"""An edge may seem to come before its command by what the clocks are uncertain of."""
_LATEST_NS = 100 * NS_PER_MS


class OutputEdges:
    """Deliveries that no edge was seen of yet, for each output; the first edge after a command is its own.

    Parameters
    ----------
    waits_ms : mapping of str to float
        By how much light of an output may come later than its command, where it waits for something.
    """

    def __init__(self, waits_ms: Mapping[str, float] | None = None) -> None:
        self._waits_ms = waits_ms or {}
        self._waiting: dict[str, deque[tuple[PulseRequest, Decision]]] = {}

    def remember(self, request: PulseRequest, decision: Decision) -> None:
        """A decision that was fired waits for its edge."""
        if decision.t_command_ns is not None and decision.outcome in (Outcome.DELIVERED, Outcome.SHAM):
            self._waiting.setdefault(decision.output, deque(maxlen=_KEPT)).append((request, decision))

    def match(self, output: str, t_edge_ns: int) -> tuple[PulseRequest, Decision] | None:
        """The decision whose light this edge is; None for a later pulse of a train, or an edge of something else."""
        waiting = self._waiting.get(output)
        while waiting:
            t_command_ns = waiting[0][1].t_command_ns or 0
            if t_edge_ns < t_command_ns - _EARLY_NS:
                return None
            request, decision = waiting.popleft()
            wait_ns = round(self._waits_ms.get(output, 0.0) * NS_PER_MS)
            if t_edge_ns <= t_command_ns + wait_ns + _LATEST_NS:
                return request, decision
        return None

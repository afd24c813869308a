"""Rising edges on a terminal of an NI card, each with the time at which it came: a counter of 10 ns ticks, latched."""

from __future__ import annotations

from typing import Any

import numpy as np

from drivers.inputs.clock_relation import ClockRelation
from drivers.inputs.ni_input import NiInput
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.inputs import ClockTold, LineEdge
from rt_engine.interfaces.ni_config import NiEdgeInput

TICK_NS = 10
_RELATE_NS = NS_PER_S // 2
_SURE_PPM = 5.0
"""While the drift is less sure than this, the clock is read after every edge as well, so that none is extrapolated."""
_BUFFER = 10_000
_WRAP = 1 << 32


def unwrap(count: int, near: int) -> int:
    """The full count of a 32-bit register that is near another full count."""
    return near + (count - near + _WRAP // 2) % _WRAP - _WRAP // 2


class NiEdges(NiInput):
    """Times of the rising edges on one terminal; see `NiInput`.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiEdgeInput
    clock : Clock

    Attributes
    ----------
    relation : ClockRelation
        Of the card's clock to the host's.
    edges : int
        Seen since the start.
    """

    def __init__(self, name: str, config: NiEdgeInput, clock: Clock) -> None:
        super().__init__(name, config, clock, {config.counter: "counters", config.terminal: "terminals"})
        self._terminal, self._max_rate_hz = config.terminal, config.max_rate_hz
        self.relation = ClockRelation(TICK_NS)
        self.edges = self._worst_ns = 0
        self._counter: Any = None
        self._reader: Any = None
        self._near = 0
        self._due_ns = 0
        self._counts = np.zeros(_BUFFER, np.uint32)

    def take_edges(self) -> list[LineEdge]:
        """Edges since the last call, in order, in the host's time. Raises DeviceError."""
        if self._task is None:
            return []
        if self._clock.now_ns() >= self._due_ns:
            self._relate()
        with self._card.errors(self._channel):
            n = min(_BUFFER, int(self._task.in_stream.avail_samp_per_chan))
            if n:
                self._reader.read_many_sample_uint32(self._counts, n, timeout=0.0)
        self.edges += n
        if n == 0:
            return []
        ticks = []
        for count in self._counts[:n].tolist():
            self._near = unwrap(count, self._near)
            ticks.append(self._near * TICK_NS)
        if self.relation.drift_uncertainty_ppm > _SURE_PPM:
            self._relate()
        told = self.relation.told(np.array(ticks, np.int64))
        self._worst_ns = max(self._worst_ns, int(told.uncertainty_ns.max()))
        return [LineEdge(t_ns, True) for t_ns in told.host_ns.tolist()]

    def tell_clock(self) -> ClockTold | None:
        """The card's clock, and the worst of the times told since the last call; None if there were none."""
        worst_ns, self._worst_ns = self._worst_ns, 0
        if worst_ns == 0:
            return None
        relation = self.relation
        return ClockTold(relation.drift_ppm, relation.drift_uncertainty_ppm, relation.jitter_ns, worst_ns)

    def _begin(self) -> None:
        from nidaqmx.constants import AcquisitionType
        from nidaqmx.stream_readers import CounterReader

        self.relation, self._near = ClockRelation(TICK_NS), 0
        self._task = self._card.task("edges")
        self._counter = self._task.ci_channels.add_ci_count_edges_chan(self._card.path(self._channel))
        self._counter.ci_count_edges_term = self._card.terminal("100MHzTimebase")
        self._task.timing.cfg_samp_clk_timing(
            self._max_rate_hz,
            source=self._card.terminal(self._terminal),
            sample_mode=AcquisitionType.CONTINUOUS,
            samps_per_chan=_BUFFER,
        )
        self._task.start()
        self._reader = CounterReader(self._task.in_stream)
        self._reader.verify_array_shape = False
        self._relate()

    def _relate(self) -> None:
        """Read the register between two looks at the clock."""
        with self._card.errors(self._channel):
            before_ns = self._clock.now_ns()
            count = int(self._counter.ci_count)
            after_ns = self._clock.now_ns()
        self._near = unwrap(count, self._near)
        self.relation.add(self._near * TICK_NS, before_ns, after_ns)
        self._due_ns = after_ns + _RELATE_NS

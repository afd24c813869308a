"""A voltage sampled by the clock of an NI card, in blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from drivers.inputs.clock_relation import ClockRelation
from drivers.inputs.ni_edges import NiEdges
from drivers.inputs.ni_input import NiInput
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.inputs import SampleBlock
from rt_engine.interfaces.ni_config import NiAnalogInput

_BUFFER_S = 2.0


class _At(NamedTuple):
    """Where the samples are: since the start, on the host's clock, and on the card's as that relation has it."""

    since_ns: int
    t_ns: int
    device_ns: int
    relation: ClockRelation | None


class NiAnalog(NiInput):
    """One analogue channel; see `NiInput`.

    Times are those of the host at the start, known to `start_uncertainty_ns`, plus the samples counted: by the card's
    clock as an input of edges on the same card reads it (`follow`), else by the host's (50 ppm are 0.2 s in an hour).

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiAnalogInput
    clock : Clock

    Attributes
    ----------
    start_uncertainty_ns : int
    """

    def __init__(self, name: str, config: NiAnalogInput, clock: Clock) -> None:
        super().__init__(name, config, clock, {config.channel: "inputs"})
        self.sample_rate_hz, self._range_v = config.sample_rate_hz, config.range_v
        self._reader: Any = None
        self._buffer = np.zeros(max(1, round(_BUFFER_S * config.sample_rate_hz)))
        self._taken = self.start_uncertainty_ns = 0
        self._edges: NiEdges | None = None
        self._at = _At(0, 0, 0, None)

    def follow(self, edges: NiEdges) -> None:
        """Count samples by the clock that a counter of the same card reads; called before `open`."""
        self._edges = edges

    def take_block(self) -> SampleBlock | None:
        """Samples since the last call; None where there are none. Raises DeviceError."""
        if self._task is None:
            return None
        with self._card.errors(self._channel):
            n = min(len(self._buffer), int(self._task.in_stream.avail_samp_per_chan))
            if n == 0:
                return None
            self._reader.read_many_sample(self._buffer, n, timeout=0.0)
        t_first_ns = self._time_of(round(self._taken * NS_PER_S / self.sample_rate_hz))
        self._taken += n
        return SampleBlock(t_first_ns, self._buffer[:n].astype(np.float32))

    def _time_of(self, since_ns: int) -> int:
        """The host's time at so many nanoseconds of samples since the start."""
        at = self._at
        t_ns = at.t_ns + since_ns - at.since_ns
        relation = None if self._edges is None else self._edges.relation
        if relation is not None and relation.is_read:
            if relation is not at.relation:
                at = _At(at.since_ns, at.t_ns, relation.device_ns(at.t_ns), relation)
            t_ns = relation.host_ns(at.device_ns + since_ns - at.since_ns)
        self._at = _At(since_ns, t_ns, at.device_ns + since_ns - at.since_ns, at.relation)
        return t_ns

    def _begin(self) -> None:
        from nidaqmx.constants import AcquisitionType
        from nidaqmx.stream_readers import AnalogSingleChannelReader

        self._task = self._card.task("samples")
        self._task.ai_channels.add_ai_voltage_chan(
            self._card.path(self._channel), min_val=-self._range_v, max_val=self._range_v
        )
        self._task.timing.cfg_samp_clk_timing(
            self.sample_rate_hz, sample_mode=AcquisitionType.CONTINUOUS, samps_per_chan=len(self._buffer)
        )
        self._reader = AnalogSingleChannelReader(self._task.in_stream)
        self._reader.verify_array_shape = False
        before_ns = self._clock.now_ns()
        self._task.start()
        after_ns = self._clock.now_ns()
        self._at, self._taken = _At(0, (before_ns + after_ns) // 2, 0, None), 0
        self.start_uncertainty_ns = (after_ns - before_ns) // 2

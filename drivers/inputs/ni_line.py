"""The level of a digital line of an NI card, read when asked."""

from __future__ import annotations

from typing import Any

from drivers.inputs.ni_input import NiInput
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.inputs import LineEdge
from rt_engine.interfaces.ni_config import NiLineInput


class NiLine(NiInput):
    """A digital line. Its edges are known to the time between two readings; see `NiInput`.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiLineInput
    clock : Clock

    Attributes
    ----------
    is_high : bool
        Level at the last reading.
    """

    def __init__(self, name: str, config: NiLineInput, clock: Clock) -> None:
        super().__init__(name, config, clock, {config.line: "read_lines"})
        self._reader: Any = None
        self.is_high = False

    def take_edges(self) -> list[LineEdge]:
        """Read; an edge if the level is another one than at the last reading. Raises DeviceError."""
        if self._task is None:
            return []
        with self._card.errors(self._channel):
            is_high = bool(self._reader.read_one_sample_one_line())
        if is_high == self.is_high:
            return []
        self.is_high = is_high
        return [LineEdge(self._clock.now_ns(), is_high)]

    def _begin(self) -> None:
        from nidaqmx.stream_readers import DigitalSingleChannelReader

        self._task = self._card.task("line")
        self._task.di_channels.add_di_chan(self._card.path(self._channel))
        self._reader = DigitalSingleChannelReader(self._task.in_stream)
        self._reader.verify_array_shape = False
        self.is_high = bool(self._reader.read_one_sample_one_line())

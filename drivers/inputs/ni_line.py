"""The level of a digital line of an NI card, read when asked."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from drivers.inputs.virtual import LineEdge
from drivers.ni.connection import NiConnection
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.ni_config import NiLineInput


class NiLine:
    """A digital line. Its edges are known to the time between two readings. Belongs to one thread.

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
        self.name, self._config, self._clock = name, config, clock
        self._card = NiConnection(name, config.device, config.server)
        self._task: Any = None
        self._reader: Any = None
        self.is_high = False

    def open(self) -> None:
        """Begin to read. Raises DeviceError."""
        from nidaqmx.stream_readers import DigitalSingleChannelReader

        if self._task is not None:
            return
        self._card.open()
        with ExitStack() as undo:
            undo.callback(self.close)
            with self._card.errors(self._config.line):
                self._task = self._card.task("line")
                self._task.di_channels.add_di_chan(self._card.path(self._config.line))
                self._reader = DigitalSingleChannelReader(self._task.in_stream)
                self._reader.verify_array_shape = False
                self.is_high = bool(self._reader.read_one_sample_one_line())
            undo.pop_all()

    def take_edges(self) -> list[LineEdge]:
        """Read; an edge if the level is another one than at the last reading. Raises DeviceError."""
        if self._task is None:
            return []
        with self._card.errors(self._config.line):
            is_high = bool(self._reader.read_one_sample_one_line())
        if is_high == self.is_high:
            return []
        self.is_high = is_high
        return [LineEdge(self._clock.now_ns(), is_high)]

    def close(self) -> None:
        """Release the card."""
        task, self._task = self._task, None
        if task is not None:
            self._card.end(task)
        self._card.close()

"""A digital line of an NI card that changes its level at every mark, for a scope; it lights nothing."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from drivers.ni.connection import NiConnection


class NiMark:
    """One line. Belongs to one thread; the constructor touches no hardware.

    Parameters
    ----------
    name : str
        For messages and the name of the task.
    device : str
    server : str or None
    line : str
    """

    def __init__(self, name: str, device: str, server: str | None, line: str) -> None:
        self._card, self._line = NiConnection(name, device, server), line
        self._task: Any = None
        self._writer: Any = None
        self._high = False

    def open(self) -> None:
        """Low, ready. Raises DeviceError."""
        from nidaqmx.stream_writers import DigitalSingleChannelWriter

        if self._task is not None:
            return
        with ExitStack() as undo:
            undo.callback(self.close)
            self._card.open()
            with self._card.errors(self._line):
                self._task = self._card.task("mark")
                self._task.do_channels.add_do_chan(self._card.path(self._line))
                self._writer = DigitalSingleChannelWriter(self._task.out_stream, auto_start=True)
                self._high = False
                self._writer.write_one_sample_one_line(False)
            undo.pop_all()

    def toggle(self) -> None:
        """The other level, by one call to the driver. Raises DeviceError."""
        if self._task is None:
            return
        with self._card.errors(self._line):
            self._writer.write_one_sample_one_line(not self._high)
        self._high = not self._high

    def close(self) -> None:
        """Release the line where it is."""
        task, self._task = self._task, None
        if task is not None:
            self._card.end(task)
        self._card.close()

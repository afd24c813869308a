"""A digital line of an NI card that changes its level at every mark, for a scope; it lights nothing."""

from __future__ import annotations

from typing import Any

from drivers.ni.part import NiPart


class NiMark(NiPart):
    """One line, low when it is opened; see `NiPart`."""

    def __init__(self, name: str, device: str, server: str | None, line: str) -> None:
        super().__init__(name, device, server, line)
        self._writer: Any = None
        self._high = False

    def toggle(self) -> None:
        """The other level, by one call to the driver. Raises DeviceError."""
        if self._task is None:
            return
        with self._card.errors(self._channel):
            self._writer.write_one_sample_one_line(not self._high)
        self._high = not self._high

    def _begin(self) -> None:
        from nidaqmx.stream_writers import DigitalSingleChannelWriter

        self._task = self._card.task("mark")
        self._task.do_channels.add_do_chan(self._card.path(self._channel))
        self._writer = DigitalSingleChannelWriter(self._task.out_stream, auto_start=True)
        self._high = False
        self._writer.write_one_sample_one_line(False)

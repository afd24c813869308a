"""What every input of an NI card does alike: find the card, make one task, release both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any

from drivers.ni.connection import NiConnection
from drivers.ni.examination import examine_input
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.findings import Finding
from rt_engine.interfaces.ni_config import NiAnalogInput, NiEdgeInput, NiLineInput


class NiInput(ABC):
    """One task on one card. Belongs to one thread; the constructor touches no hardware.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiEdgeInput, NiLineInput or NiAnalogInput
    clock : Clock
    needs : dict of str to str
        Channels of the card it uses, and among what each is found (`NiConnection.describe`); the first is named in
        messages.
    """

    def __init__(
        self, name: str, config: NiEdgeInput | NiLineInput | NiAnalogInput, clock: Clock, needs: dict[str, str]
    ) -> None:
        self.name, self._clock, self._needs = name, clock, needs
        self._device, self._server = config.device, config.server
        self._channel = next(iter(needs))
        self._card = NiConnection(name, config.device, config.server)
        self._task: Any = None

    def open(self) -> None:
        """Begin. Raises DeviceError."""
        if self._task is not None:
            return
        with ExitStack() as undo:
            undo.callback(self.close)
            self._card.open()
            with self._card.errors(self._channel):
                self._begin()
            undo.pop_all()

    def examine(self) -> list[Finding]:
        """What card there is, and whether it has the channels; the input is not begun."""
        return examine_input(NiConnection(self.name, self._device, self._server), self._needs)

    def close(self) -> None:
        """Release the card."""
        task, self._task = self._task, None
        if task is not None:
            self._card.end(task)
        self._card.close()

    @abstractmethod
    def _begin(self) -> None:
        """Make `_task` and start it; inside `NiConnection.errors`."""

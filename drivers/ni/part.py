"""What every part of an NI card with one task does alike: find the card, make the task, release both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any

from drivers.ni.connection import NiConnection


class NiPart(ABC):
    """One task on one card. Belongs to one thread; the constructor touches no hardware.

    Parameters
    ----------
    name : str
        For messages and the name of the task.
    device : str
    server : str or None
    channel : str
        Named in messages.
    """

    def __init__(self, name: str, device: str, server: str | None, channel: str) -> None:
        self._channel = channel
        self._card = NiConnection(name, device, server)
        self._task: Any = None

    @property
    def versions(self) -> dict[str, str]:
        """Driver and card; see `interfaces.devices.TellsVersions`."""
        return self._card.versions

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

    def close(self) -> None:
        """Release the card; a line that is driven stays where it is."""
        task, self._task = self._task, None
        if task is not None:
            self._card.end(task)
        self._card.close()

    @abstractmethod
    def _begin(self) -> None:
        """Make `_task` and start it; inside `NiConnection.errors`."""

"""Versions of what vendors made, which only an open device knows: told once, so that they stand in the session."""

from __future__ import annotations

from collections.abc import Callable

from rt_engine.interfaces.devices import TellsVersions
from rt_engine.recording.device_versions import VERSIONS_FIELD, versions_in_words


class DeviceVersions:
    """Tells the versions of devices on topic ``log``, again when they have changed.

    Parameters
    ----------
    say : callable
        Told a level, a sentence and fields.
    """

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._told: dict[str, dict[str, str]] = {}

    def tell(self, name: str, device: object) -> None:
        """Of one device that was opened; of one that knows none, nothing."""
        if not isinstance(device, TellsVersions) or not device.versions or self._told.get(name) == device.versions:
            return
        found = self._told[name] = dict(device.versions)
        self._say("info", versions_in_words({name: found}), **{VERSIONS_FIELD: {name: found}})

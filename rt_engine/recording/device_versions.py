"""Versions of drivers, cards and firmware, as the open devices told them on topic ``log`` of a session."""

from __future__ import annotations

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import LogHeader
from rt_engine.recording.reader import Session

VERSIONS_FIELD = "device_versions"
"""Key of the fields of such a message: device to what to version."""

DeviceVersions = dict[str, dict[str, str]]


def told_versions(header: LogHeader) -> DeviceVersions:
    """What one message tells; empty of any other."""
    told = header.fields.get(VERSIONS_FIELD)
    if not isinstance(told, dict):
        return {}
    return {
        str(device): {str(what): str(version) for what, version in found.items()}
        for device, found in told.items()
        if isinstance(found, dict)
    }


def device_versions(session: Session) -> DeviceVersions:
    """All that the devices of a session told, the last of each.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    found: DeviceVersions = {}
    for message in session.messages("log"):
        try:
            header = message.header
        except MessageError:
            continue
        if isinstance(header, LogHeader):
            found |= told_versions(header)
    return found


def versions_in_words(versions: DeviceVersions) -> str:
    """One line for people."""
    return "; ".join(
        f"{device}: " + ", ".join(f"{what} {version}" for what, version in found.items())
        for device, found in sorted(versions.items())
    )

"""Times of a session that ran on several computers, all in the clock of the supervisor's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from rt_engine.interfaces.messages import ClockHeader, Header, SessionHeader, StateHeader
from rt_engine.interfaces.service_config import Ports

_OWN_TIME = (ClockHeader, SessionHeader)
"""Told by the supervisor of others, or in wall time."""


class JournalClocks:
    """Offsets over a session, as topic `clock` told them.

    Parameters
    ----------
    ports : Ports
        Of the session's rig.
    told : iterable of (int, ClockHeader)
        Time of writing and header of each message, in order.
    """

    def __init__(self, ports: Ports, told: Iterable[tuple[int, ClockHeader]]) -> None:
        self._ports = ports
        self._course: dict[str, tuple[list[int], list[int]]] = {}
        for t_log_ns, header in told:
            times, offsets = self._course.setdefault(header.peer, ([], []))
            times.append(t_log_ns)
            offsets.append(header.offset_ns)

    def offset_ns(self, source: str, t_log_ns: int) -> int:
        """What to add to a time of `source` in a message written then; 0 where its computer is the supervisor's."""
        course = self._course.get(self._ports.host_of(source))
        if course is None:
            return 0
        times, offsets = course
        return offsets[max(0, bisect_right(times, t_log_ns) - 1)]

    def apply(self, header: Header, t_log_ns: int) -> None:
        """Put all times of a header into the supervisor's clock, in place."""
        offset_ns = 0 if isinstance(header, _OWN_TIME) else self.offset_ns(header.source, t_log_ns)
        if not offset_ns:
            return
        for field in msgspec.structs.fields(header):
            if field.name.startswith("t_") and field.name.endswith("_ns") and "uncertainty" not in field.name:
                setattr(header, field.name, _moved(getattr(header, field.name), offset_ns))
        if isinstance(header, StateHeader):
            header.trips = [trip | {"t_ns": _moved(trip.get("t_ns"), offset_ns)} for trip in header.trips]


def ports_of(config: Mapping[str, Any]) -> Ports | None:
    """Ports of a session whose services lived on several computers; None if they did not."""
    ports = (config.get("rig") or {}).get("ports") or {}
    if not ports.get("hosts"):
        return None
    try:
        return Ports.model_validate(ports)
    except ValidationError:
        return None


def _moved(value: Any, offset_ns: int) -> Any:
    if isinstance(value, list):
        return [one + offset_ns for one in value]
    return value + offset_ns if isinstance(value, int) else value

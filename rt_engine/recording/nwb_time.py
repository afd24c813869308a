"""Times of a session in an archive: seconds since the session began."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import SessionHeader
from rt_engine.recording.reader import Session
from rt_engine.recording.session_arrays import headers


@dataclass(frozen=True, slots=True)
class SessionTime:
    """Where time 0 of the archive is: the start of the session; in a replay, that of its recording."""

    header: SessionHeader

    @property
    def start(self) -> datetime.datetime:
        """Wall time of time 0, UTC."""
        return datetime.datetime.fromtimestamp(self.header.t_wall_ns / 1e9, datetime.UTC)

    def seconds(self, t_ns: int) -> float:
        """A monotonic time in seconds since the start."""
        return (t_ns - self.header.t_monotonic_ns) / 1e9

    def many(self, t_ns: NDArray[Any]) -> NDArray[np.float64]:
        """Monotonic times in seconds since the start; the difference is taken in whole nanoseconds."""
        return np.asarray((np.asarray(t_ns, np.int64) - self.header.t_monotonic_ns) / 1e9)


def session_time(session: Session) -> SessionTime:
    """Time of a session, from its last `session` message.

    Raises
    ------
    RecordingError
        It has none.
    """
    last: SessionHeader | None = None
    for _, header in headers(session, "session"):
        if isinstance(header, SessionHeader):
            last = header
    if last is None:
        raise RecordingError(
            f"{session.folder}: its journal holds no `session` message, which tells when it was",
            "recover it; if that is done, the run ended while it was starting, and there is nothing to export",
        )
    return SessionTime(last)

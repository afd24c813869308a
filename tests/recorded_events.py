"""Events of a session, for comparison with those of its replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.recording.reader import open_session


def recorded_events(session: Path) -> bytes:
    """All event records of a session, time stamps of this run left out, in order."""
    out = []
    for message in open_session(session).messages("spikes"):
        header = message.header
        if isinstance(header, SpikesHeader) and header.mode == "live":
            events = np.frombuffer(message.payload, EVENT_DTYPE).copy()
            events["t_event_ns"] = 0
            out.append(header.frame.to_bytes(8, "little") + events.tobytes())
    return b"".join(out)

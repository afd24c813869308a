"""One step of a protocol's time: what a message told, in the form that conditions look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.events import EVENT_DTYPE

NEVER_NS = -(1 << 62)


class TickKind(Enum):
    """Which message makes the tick."""

    SPIKES = auto()
    ACTIVITY = auto()


@dataclass(slots=True)
class Tick:
    """Overwritten by every message.

    Attributes
    ----------
    kind : TickKind
    t_ns : int
        `t_scan_ns`: the protocol's only clock. Never goes back.
    t_decided_ns, frame, plane : int
        Of the newest `spikes` message.
    events : EVENT_DTYPE ndarray, shape (n_events,)
        Of this message, in order of `t_event_ns`; empty in an activity tick.
    rows : int64 ndarray, shape (n_events,)
        Row of each event's cell in the table of cells; ``n_rois`` for a cell that is not in it.
    """

    kind: TickKind = TickKind.SPIKES
    t_ns: int = NEVER_NS
    t_decided_ns: int = 0
    frame: int = 0
    plane: int = 0
    events: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, EVENT_DTYPE))
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

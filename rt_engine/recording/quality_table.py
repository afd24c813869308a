"""Movement and registration of a plane over a session, and the states of the interlock, in bounded memory."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import ActivityHeader, Header, LightHeader, StateHeader
from rt_engine.recording.reader import JournalMessage

_MOST_ROWS = 200_000


class QualityTables:
    """Observer: keeps shift and quality of every frame (of every second one, and so on, where a session is long).

    Attributes
    ----------
    states : list of (int, str)
        Time of each change of the interlock, nanoseconds, and the state from then on.
    energy : dict of str to list of (int, float)
        By output: time of each pulse, nanoseconds, and its energy over all targets, millijoules.
    """

    def __init__(self) -> None:
        self._rows: dict[int, _Rows] = {}
        self.states: list[tuple[int, str]] = []
        self.energy: dict[str, list[tuple[int, float]]] = {}

    def see(self, message: JournalMessage, header: Header) -> None:
        """Take what one message tells."""
        if isinstance(header, ActivityHeader):
            self._rows.setdefault(header.plane, _Rows()).add(header)
        elif isinstance(header, StateHeader):
            if not self.states or self.states[-1][1] != header.interlock:
                self.states.append((header.t_sent_ns, header.interlock))
        elif isinstance(header, LightHeader):
            energy_mj = sum(header.power_uw) * header.width_us * 1e-9
            self.energy.setdefault(header.output, []).append((header.t_on_ns, energy_mj))

    def of(self, plane: int) -> NDArray[np.float64]:
        """Rows of frame, shift along y and x (pixels) and quality; float64, shape (n_rows, 4)."""
        rows = self._rows.get(plane)
        return np.zeros((0, 4)) if rows is None else np.frombuffer(rows.values, np.float64).reshape(-1, 4)


class _Rows:
    """Every `stride`-th frame; the stride doubles when there are too many."""

    def __init__(self) -> None:
        self.values = array("d")
        self._stride = 1
        self._n_seen = 0

    def add(self, header: ActivityHeader) -> None:
        self._n_seen += 1
        if (self._n_seen - 1) % self._stride:
            return
        self.values.extend((header.frame, header.shift_y_px, header.shift_x_px, header.quality))
        if len(self.values) >= 4 * _MOST_ROWS:
            kept = np.frombuffer(self.values, np.float64).reshape(-1, 4)[::2].copy()
            self.values = array("d", kept.tobytes())
            self._stride *= 2

"""The window's own pace: messages in, then every view that can be seen and is due, never more than it can afford."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyqtgraph.Qt import QtCore

from gui.model.rings import RowRing
from rt_engine.interfaces.clock import NS_PER_MS, Clock

PERIOD_MS = 32
_MOST_BUSY = 0.6
"""Share of the time that refreshing may take: the rest belongs to mouse and keyboard, and to STOP."""


class Pacer(QtCore.QObject):
    """Calls `turn` again and again; later, where a turn took long.

    Attributes
    ----------
    n_turns : int
    took_ms : RowRing
        Duration of the last turns.
    """

    def __init__(self, turn: Callable[[], None], clock: Clock, parent: Any = None) -> None:
        super().__init__(parent)
        self._turn, self._clock = turn, clock
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self.n_turns = 0
        self.took_ms = RowRing(300, 1)
        self._due_ns = 0

    def start(self) -> None:
        """Begin."""
        self._timer.start(0)

    def stop(self) -> None:
        """End."""
        self._timer.stop()

    def soon(self) -> None:
        """A person has done something: the next turn comes at once."""
        if self._timer.isActive():
            self._due_ns = self._clock.now_ns()
            self._timer.start(0)

    def _tick(self) -> None:
        before_ns = self._clock.now_ns()
        try:
            self._turn()
        finally:
            self._again(before_ns)

    def _again(self, before_ns: int) -> None:
        took_ms = (self._clock.now_ns() - before_ns) / NS_PER_MS
        self.took_ms.append(took_ms)
        self.n_turns += 1
        now_ns = self._clock.now_ns()
        rest_ms = min(max(took_ms * (1 / _MOST_BUSY - 1), 1.0), 1000.0)
        # Turns stand on a grid: a timer that fires late does not make the next one later still.
        self._due_ns = max(self._due_ns + PERIOD_MS * NS_PER_MS, now_ns + round(rest_ms * NS_PER_MS))
        self._timer.start(min(int((self._due_ns - now_ns) / NS_PER_MS), 1000))

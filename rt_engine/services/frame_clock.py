"""Frames against the microscope's own frame clock: a frame that software never saw, and did not count, is found."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from statistics import median_low

_KEPT_EDGES = 4096
_LATER = 15
"""Frames over which the lag is judged: software time stamps jitter, a missing frame stays missing."""


class FrameClockMatch:
    """Counts edges of the frame clock and frames, and says when the edges have run ahead for good.

    Attributes
    ----------
    hidden : int
        Frames that the clock has seen and software has neither delivered nor counted as lost.

    Notes
    -----
    The lag is edges less frame number. A stamp that is late counts an edge too many, so that the lag has risen where
    not one of the last frames has the old one: frames are hidden. It has fallen where most of them have less: a number
    was left out for which nothing was scanned (a vendor that is restarted), or edges were lost (a card that was away).
    Such a fall hides nothing, and what is hidden later is counted from the new lag; only frames that vanish within
    fifteen of a fall are taken together with it.
    """

    def __init__(self) -> None:
        self._edges_ns: deque[int] = deque(maxlen=_KEPT_EDGES)
        self._n_edges = 0
        self._lags: deque[int] = deque(maxlen=_LATER)
        self._lag: int | None = None
        self.hidden = 0

    def see_edge(self, t_ns: int) -> None:
        """One edge of the frame clock."""
        self._edges_ns.append(t_ns)
        self._n_edges += 1

    def see_frame(self, frame: int, t_scan_ns: int) -> int:
        """One frame, with its counter and when its last line was scanned; how many more are hidden than before.

        Edges of frames that have not been delivered yet do not count: only those before the end of this one do.
        """
        if not self._n_edges:
            return 0
        later = sum(1 for _ in takewhile(lambda t_ns: t_ns > t_scan_ns, reversed(self._edges_ns)))
        self._lags.append(self._n_edges - later - frame)
        if len(self._lags) < _LATER:
            return 0
        usual = median_low(self._lags)
        if self._lag is None or usual < self._lag:
            self._lag = usual
        more = max(0, min(self._lags) - self._lag)
        self._lag += more
        self.hidden += more
        return more

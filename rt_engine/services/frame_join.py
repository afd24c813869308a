"""Messages of several planes, brought into the order in which their frames were scanned."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.messages import ActivityHeader, Mode, SpikesHeader

MOST_WAIT_NS = 5 * NS_PER_MS
"""Live, a message waits no longer than this for an earlier one of another plane: light that is late is no light."""

Decided = tuple[SpikesHeader | ActivityHeader, bytes]
Place = tuple[int, int, int]
"""Where a message stands in the order of scanning: volume (else frame), plane, first line."""
_LAST_LINE = 1 << 31


def place_of(header: SpikesHeader | ActivityHeader) -> Place:
    """Place of a message; `activity` stands behind all lines of its frame."""
    index = header.frame if header.volume is None else header.volume
    return index, header.plane, _LAST_LINE if isinstance(header, ActivityHeader) else header.line0


class FrameJoin:
    """One stream of `spikes` and `activity` out of one for each plane, ordered by volume (else frame), plane and line.

    Each plane is decided by a process of its own, so that messages can overtake each other; what a protocol does with
    them must not depend on that, or a replay would decide differently.

    Parameters
    ----------
    planes : iterable of int
    most_wait_ns : int or None
        See `MOST_WAIT_NS`; None waits for ever, where the source waits as well.

    Attributes
    ----------
    awaits_activity : bool
        A frame is complete only with its `activity`, which follows its `spikes`; to be set where it is subscribed to.
    overtaken : int
        Messages that came after a later one had been passed on.
    """

    def __init__(self, planes: Iterable[int], most_wait_ns: int | None = MOST_WAIT_NS) -> None:
        self._most_wait_ns = most_wait_ns
        self._complete: dict[int, int] = dict.fromkeys(planes, -1)
        self._lines: dict[int, int] = {}
        self._waiting: list[tuple[tuple[int, int, int], int, int, Decided]] = []
        self._n_put = 0
        self._counts_volumes = False
        self._last = (-1, -1, -1)
        self.awaits_activity = False
        self.overtaken = 0

    def set_lines(self, plane: int, lines_per_frame: int) -> None:
        """Lines of a whole frame, so that the last strip of one is known."""
        self._lines[plane] = lines_per_frame

    def put(self, header: SpikesHeader | ActivityHeader, payload: bytes, now_ns: int) -> None:
        """Take one message in. Those of planes that are not of this rig, and of the flyback, are passed over."""
        self._counts_volumes = self._counts_volumes or header.volume is not None
        if header.plane not in self._complete or (self._counts_volumes and header.volume is None):
            return
        place = place_of(header)
        index = place[0]
        if isinstance(header, ActivityHeader):
            is_last = True
        else:
            is_whole = header.line0 + header.n_lines >= self._lines.get(header.plane, 0)
            is_last = is_whole and not (self.awaits_activity and header.mode is Mode.LIVE)
        complete = index if is_last else index - 1
        self._complete[header.plane] = max(self._complete[header.plane], complete)
        self._n_put += 1
        heapq.heappush(self._waiting, (place, self._n_put, now_ns, (header, payload)))

    def take(self, now_ns: int) -> Iterator[Decided]:
        """Every message whose turn it is, and those that have waited too long."""
        while self._waiting and self._may_go(now_ns):
            key, _, _, message = heapq.heappop(self._waiting)
            if key < self._last:
                self.overtaken += 1
            self._last = max(self._last, key)
            yield message

    def _may_go(self, now_ns: int) -> bool:
        (index, plane, _), _, t_put_ns, (header, _) = self._waiting[0]
        if isinstance(header, SpikesHeader) and header.mode is not Mode.LIVE:
            return True
        if self._most_wait_ns is not None and now_ns - t_put_ns >= self._most_wait_ns:
            return True
        return all(
            complete >= (index if other < plane else index - 1)
            for other, complete in self._complete.items()
            if other != plane
        )

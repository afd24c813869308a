"""How far a source that may wait is ahead of those who use its frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class SourceLead:
    """Frames that were sent and not yet decided by inference, or not yet written by the recorder.

    Parameters
    ----------
    planes : iterable of int
        Planes that are inferred; frames of others are nobody's to wait for.
    most : int
        Frames, of all planes together, that may be under way.
    """

    def __init__(self, planes: Iterable[int], most: int) -> None:
        self._most = most
        self._undecided: dict[int, deque[int]] = {plane: deque() for plane in planes}
        self._unwritten: dict[int, deque[int]] = {plane: deque() for plane in self._undecided}

    def sent(self, plane: int, frame: int) -> None:
        """A whole frame has left."""
        if plane in self._undecided:
            self._undecided[plane].append(frame)
            self._unwritten[plane].append(frame)

    def decided(self, plane: int, frame: int) -> None:
        """Inference has answered a frame, and with it all before."""
        _forget(self._undecided.get(plane), frame)

    def written(self, plane: int, frame: int) -> None:
        """The recorder has a frame, and with it all before."""
        _forget(self._unwritten.get(plane), frame)

    def allows_more(self) -> bool:
        """True if another frame may leave."""
        return all(sum(map(len, waiting.values())) < self._most for waiting in (self._undecided, self._unwritten))


def _forget(waiting: deque[int] | None, frame: int) -> None:
    while waiting and waiting[0] <= frame:
        waiting.popleft()

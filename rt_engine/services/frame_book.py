"""What became of every frame number of a plane: nothing is lost without being named."""

from __future__ import annotations

from collections.abc import Callable

from rt_engine.interfaces.fates import Fate

_EXCLUSIVE = (Fate.DECIDED, Fate.UNUSED, Fate.MISSING, Fate.SKIPPED, Fate.REFUSED, Fate.DISCARDED)


class FrameBook:
    """Counts the fates of frames and tells each that is out of the ordinary, by number.

    Parameters
    ----------
    tell : callable
        Takes fate, first number, how many, and a reason; puts it on the wire.

    Attributes
    ----------
    counts : dict of Fate to int

    Notes
    -----
    From the first number seen to the last, every one is decided, unused, missing, skipped, refused or discarded: these
    sum up to the span. Late and blanked frames are among the decided; repeated ones and those out of order are messages
    beyond that (the number of the latter has been counted as missing before).
    """

    def __init__(self, tell: Callable[[Fate, int, int, str], None]) -> None:
        self._tell = tell
        self.counts = dict.fromkeys(Fate, 0)
        self.first: int | None = None
        self.last: int | None = None

    def note(self, fate: Fate, first: int, n: int = 1, reason: str = "") -> None:
        """Count `n` frames from number `first` on, and tell them unless they are simply decided, or not live."""
        self.counts[fate] += n
        if fate not in (Fate.DECIDED, Fate.UNUSED):
            self._tell(fate, first, n, reason)

    def saw(self, index: int) -> None:
        """A number that is new."""
        if self.first is None:
            self.first = index
        self.last = index

    @property
    def n_unaccounted(self) -> int:
        """Numbers of the span that have no fate: 0, or there is a fault in the accounting."""
        if self.first is None or self.last is None:
            return 0
        return self.last - self.first + 1 - sum(self.counts[fate] for fate in _EXCLUSIVE)

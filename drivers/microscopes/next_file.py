"""When a file that a vendor has been writing is over: the next one has been there for a while."""

from __future__ import annotations

from collections.abc import Callable


class NextFile:
    """Looks now and then whether there is a later file; the one before may still grow for a while.

    Parameters
    ----------
    is_there : callable
        Whether there is one that has not been followed yet.
    look_ns : int
        How often it is looked for.
    grows_ns : int
        How long the file before may still grow after it has appeared.
    """

    def __init__(self, is_there: Callable[[], bool], look_ns: int, grows_ns: int) -> None:
        self._is_there, self._look_ns, self._grows_ns = is_there, look_ns, grows_ns
        self._look_due_ns = 0
        self._since_ns: int | None = None

    def has_come(self, now_ns: int) -> bool:
        """True when a later file has been there for so long; ask it where the present one gives nothing."""
        if now_ns < self._look_due_ns:
            return False
        self._look_due_ns = now_ns + self._look_ns
        if not self._is_there():
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = now_ns
        return now_ns - self._since_ns >= self._grows_ns

    def forget(self) -> None:
        """It is followed: wait for the one after it."""
        self._since_ns = None

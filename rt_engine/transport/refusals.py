"""Who was refused what, kept until the log of a service takes it, and never more than a log can bear."""

from __future__ import annotations

from collections import OrderedDict, deque

from rt_engine.interfaces.clock import NS_PER_S, Clock, MonotonicClock

WINDOW_NS = 10 * NS_PER_S
MOST_IN_WINDOW = 20
"""Sentences of one window; what is refused beyond them is counted, and the count told once the window is over."""
_REMEMBERED = 200


class Refusals:
    """Sentences of whoever refuses, from any thread of one process.

    Parameters
    ----------
    clock : Clock, optional
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or MonotonicClock()
        self._waiting: deque[str] = deque()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._began_ns = self._clock.now_ns()
        self._n_in_window = self._n_unnamed = 0

    def note(self, text: str) -> None:
        """Keep a refusal: the same one the first time, then at every tenfold of its number."""
        n = self._seen.pop(text, 0) + 1
        self._seen[text] = n
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if n > 1 and str(n).strip("0") != "1":
            return
        self._turn_window()
        self._n_in_window += 1
        if self._n_in_window > MOST_IN_WINDOW:
            self._n_unnamed += 1
        else:
            self._waiting.append(text if n == 1 else f"{text} ({n} times)")

    def take(self) -> list[str]:
        """Refusals since the last call, as sentences."""
        self._turn_window()
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    def _turn_window(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._began_ns < WINDOW_NS:
            return
        if self._n_unnamed:
            self._waiting.append(f"refused {self._n_unnamed} more, which are not named: too many at once")
        self._began_ns, self._n_in_window, self._n_unnamed = now_ns, 0, 0

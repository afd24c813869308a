"""A level over time: what a line or an analogue output of a simulated card has done, and what is scheduled on it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Signal:
    """Steps of a level; those in the future are scheduled and can be cut.

    Parameters
    ----------
    level : float
        Before the first step.
    """

    def __init__(self, level: float = 0.0) -> None:
        self._t_ns: list[int] = []
        self._levels: list[float] = []
        self._before = level

    def at(self, t_ns: int) -> float:
        """Level at a time."""
        i = bisect_right(self._t_ns, t_ns)
        return self._levels[i - 1] if i else self._before

    def step(self, t_ns: int, level: float) -> bool:
        """From `t_ns` on be at `level`, whatever was scheduled after it; True if that is a rising edge."""
        self.cut(t_ns - 1)
        before = self.at(t_ns)
        if level != before:
            self._t_ns.append(t_ns)
            self._levels.append(level)
        return before <= 0 < level

    def cut(self, t_ns: int) -> None:
        """Forget what is scheduled after `t_ns`: the level stays as it is then."""
        i = bisect_right(self._t_ns, t_ns)
        del self._t_ns[i:], self._levels[i:]

    def steps(self, since_ns: int = 0) -> list[tuple[int, float]]:
        """Every step from `since_ns` on, in order."""
        i = bisect_left(self._t_ns, since_ns)
        return list(zip(self._t_ns[i:], self._levels[i:], strict=True))

    def rises(self, since_ns: int, until_ns: int) -> list[int]:
        """Times of the steps from nothing to something in [since, until)."""
        first, last = bisect_left(self._t_ns, since_ns), bisect_left(self._t_ns, until_ns)
        found, before = [], self.at(since_ns - 1)
        for i in range(first, last):
            if before <= 0 < self._levels[i]:
                found.append(self._t_ns[i])
            before = self._levels[i]
        return found


def both(a: Signal, b: Signal, since_ns: int = 0) -> list[tuple[int, float]]:
    """Steps of what an AND gate behind two signals lets through: the level of `a` while `b` is high."""
    times = sorted({t for t, _ in a.steps(since_ns)} | {t for t, _ in b.steps(since_ns)})
    found: list[tuple[int, float]] = []
    level = a.at(since_ns - 1) if b.at(since_ns - 1) > 0 else 0.0
    for t_ns in times:
        now = a.at(t_ns) if b.at(t_ns) > 0 else 0.0
        if now != level:
            found.append((t_ns, now))
            level = now
    return found

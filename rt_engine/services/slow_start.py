"""What is said when services take long to start: the first time after an installation they compile their kernels."""

from __future__ import annotations

from collections.abc import Callable

from rt_engine.interfaces.clock import NS_PER_S, Clock

START_TIMEOUT_S = 900.0
"""All kernels compiled anew takes a minute on a free computer, and many on a busy one."""
_PATIENCE_S = 15.0


class SlowStart:
    """Says once who is still starting, and why that may be."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self._due_ns = clock.now_ns() + int(_PATIENCE_S * NS_PER_S)
        self._told = False

    def look(self, starting: list[str]) -> None:
        """Called again and again with the services that are not ready."""
        if self._told or not starting or self._clock.now_ns() < self._due_ns:
            return
        self._told = True
        self._say(
            f"  still starting: {', '.join(starting)} (after an installation kernels are compiled, a minute or more)"
        )

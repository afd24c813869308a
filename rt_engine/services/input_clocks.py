"""Drift, jitter and uncertainty of the clocks of inputs, told now and then, so that they stand in the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.inputs import AnyInput, TellsClock
from rt_engine.recording.input_clocks import CLOCKS_FIELD, clock_in_words

FIRST_NS = 10 * NS_PER_S
PERIOD_NS = 60 * NS_PER_S


class InputClockTeller:
    """Tells the clocks of inputs on topic ``log``: ten seconds after the start, and then once a minute.

    Parameters
    ----------
    clock : Clock
    say : callable
        Told a level, a sentence and fields.
    """

    def __init__(self, clock: Clock, say: Callable[..., None]) -> None:
        self._clock, self._say = clock, say
        self._due_ns = clock.now_ns() + FIRST_NS

    def step(self, devices: Mapping[str, AnyInput]) -> None:
        """Tell them if it is time; call it in every turn."""
        now_ns = self._clock.now_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + PERIOD_NS
        self.tell(devices)

    def tell(self, devices: Mapping[str, AnyInput]) -> None:
        """Tell them now: of every input that has seen an edge since it last told."""
        for name, device in devices.items():
            if isinstance(device, TellsClock) and (told := device.tell_clock()) is not None:
                self._say("info", f"input {name}: {clock_in_words(told)}", **{CLOCKS_FIELD: {name: told._asdict()}})

"""What the interlock says right before light: the driver asks once it has prepared everything."""

from __future__ import annotations

from collections.abc import Callable

from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.errors import WithdrawnError
from rt_engine.interfaces.messages import Outcome

Objection = tuple[Outcome, str]


class LastWord:
    """The last judgement of one request; belongs to the stimulation thread.

    Parameters
    ----------
    output : str
        Name of the output that asks.
    clock : Clock
    judge : callable
        Given the time, why the train may not begin now, or None.

    Attributes
    ----------
    objection : (Outcome, str) or None
        What was objected when it was asked last.
    over : bool
        True once the request has been answered: from then on it is no.
    """

    def __init__(self, output: str, clock: Clock, judge: Callable[[int], Objection | None]) -> None:
        self._output, self._clock, self._judge = output, clock, judge
        self._granted_ns: int | None = None
        self.objection: Objection | None = None
        self.over = False

    def ask(self) -> int:
        """The time, if the train may begin now; see `PulseCommand.last_word`. Raises WithdrawnError."""
        if self.over:
            raise WithdrawnError(f"{self._output}: this request has been answered")
        now_ns = self._clock.now_ns()
        self.objection = self._judge(now_ns)
        self._granted_ns = None if self.objection else now_ns
        if self.objection is not None:
            raise WithdrawnError(f"{self._output}: {self.objection[1]}")
        return now_ns

    def disobeyed(self, t_command_ns: int) -> str:
        """Of an output that says it has begun: what it did against the last word; empty if nothing.

        Parameters
        ----------
        t_command_ns : int
            When it says it called its device.
        """
        if self.objection is not None:
            return f"it began although the interlock said no: {self.objection[1]}"
        if self._granted_ns is None:
            return "it began without asking for the last word"
        if t_command_ns != self._granted_ns:
            late_ms = (t_command_ns - self._granted_ns) / NS_PER_MS
            return f"it began {late_ms:g} ms after the last word that it had asked for"
        return ""

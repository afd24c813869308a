"""Arming at the start of a run whose outputs are all virtual; where a person must act first, the run goes on dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import ServiceError
from rt_engine.safety.states import InterlockState, Precondition
from rt_engine.safety.status import remedies

_SURE_NS = 2 * NS_PER_S
"""So long a person's act must have been all that is missing: an input may not have been read at the first look."""
_OF_A_PERSON = {Precondition.STOP_LINE_CLOSED.value, "reset"}


def arm_or_say_why(
    ask: Callable[..., dict[str, Any]], turn: Callable[[], None], clock: Clock, patience_s: float
) -> str | None:
    """Arm as soon as the interlock allows it.

    Parameters
    ----------
    ask : callable
        Takes a command of the stimulation service and its arguments, and returns the result.
    turn : callable
        One turn of the run while this waits; what it raises ends the waiting.
    clock : Clock
    patience_s : float

    Returns
    -------
    str or None
        None if armed; else in words what a person must do first, an open stop line or a trip.

    Raises
    ------
    ServiceError
        Something else was still missing after `patience_s`.
    """
    deadline_ns = clock.now_ns() + round(patience_s * NS_PER_S)
    sure_ns: int | None = None
    while True:
        status = ask("status")
        if status["can_arm"]:
            ask("arm", {"automatic": True})
            return None
        missing = remedies(status["preconditions"], InterlockState(status["interlock"]))
        missing.pop(Precondition.OPERATOR, None)
        now_ns = clock.now_ns()
        if not missing.keys() <= _OF_A_PERSON:
            sure_ns = None
        elif sure_ns is None:
            sure_ns = now_ns + _SURE_NS
        if missing and sure_ns is not None and now_ns >= sure_ns:
            return "; ".join(missing.values())
        if now_ns > deadline_ns:
            names = ", ".join(missing) or "nothing of the interlock"
            raise ServiceError(
                f"waited {patience_s:g} s for the interlock; missing: {names}", "; ".join(missing.values())
            )
        turn()

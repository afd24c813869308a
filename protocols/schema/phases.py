"""Section `phases`: an explicit state machine. The first phase listed is the one a session starts in."""

from __future__ import annotations

from pydantic import Field

from protocols.schema.cells import Name
from rt_engine.interfaces.strict import Strict


class Reaction(Strict):
    """What follows from a trigger while the phase lasts. Of several in one message the first listed wins."""

    trigger: Name
    do: tuple[Name, ...] = Field((), description="actions")
    trial: bool = Field(False, description="an eligible moment: the design draws its arm")
    go_to: Name | None = Field(None, description="a phase; null: stay")


class Timeout(Strict):
    """What happens when the phase has lasted this long."""

    after_ms: float = Field(gt=0, le=86_400_000)
    do: tuple[Name, ...] = ()
    go_to: Name


class Phase(Strict):
    """One state. A clamp started on entry lasts until the phase ends."""

    enter: tuple[Name, ...] = Field((), description="actions on entry")
    reactions: tuple[Reaction, ...] = ()
    timeout: Timeout | None = None

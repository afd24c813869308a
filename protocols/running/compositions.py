"""Conditions made of conditions, and the triggers that come of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.running.conditions import Node
from protocols.running.tick import NEVER_NS, Tick, TickKind
from rt_engine.interfaces.clock import NS_PER_MS


class AllNode(Node):
    """All parts hold."""

    def __init__(self, parts: Sequence[Node]) -> None:
        super().__init__()
        self._parts = tuple(parts)
        self.momentary = any(part.momentary for part in parts)
        self.uses_activity = any(part.uses_activity for part in parts)

    def update(self, tick: Tick) -> None:
        """Look at the parts, which have been updated before."""
        self.true = all(part.true for part in self._parts)

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Cells of all parts that hold."""
        rows = [row for part in self._parts if part.true for row in part.rows(tick).tolist()]
        return np.array(list(dict.fromkeys(rows)), np.int64)

    def consume(self) -> None:
        """Use up every part that holds."""
        for part in self._parts:
            if part.true:
                part.consume()


class AnyNode(AllNode):
    """At least one part holds."""

    def update(self, tick: Tick) -> None:
        """Look at the parts, which have been updated before."""
        self.true = any(part.true for part in self._parts)


class NotNode(Node):
    """The part does not hold. It lasts, also where its part is momentary."""

    def __init__(self, part: Node) -> None:
        super().__init__()
        self._part = part
        self.uses_activity = part.uses_activity

    def update(self, tick: Tick) -> None:
        """Look at the part."""
        self.true = not self._part.true


class HoldNode(Node):
    """The part has held for some time without a break."""

    def __init__(self, part: Node, hold_ms: float) -> None:
        super().__init__()
        self._part, self._hold_ns = part, round(hold_ms * NS_PER_MS)
        self.uses_activity = part.uses_activity
        self._since_ns = NEVER_NS

    def update(self, tick: Tick) -> None:
        """Count the time since it became true."""
        if not self._part.true:
            self._since_ns = NEVER_NS
        elif self._since_ns == NEVER_NS:
            self._since_ns = tick.t_ns
        self.true = self._since_ns != NEVER_NS and tick.t_ns - self._since_ns >= self._hold_ns

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Cells of the part."""
        return self._part.rows(tick)


class Trigger:
    """A named condition that a phase may react to.

    Parameters
    ----------
    name : str
    node : Node
    refractory_ms : float
    while_true : bool
    """

    def __init__(self, name: str, node: Node, refractory_ms: float, while_true: bool) -> None:
        self.name, self.node = name, node
        self.refractory_ms = refractory_ms
        self._refractory_ns = round(refractory_ms * NS_PER_MS)
        self._while_true = while_true
        self._was_true = False
        self._fired_ns = NEVER_NS
        self.kind = TickKind.ACTIVITY if node.uses_activity and not _needs_spikes(node) else TickKind.SPIKES

    def begin_phase(self) -> None:
        """What is true when a phase begins may trigger in it."""
        self._was_true = False

    def is_due(self) -> bool:
        """True if the condition asks for a trigger now, refractory or not."""
        if not self.node.true:
            self._was_true = False
            return False
        was, self._was_true = self._was_true, True
        return not was or self.node.momentary or self._while_true

    def refractory_left(self, t_ns: int) -> str | None:
        """Why it is suppressed, with numbers; None if the refractory time is over."""
        since_ns = t_ns - self._fired_ns
        if since_ns >= self._refractory_ns:
            return None
        return f"refractory_ms {since_ns / NS_PER_MS:.1f} is below {self.refractory_ms:g}"

    @property
    def reports_refractory(self) -> bool:
        """True if a suppressed trigger is worth a word: not where it merely waits for its next turn."""
        return not (self._while_true and not self.node.momentary)

    def fire(self, t_ns: int) -> None:
        """The trigger counts: the refractory time begins, what made it is used up."""
        self._fired_ns = t_ns
        self.node.consume()


def _needs_spikes(node: Node) -> bool:
    """True if a momentary part of it comes with `spikes` messages."""
    if isinstance(node, AllNode):
        return any(_needs_spikes(part) for part in node._parts)
    if isinstance(node, HoldNode | NotNode):
        return _needs_spikes(node._part)
    return node.momentary and not node.uses_activity

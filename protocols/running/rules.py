"""Rules of other packages: an entry point in the group `spikeloop.rules` names a function that makes one.

The function is called as ``make(cells, parameters)`` with the `roi_id` of the group and the mapping of the protocol
file, and returns an object with the attribute and method of `CustomRule`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.running.channels import EventChannels
from protocols.running.conditions import Node, unique_rows
from protocols.running.tick import Tick
from rt_engine.interfaces.errors import ConfigError

GROUP = "spikeloop.rules"


class CustomRule(Protocol):
    """A condition written in Python.

    Attributes
    ----------
    momentary : bool
        True if it holds at moments, false if it lasts.
    """

    momentary: bool

    def on_events(self, t_scan_ns: int, events: NDArray[np.void]) -> bool:
        """Called for every `spikes` message while live, also when it is empty, in the thread of the decision.

        It may use no clock but `t_scan_ns` and no randomness but its own seeded one, so that a replay decides alike;
        it may not block, and owns its state. Tens of microseconds are its budget.

        Parameters
        ----------
        t_scan_ns : int
        events : EVENT_DTYPE ndarray, shape (n_events,), in order of `t_event_ns`, of the group's cells, read

        Returns
        -------
        bool
            True if the condition holds now.
        """
        ...


def make_rule(name: str, cells: tuple[int, ...], parameters: dict[str, Any], key: str) -> CustomRule:
    """A rule of another package.

    Raises
    ------
    ConfigError
        No package offers it, it cannot be imported, or it does not take these parameters.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise ConfigError(f"no installed package offers the rule {name!r}", f"installed: {known}", key=f"{key}.rule")
    try:
        rule: CustomRule = points[name].load()(cells, dict(parameters))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the rule {name!r} cannot be imported: {error}", key=f"{key}.rule") from error
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the rule {name!r} does not take this: {type(error).__name__}: {error}", key=f"{key}.parameters"
        ) from error
    if not callable(getattr(rule, "on_events", None)) or not isinstance(getattr(rule, "momentary", None), bool):
        raise ConfigError(f"the rule {name!r} has no on_events or no momentary", key=f"{key}.rule")
    return rule


class RuleNode(Node):
    """See `schema.triggers.Rule`."""

    def __init__(self, rule: CustomRule, channels: EventChannels, channel: int) -> None:
        super().__init__()
        self._rule, self._channels, self._channel = rule, channels, channel
        self.momentary = rule.momentary

    def update(self, tick: Tick) -> None:
        """Ask the rule."""
        events = tick.events[:0]
        if self._channels.counts[self._channel]:
            events = tick.events[self._channels.hits(self._channel)]
        self.true = bool(self._rule.on_events(tick.t_ns, events))

    def rows(self, tick: Tick) -> NDArray[np.int64]:
        """Cells of its group with an event in this message."""
        if not self._channels.counts[self._channel]:
            return np.zeros(0, np.int64)
        return unique_rows(tick.rows[self._channels.hits(self._channel)])

"""From the section `triggers` to conditions at work, each built once however often it is named."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.rois import Group
from protocols.running.channels import EventChannels
from protocols.running.coincidences import CoincidenceNode, LastEvents
from protocols.running.compositions import AllNode, AnyNode, HoldNode, NotNode, Trigger
from protocols.running.conditions import (
    DoseNode,
    EventNode,
    KeyNode,
    LevelNode,
    LineNode,
    LineState,
    Node,
    RegionNode,
    ScheduleNode,
    SequenceNode,
    SilenceNode,
)
from protocols.running.rules import RuleNode, make_rule
from protocols.running.signals import Signal
from protocols.running.tick import Tick, TickKind
from protocols.schema import triggers as schema
from rt_engine.interfaces.errors import ConfigError


class TriggerBank:
    """Every condition and trigger of a protocol.

    Parameters
    ----------
    configs : mapping of str to Condition
    groups : mapping of str to Group
    row_of : mapping of int to int
        `roi_id` to row.
    signals : mapping of str to Signal
    channels : EventChannels
        Not frozen yet.
    seed : int

    Attributes
    ----------
    by_name : dict of str to Trigger
    lines : dict of str to LineState
        Behaviour lines that some condition looks at.
    keys : set of str
        Keys that some condition waits for.
    pressed : set of str
        Keys pressed since the last tick.
    """

    def __init__(
        self,
        configs: Mapping[str, schema.Condition],
        groups: Mapping[str, Group],
        row_of: Mapping[int, int],
        signals: Mapping[str, Signal],
        channels: EventChannels,
        seed: int,
    ) -> None:
        self._configs, self._groups, self._row_of = configs, groups, row_of
        self._signals, self._channels, self._seed = signals, channels, seed
        self.lines: dict[str, LineState] = {}
        self.keys: set[str] = set()
        self.pressed: set[str] = set()
        self._nodes: list[Node] = []
        self._last: dict[float, LastEvents] = {}
        self._named: dict[str, Node] = {}
        self.by_name: dict[str, Trigger] = {}
        for name, config in configs.items():
            node = self._node_of(name)
            self.by_name[name] = Trigger(name, node, config.refractory_ms, config.while_true)
        composed = (AllNode, NotNode, HoldNode)
        self._listeners = [(node, node.listens_to) for node in self._nodes if node.listens_to]
        lasting = [node for node in self._nodes if not node.listens_to]
        self._by_kind = {
            TickKind.SPIKES: [n for n in lasting if not n.uses_activity or isinstance(n, composed)],
            TickKind.ACTIVITY: [n for n in lasting if n.uses_activity],
        }

    def update(self, tick: Tick) -> None:
        """Look at everything that this kind of message can change; parts before what is made of them."""
        if tick.kind is TickKind.SPIKES:
            for last in self._last.values():
                last.update(tick)
            counts = self._channels.counts
            for node, channels in self._listeners:
                if node.true or counts[channels[0]] or counts[channels[-1]]:
                    node.update(tick)
        for node in self._by_kind[tick.kind]:
            node.update(tick)

    def _node_of(self, name: str) -> Node:
        if name not in self._named:
            self._named[name] = self._build(self._configs[name], f"triggers.{name}")
        return self._named[name]

    def _build(self, config: schema.Condition, key: str) -> Node:
        node = self._leaf(config, key) or self._composition(config, key)
        self._nodes.append(node)
        if config.hold_ms > 0:
            if node.momentary:
                raise ConfigError("a moment cannot be held", "hold a rate or a level", key=f"{key}.hold_ms")
            node = HoldNode(node, config.hold_ms)
            self._nodes.append(node)
        return node

    def _composition(self, config: schema.Condition, key: str) -> Node:
        if isinstance(config, schema.Not):
            return NotNode(self._part(config.of, f"{key}.of"))
        if isinstance(config, schema.All | schema.AnyOf):
            parts = [self._part(part, f"{key}.of.{i}") for i, part in enumerate(config.of)]
            return AllNode(parts) if isinstance(config, schema.All) else AnyNode(parts)
        raise ConfigError(f"no condition is called {config.when!r}", key=key)

    def _part(self, part: str | schema.Condition, key: str) -> Node:
        if isinstance(part, str):
            return self._node_of(part)
        if part.refractory_ms > 0 or part.while_true:
            raise ConfigError("refractory_ms and while_true belong to a trigger with a name", key=key)
        return self._build(part, key)

    def _rows(self, group: str) -> tuple[int, ...]:
        return tuple(self._row_of[i] for i in self._groups[group].ids)

    def _channel(self, group: str, min_probability: float = 0.0, min_spikes: float = 0.0) -> int:
        return self._channels.add(self._rows(group), min_probability, min_spikes)

    def _leaf(self, config: schema.Condition, key: str) -> Node | None:
        channels = self._channels
        match config:
            case schema.Event():
                return EventNode(channels, self._channel(config.cells, config.min_probability, config.min_spikes))
            case schema.Coincidence():
                channel = self._channel(config.cells, config.min_probability)
                last = self._last.setdefault(
                    config.min_probability, LastEvents(len(self._row_of), config.min_probability)
                )
                return CoincidenceNode(config, channels, channel, self._rows(config.cells), last)
            case schema.Sequence():
                first, then = (self._channel(one, config.min_probability) for one in (config.first, config.then))
                return SequenceNode(config, channels, first, then)
            case schema.Silence():
                return SilenceNode(config, channels, self._channel(config.cells))
            case schema.Rule():
                channel = self._channel(config.cells)
                rule = make_rule(config.rule, self._groups[config.cells].ids, config.parameters, key)
                return RuleNode(rule, channels, channel)
        return self._outer_leaf(config)

    def _outer_leaf(self, config: schema.Condition) -> Node | None:
        """Leaves that look at anything but events."""
        signals = self._signals
        match config:
            case schema.Above() | schema.Below() | schema.Inside():
                return LevelNode.of(config, signals[config.signal])
            case schema.Region():
                return RegionNode(config, tuple(signals[one] for one in config.signals))
            case schema.Dose():
                return DoseNode(config, signals[config.signal])
            case schema.Line():
                return LineNode(config, self.lines)
            case schema.Schedule():
                return ScheduleNode(config, np.random.Generator(np.random.PCG64([self._seed, 2, len(self._nodes)])))
            case schema.Key():
                self.keys.add(config.key)
                return KeyNode(config.key, self.pressed)
        return None


def ids_of(rows: NDArray[np.int64], roi_id: NDArray[np.uint32]) -> tuple[int, ...]:
    """Identities of rows."""
    return tuple(roi_id[rows].tolist())

"""Everything that a protocol refers to by name exists in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from protocols.schema.actions import Clamp, LightAction, OneOf, Pulse
from protocols.schema.cells import ControlSites
from protocols.schema.protocol import ProtocolConfig
from protocols.schema.triggers import Above, All, AnyOf, Below, Condition, Dose, Inside, Not, Region, Sequence
from rt_engine.interfaces.errors import ConfigError


def check_references(config: ProtocolConfig, file: str = "") -> None:
    """Refuse a name that nothing has, and a thing where it cannot work.

    Raises
    ------
    ConfigError
        Naming the file, the key, and what there is.
    """
    for key, name, section, known in (*_cells(config), *_triggers(config), *_actions(config), *_phases(config)):
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"there is no {name!r} in `{section}`", f"there is: {there}", file=file, key=key)
    for name in config.triggers:
        _refuse_circles(config.triggers, name, (), file)
    for key, text in (*_misplaced_sites(config), *_misplaced_actions(config)):
        raise ConfigError(text, file=file, key=key)


_Reference = tuple[str, str, str, Mapping[str, Any]]


def conditions(trigger: Condition) -> Iterator[Condition]:
    """A condition and all that stand inside it, names not followed."""
    yield trigger
    parts = trigger.of if isinstance(trigger, All | AnyOf) else (trigger.of,) if isinstance(trigger, Not) else ()
    for part in parts:
        if not isinstance(part, str):
            yield from conditions(part)


def _cells(config: ProtocolConfig) -> Iterator[_Reference]:
    for name, group in config.cells.items():
        for other in group.but_not:
            yield f"cells.{name}.but_not", other, "cells", config.cells
    for name, signal in config.signals.items():
        yield f"signals.{name}.cells", signal.cells, "cells", config.cells


def _triggers(config: ProtocolConfig) -> Iterator[_Reference]:
    for name, trigger in config.triggers.items():
        for part in conditions(trigger):
            key = f"triggers.{name}"
            if isinstance(part, Sequence):
                yield f"{key}.first", part.first, "cells", config.cells
                yield f"{key}.then", part.then, "cells", config.cells
            elif hasattr(part, "cells"):
                yield f"{key}.cells", part.cells, "cells", config.cells
            for signal in signals_of(part):
                yield f"{key}.signal", signal, "signals", config.signals
            for one in named_parts(part):
                yield f"{key}.of", one, "triggers", config.triggers


def signals_of(condition: Condition) -> tuple[str, ...]:
    """Signals that a condition looks at itself."""
    if isinstance(condition, Above | Below | Inside | Dose):
        return (condition.signal,)
    return condition.signals if isinstance(condition, Region) else ()


def named_parts(condition: Condition) -> tuple[str, ...]:
    """Triggers that a condition is composed of by name."""
    if isinstance(condition, All | AnyOf):
        return tuple(part for part in condition.of if isinstance(part, str))
    return (condition.of,) if isinstance(condition, Not) and isinstance(condition.of, str) else ()


def _actions(config: ProtocolConfig) -> Iterator[_Reference]:
    for name, action in config.actions.items():
        if isinstance(action, LightAction):
            for group in target_groups(action):
                yield f"actions.{name}.targets", group, "cells", config.cells
        if isinstance(action, Clamp):
            yield f"actions.{name}.signal", action.signal, "signals", config.signals


def target_groups(action: LightAction) -> tuple[str, ...]:
    """Groups that an action lights; empty for the cells that triggered."""
    if isinstance(action.targets, OneOf):
        return action.targets.one_of
    return () if action.targets == "triggering" else (action.targets,)


def _phases(config: ProtocolConfig) -> Iterator[_Reference]:
    for name, phase in config.phases.items():
        key = f"phases.{name}"
        yield from _named(f"{key}.enter", phase.enter, config)
        for index, reaction in enumerate(phase.reactions):
            yield f"{key}.reactions.{index}.trigger", reaction.trigger, "triggers", config.triggers
            yield from _named(f"{key}.reactions.{index}.do", reaction.do, config)
            if reaction.go_to is not None:
                yield f"{key}.reactions.{index}.go_to", reaction.go_to, "phases", config.phases
        if phase.timeout is not None:
            yield from _named(f"{key}.timeout.do", phase.timeout.do, config)
            yield f"{key}.timeout.go_to", phase.timeout.go_to, "phases", config.phases
    design = config.design
    for name, arm in design.arms.items():
        yield from _named(f"design.arms.{name}.do", arm.do, config)
    if design.blocks is not None:
        for name, block in design.blocks.kinds.items():
            yield from _named(f"design.blocks.kinds.{name}.do", [block.do] if block.do else [], config)
    if design.response is not None:
        yield "design.response.signal", design.response.signal, "signals", config.signals
    if design.map is not None and design.map.control is not None:
        yield "design.map.control", design.map.control, "cells", config.cells


def _named(key: str, names: Iterable[str], config: ProtocolConfig) -> Iterator[_Reference]:
    for name in names:
        yield key, name, "actions", config.actions


def _refuse_circles(triggers: Mapping[str, Condition], name: str, path: tuple[str, ...], file: str) -> None:
    if name in path:
        raise ConfigError("triggers refer to each other in a circle: " + " → ".join((*path, name)), file=file)
    for part in conditions(triggers[name]):
        for other in named_parts(part):
            _refuse_circles(triggers, other, (*path, name), file)


def _misplaced_sites(config: ProtocolConfig) -> Iterator[tuple[str, str]]:
    """Control sites have no activity: they can only be lit."""
    sites = {name for name, group in config.cells.items() if isinstance(group, ControlSites)}
    for key, name, section, _ in (*_cells(config), *_triggers(config)):
        if section == "cells" and name in sites and not key.endswith("but_not"):
            yield key, f"{name!r} are control sites: there is no cell to listen to"
    if config.design.map is not None and config.design.map.control not in {None, *sites}:
        yield "design.map.control", f"{config.design.map.control!r} are cells, not control sites"


def _misplaced_actions(config: ProtocolConfig) -> Iterator[tuple[str, str]]:
    clamps = {name for name, action in config.actions.items() if isinstance(action, Clamp)}
    for name, action in config.actions.items():
        if isinstance(action, Clamp) and not isinstance(action.targets, str):
            yield f"actions.{name}.targets", "a clamp lights one group"
        if isinstance(action, Clamp) and action.targets == "triggering":
            yield f"actions.{name}.targets", "a clamp has no trigger: name a group"
    for name, phase in config.phases.items():
        for index, reaction in enumerate(phase.reactions):
            if clamps & set(reaction.do):
                yield f"phases.{name}.reactions.{index}.do", "a clamp belongs to `enter` of a phase"
            lights = [one for one in reaction.do if isinstance(config.actions[one], LightAction)]
            if reaction.trial and len(lights) != 1:
                yield f"phases.{name}.reactions.{index}.do", f"a trial has one light action, this has {len(lights)}"
        quick = (*phase.enter, *(phase.timeout.do if phase.timeout else ()))
        for one in quick:
            action = config.actions[one]
            if isinstance(action, LightAction) and action.targets == "triggering":
                yield f"phases.{name}", f"{one!r} lights the triggering cells, and here there is no trigger"
    yield from _misplaced_in_design(config)


def _misplaced_in_design(config: ProtocolConfig) -> Iterator[tuple[str, str]]:
    for name, arm in config.design.arms.items():
        if arm.do and not all(isinstance(config.actions[one], Pulse) for one in arm.do):
            yield f"design.arms.{name}.do", "a sham is a pulse"
        if len(arm.do) > 1:
            yield f"design.arms.{name}.do", "a sham is one pulse"
    for name, block in (config.design.blocks.kinds if config.design.blocks else {}).items():
        if block.do is not None:
            action = config.actions[block.do]
            if not isinstance(action, Pulse) or action.targets == "triggering":
                yield f"design.blocks.kinds.{name}.do", "must be a pulse with targets of its own"

"""Conditions that can never hold, phases that nothing leads to, names that nothing uses."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from protocols.checking.demand import most_members, reachable_phases
from protocols.checking.findings import Finding, Verdict
from protocols.references import conditions, named_parts, signals_of, target_groups
from protocols.schema.actions import Clamp, LightAction
from protocols.schema.protocol import ProtocolConfig
from protocols.schema.signals import ActivityField, ProjectionSignal, RateSignal, Statistic
from protocols.schema.triggers import (
    Above,
    All,
    Below,
    Coincidence,
    Condition,
    Dose,
    Event,
    Inside,
    Key,
    Line,
    Not,
    Schedule,
    Sequence,
)

_MOMENTS = (Event, Coincidence, Sequence, Dose, Schedule, Key)


def check_logic(config: ProtocolConfig) -> Iterator[Finding]:
    """Findings on triggers, phases and unused names."""
    for name, trigger in config.triggers.items():
        for part in conditions(trigger):
            for text in _never_holds(config, part):
                yield Finding(Verdict.ERROR, f"triggers.{name}", f"can never hold: {text}")
            if part.hold_ms > 0 and _is_momentary(config, part):
                yield Finding(Verdict.ERROR, f"triggers.{name}.hold_ms", "a moment cannot be held; hold a level")
    reachable = reachable_phases(config)
    for phase in config.phases:
        if phase not in reachable:
            yield Finding(Verdict.ERROR, f"phases.{phase}", "no way leads to this phase")
        elif _is_dead_end(config, phase):
            yield Finding(Verdict.WARNING, f"phases.{phase}", "no way leads out of this phase")
    yield from _unused(config)
    if not any(reaction.trial for phase in config.phases.values() for reaction in phase.reactions):
        if config.design.arms:
            yield Finding(Verdict.ERROR, "design.arms", "no reaction is a `trial`: the arms are never drawn")
    elif not config.design.arms and config.design.map is None and config.design.blocks is None:
        yield Finding(
            Verdict.WARNING,
            "design.arms",
            "every eligible trigger gets light: without withheld trials a before-and-after comparison misleads",
        )


def check_lines(config: ProtocolConfig, inputs: Collection[str]) -> Iterator[Finding]:
    """Errors for behaviour lines that the rig does not have: nothing would ever come from them.

    Parameters
    ----------
    config : ProtocolConfig
    inputs : collection of str
        Lines of the rig.
    """
    there = ", ".join(sorted(inputs)) or "none"
    for name, trigger in config.triggers.items():
        for part in conditions(trigger):
            if isinstance(part, Line) and part.line not in inputs:
                text = f"the rig has no line {part.line!r} among its `inputs`; there is: {there}"
                yield Finding(Verdict.ERROR, f"triggers.{name}.line", text)


def _is_dead_end(config: ProtocolConfig, name: str) -> bool:
    phase = config.phases[name]
    clamps = any(isinstance(config.actions[one], Clamp) for one in phase.enter)
    return not phase.reactions and phase.timeout is None and not clamps


def _is_momentary(config: ProtocolConfig, part: Condition) -> bool:
    if isinstance(part, Not):
        return False
    if isinstance(part, Line):
        return part.condition in ("rising", "falling")
    inner = [config.triggers[one] for one in named_parts(part)]
    inner += [one for one in conditions(part) if one is not part]
    return isinstance(part, _MOMENTS) or any(_is_momentary(config, one) for one in inner)


def signal_range(config: ProtocolConfig, name: str) -> tuple[float, float]:
    """Values that a signal can have."""
    signal = config.signals[name]
    if isinstance(signal, RateSignal):
        return 0.0, math.inf
    if isinstance(signal, ProjectionSignal):
        return -math.inf, math.inf
    if signal.statistic is Statistic.FRACTION_ABOVE or signal.field is ActivityField.PROBABILITY:
        return 0.0, 1.0
    return -math.inf, math.inf


def _band(part: Condition) -> tuple[str, float, float] | None:
    """Signal and band that a level condition asks for, ends excluded where it is one-sided."""
    match part:
        case Above():
            return part.signal, math.nextafter(part.level, math.inf), math.inf
        case Below():
            return part.signal, -math.inf, math.nextafter(part.level, -math.inf)
        case Inside():
            return part.signal, part.low, part.high
    return None


def _never_holds(config: ProtocolConfig, part: Condition) -> Iterator[str]:
    if isinstance(part, Coincidence):
        most = most_members(config, part.cells)
        if most is not None and part.k > most:
            yield f"{part.k} cells wanted of {part.cells!r}, which has at most {most}"
    band = _band(part)
    if band is not None:
        signal, low, high = band
        least, largest = signal_range(config, signal)
        if low > largest or high < least:
            yield f"{signal!r} is always between {least:g} and {largest:g}"
    after_s = config.design.stop.after_s
    if isinstance(part, Schedule) and after_s is not None:
        first_s = min(part.at_s) if part.at_s else part.first_s
        if first_s >= after_s:
            yield f"the session stops after {after_s:g} s"
    if isinstance(part, All):
        yield from _contradictions(config, part)


def _contradictions(config: ProtocolConfig, part: All) -> Iterator[str]:
    parts = [config.triggers[one] if isinstance(one, str) else one for one in part.of]
    bands: dict[str, tuple[float, float]] = {}
    for one in parts:
        band = _band(one)
        if band is None:
            continue
        signal, low, high = band
        least, largest = bands.get(signal, (-math.inf, math.inf))
        bands[signal] = max(least, low), min(largest, high)
    for signal, (low, high) in bands.items():
        if low > high:
            yield f"{signal!r} would have to be above {low:g} and below {high:g}"
    denied = [one.of for one in parts if isinstance(one, Not)]
    for opposite in denied:
        meant = config.triggers[opposite] if isinstance(opposite, str) else opposite
        if meant in parts:
            yield "it asks for a condition and for its opposite"
    levels = {(one.line, one.condition) for one in parts if isinstance(one, Line)}
    for line, condition in levels:
        if condition == "high" and (line, "low") in levels:
            yield f"line {line!r} would have to be high and low"


def _unused(config: ProtocolConfig) -> Iterator[Finding]:
    design = config.design
    phases = config.phases.values()
    actions = {one for phase in phases for one in phase.enter}
    actions |= {one for phase in phases for reaction in phase.reactions for one in reaction.do}
    actions |= {one for phase in phases if phase.timeout for one in phase.timeout.do}
    actions |= {one for arm in design.arms.values() for one in arm.do}
    actions |= {block.do for block in (design.blocks.kinds.values() if design.blocks else ()) if block.do}
    triggers = {reaction.trigger for phase in phases for reaction in phase.reactions}
    parts = [part for trigger in config.triggers.values() for part in conditions(trigger)]
    triggers |= {one for part in parts for one in named_parts(part)}
    signals = {one for part in parts for one in signals_of(part)}
    signals |= {one.signal for one in config.actions.values() if isinstance(one, Clamp)}
    signals |= {design.response.signal} if design.response else set()
    cells = {one for group in config.cells.values() for one in group.but_not}
    cells |= {signal.cells for signal in config.signals.values()}
    cells |= {str(getattr(part, "cells", "")) for part in parts}
    cells |= {one for part in parts if isinstance(part, Sequence) for one in (part.first, part.then)}
    cells |= {one for a in config.actions.values() if isinstance(a, LightAction) for one in target_groups(a)}
    cells |= {design.map.control} if design.map and design.map.control else set()
    for section, used in (("actions", actions), ("triggers", triggers), ("signals", signals), ("cells", cells)):
        for name in getattr(config, section):
            if name not in used:
                yield Finding(Verdict.WARNING, f"{section}.{name}", "nothing uses it")

"""The most light that a protocol can ask for: every source of it, and how often it can come."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from protocols.references import target_groups
from protocols.schema.actions import Clamp, LightAction, OneOf, Pulse, Ramp
from protocols.schema.cells import BestCells, CellsById, ControlSites, MostExcitableCells
from protocols.schema.design import BlockKind
from protocols.schema.protocol import ProtocolConfig
from protocols.schema.triggers import Schedule
from rt_engine.interfaces.stimulation import MAX_TARGETS


@dataclass(frozen=True, slots=True)
class Source:
    """One way in which an action comes about.

    Attributes
    ----------
    key : str
        Where it stands in the protocol file.
    action : str
    interval_ms : float
        Never sooner than this after its last time; 0 if nothing bounds it.
    bounded_by : str
        What bounds it, for people.
    """

    key: str
    action: str
    interval_ms: float
    bounded_by: str


@dataclass(frozen=True, slots=True)
class Burst:
    """What one firing of an action asks for: `pulses` of `power_mw` on at most `n_targets`, None if unknown."""

    pulses: int
    period_ms: float
    width_ms: float
    power_mw: float
    n_targets: int | None

    @property
    def duration_ms(self) -> float:
        """From the first rise to the last fall."""
        return (self.pulses - 1) * self.period_ms + self.width_ms


def pulses_in_window(burst: Burst, window_ms: float) -> float:
    """Most pulses of one burst in a window."""
    if burst.pulses == 1:
        return 1
    return min(burst.pulses, math.ceil(window_ms / burst.period_ms - 1e-9))


def most_pulses(source: Source, burst: Burst, window_ms: float) -> float:
    """Most pulses of a source that start in a window that closes without its end."""
    if source.interval_ms <= 0:
        return math.inf
    if math.isinf(source.interval_ms):
        return pulses_in_window(burst, window_ms)
    return math.ceil((window_ms + burst.duration_ms - burst.width_ms) / source.interval_ms - 1e-9) * burst.pulses


def burst_of(config: ProtocolConfig, action: LightAction) -> Burst:
    """The largest burst of an action."""
    n = _most_targets(config, action)
    match action:
        case Pulse():
            return Burst(action.pulses, action.period_ms or 0.0, action.width_ms, max(action.powers_mw()), n)
        case Ramp():
            return Burst(action.pulses, action.period_ms, action.width_ms, max(action.from_mw, action.to_mw), n)
        case Clamp():
            return Burst(1, action.period_ms, action.width_ms, action.max_mw, n)


def _most_targets(config: ProtocolConfig, action: LightAction) -> int | None:
    if isinstance(action.targets, OneOf):
        return 1
    if action.targets == "triggering":
        return MAX_TARGETS
    return most_members(config, target_groups(action)[0])


def most_members(config: ProtocolConfig, group: str) -> int | None:
    """Most members that a group can have; None if only the calibration knows."""
    selection = config.cells[group]
    if isinstance(selection, BestCells | MostExcitableCells | ControlSites):
        return selection.n
    return len(set(selection.ids)) if isinstance(selection, CellsById) else None


def sources(config: ProtocolConfig) -> Iterator[Source]:
    """Every way in which light can be asked for."""
    lights = {name for name, action in config.actions.items() if isinstance(action, LightAction)}
    for name, phase in config.phases.items():
        key, back_ms = f"phases.{name}", shortest_return_ms(config, name)
        for index, reaction in enumerate(phase.reactions):
            trigger = config.triggers[reaction.trigger]
            bounds = {"refractory_ms of " + reaction.trigger: trigger.refractory_ms}
            if isinstance(trigger, Schedule):
                bounds["the schedule of " + reaction.trigger] = _schedule_ms(trigger)
            if reaction.trial:
                bounds["inter_trial_ms"] = config.design.inter_trial_ms
            if reaction.go_to not in (None, name):
                bounds["the way back to this phase"] = back_ms
            why = max(bounds, key=lambda one: bounds[one])
            wanted = set(reaction.do)
            if reaction.trial:
                wanted |= {one for arm in config.design.arms.values() for one in arm.do}
            for one in sorted(wanted & lights):
                yield Source(f"{key}.reactions.{index}", one, bounds[why], why)
        for one in phase.enter:
            if one in lights:
                action = config.actions[one]
                is_clamp = isinstance(action, Clamp)
                period_ms = action.period_ms if isinstance(action, Clamp) else back_ms
                yield Source(f"{key}.enter", one, period_ms, "its period" if is_clamp else "the way back to this phase")
        if phase.timeout is not None:
            for one in phase.timeout.do:
                if one in lights:
                    yield Source(f"{key}.timeout", one, max(back_ms, phase.timeout.after_ms), "the time-out")
    yield from _block_sources(config)


def _schedule_ms(trigger: Schedule) -> float:
    """Shortest time between two moments of a schedule."""
    if trigger.every_s is not None:
        return (trigger.every_s - trigger.jitter_s) * 1e3
    times_s = sorted(trigger.at_s)
    return min((later - sooner - trigger.jitter_s for sooner, later in pairwise(times_s)), default=math.inf) * 1e3


def _block_sources(config: ProtocolConfig) -> Iterator[Source]:
    for name, block in (config.design.blocks.kinds if config.design.blocks else {}).items():
        if block.do is not None:
            what = "its partner alone" if block.kind is BlockKind.YOKED else f"chance, {block.rate_hz:g} Hz on average"
            yield Source(f"design.blocks.kinds.{name}", block.do, 0.0, what)


def shortest_return_ms(config: ProtocolConfig, phase: str) -> float:
    """Shortest time from entering a phase to entering it again; infinite if there is no way back.

    Notes
    -----
    A phase that is left by its time-out alone lasts that long; one that a trigger can end may last no time at all.
    """
    best = {phase: 0.0}
    queue = [(0.0, phase)]
    found = math.inf
    while queue:
        spent_ms, here = heapq.heappop(queue)
        if spent_ms > best.get(here, math.inf):
            continue
        for there, dwell_ms in _ways_out(config, here):
            total_ms = spent_ms + dwell_ms
            if there == phase:
                found = min(found, total_ms)
            elif total_ms < best.get(there, math.inf):
                best[there] = total_ms
                heapq.heappush(queue, (total_ms, there))
    return found


def _ways_out(config: ProtocolConfig, name: str) -> Iterator[tuple[str, float]]:
    phase = config.phases[name]
    for reaction in phase.reactions:
        if reaction.go_to is not None:
            yield reaction.go_to, 0.0
    if phase.timeout is not None:
        yield phase.timeout.go_to, phase.timeout.after_ms


def reachable_phases(config: ProtocolConfig) -> set[str]:
    """Phases that a session can come to."""
    found: set[str] = set()
    waiting = [next(iter(config.phases))]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [there for there, _ in _ways_out(config, name)]
    return found

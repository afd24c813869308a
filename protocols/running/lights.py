"""Light actions at work: from an action and a moment to the request that the interlock judges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from protocols.rois import Group
from protocols.running.assignment import Rounds
from protocols.running.signals import Signal
from protocols.running.tick import Tick
from protocols.schema.actions import Clamp, LightAction, OneOf, Pulse, Ramp
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.stimulation import MAX_TARGETS, PulseRequest


class Stimulus(NamedTuple):
    """What one trial lights, and how strongly.

    Attributes
    ----------
    target_ids : tuple of int
        Cells; empty for sites without a cell.
    yx_px : tuple of (float, float)
    pattern_id : str or None
        Name of a site.
    power_mw : float
    site : int
        Row of the target among those of a `one_of`, else -1.
    """

    target_ids: tuple[int, ...]
    yx_px: tuple[tuple[float, float], ...]
    pattern_id: str | None
    power_mw: float
    site: int = -1


class Trial(NamedTuple):
    """Number and arm of the trial that a request belongs to; -1 and "" for none."""

    number: int = -1
    arm: str = ""
    is_withheld: bool = False
    is_sham: bool = False


class Light:
    """One light action.

    Parameters
    ----------
    name : str
    config : LightAction
    groups : mapping of str to Group
    position : mapping of int to (float, float)
        Where every cell is, template px.
    plane_of : mapping of int to int
        Plane of every cell; empty where all are in plane 0. Sites without a cell are lit in plane 0.
    seed : tuple of int

    Attributes
    ----------
    stimuli : tuple of Stimulus
        Every stimulus that may be drawn; empty where the triggering cells are lit.
    """

    def __init__(
        self,
        name: str,
        config: LightAction,
        groups: Mapping[str, Group],
        position: Mapping[int, tuple[float, float]],
        plane_of: Mapping[int, int],
        seed: tuple[int, ...],
    ) -> None:
        self.name, self.config = name, config
        self._position, self._plane_of = position, plane_of
        self._powers_mw = config.powers_mw() if isinstance(config, Pulse) else (_first_power_mw(config),)
        self.stimuli = tuple(_stimuli(config, groups, self._powers_mw))
        n = len(self.stimuli) if isinstance(config.targets, OneOf) else 1
        self._rounds = Rounds(max(n, 1), (*seed, 0))
        self._powers = Rounds(len(self._powers_mw), (*seed, 1))

    def draw(self, triggering: tuple[int, ...]) -> Stimulus:
        """Stimulus of the next trial or pulse."""
        if self.config.targets == "triggering":
            cells = triggering[:MAX_TARGETS]
            power_mw = self._powers_mw[self._powers.draw()]
            return Stimulus(cells, tuple(self._position[i] for i in cells), None, power_mw)
        if not self.stimuli:
            return Stimulus((), (), None, self._powers_mw[0])
        if isinstance(self.config.targets, OneOf):
            return self.stimuli[self._rounds.draw()]
        return self.stimuli[0]._replace(power_mw=self._powers_mw[self._powers.draw()])

    def preview(self, triggering: tuple[int, ...]) -> Stimulus:
        """What a suppressed trigger would have lit; draws nothing."""
        if self.stimuli:
            return self.stimuli[0]
        cells = triggering[:MAX_TARGETS] if self.config.targets == "triggering" else ()
        return Stimulus(cells, tuple(self._position[i] for i in cells), None, self._powers_mw[0])

    def request(
        self,
        rule: str,
        tick: Tick,
        roi_ids: tuple[int, ...],
        stimulus: Stimulus,
        trial: Trial,
        suppressed: str | None = None,
    ) -> PulseRequest:
        """The request of one pulse or train; of a ramp its first pulse."""
        config = self.config
        train = config if isinstance(config, Pulse) else None
        return PulseRequest(
            rule=rule,
            arm=trial.arm,
            output=config.output,
            plane=tick.plane,
            frame=tick.frame,
            roi_ids=roi_ids,
            target_ids=stimulus.target_ids,
            targets_yx_px=stimulus.yx_px,
            target_planes=tuple(self._plane_of[i] for i in stimulus.target_ids) if self._plane_of else (),
            power_mw=stimulus.power_mw,
            width_ms=config.width_ms,
            pulses=train.pulses if train else 1,
            period_ms=(train.period_ms or 0.0) if train else 0.0,
            t_scan_ns=tick.t_ns,
            t_decided_ns=tick.t_decided_ns,
            withheld=trial.is_withheld,
            suppressed=suppressed,
            sham=trial.is_sham,
            pattern_id=stimulus.pattern_id,
            trial=trial.number,
        )


def _first_power_mw(config: LightAction) -> float:
    return config.from_mw if isinstance(config, Ramp) else config.max_mw if isinstance(config, Clamp) else 0.0


def _stimuli(config: LightAction, groups: Mapping[str, Group], powers_mw: tuple[float, ...]) -> list[Stimulus]:
    if config.targets == "triggering":
        return []
    if not isinstance(config.targets, OneOf):
        group = groups[config.targets]
        ids = () if group.is_sites else group.ids
        return [Stimulus(ids, group.yx_px, group.name if group.is_sites else None, powers_mw[0])] if group.ids else []
    found, site = [], 0
    for name in config.targets.one_of:
        group = groups[name]
        for member, yx_px in zip(group.ids, group.yx_px, strict=True):
            ids, pattern = ((), f"{name}.{-1 - member}") if group.is_sites else ((member,), None)
            found += [Stimulus(ids, (yx_px,), pattern, power_mw, site) for power_mw in powers_mw]
            site += 1
    return found


class RampRun:
    """The pulses of a ramp after its first."""

    def __init__(self, light: Light, config: Ramp, first: PulseRequest) -> None:
        self._light, self._config, self._first = light, config, first
        self._n_done = 1

    def step(self, tick: Tick, out: list[PulseRequest]) -> bool:
        """Append a pulse that is due; false once the ramp is over."""
        config = self._config
        if tick.t_ns - self._first.t_scan_ns >= self._n_done * config.period_ms * NS_PER_MS:
            share = self._n_done / (config.pulses - 1)
            first = self._first
            stimulus = Stimulus(
                first.target_ids,
                first.targets_yx_px,
                first.pattern_id,
                config.from_mw + share * (config.to_mw - config.from_mw),
            )
            trial = Trial(first.trial, first.arm, first.withheld, first.sham)
            out.append(self._light.request(first.rule, tick, first.roi_ids, stimulus, trial))
            self._n_done += 1
        return self._n_done < config.pulses


class ClampRun:
    """Pulses whose power follows the error of a signal. An unknown signal gives no pulse and no integral."""

    def __init__(self, light: Light, config: Clamp, signal: Signal, rule: str) -> None:
        self._light, self._config, self._signal, self._rule = light, config, signal, rule
        self._stimulus = light.draw(())
        self._due_ns: int | None = None
        self._t_ns: int | None = None
        self._integral_s = 0.0

    def step(self, tick: Tick, out: list[PulseRequest]) -> bool:
        """Append a pulse if one is due; always true: the phase ends a clamp."""
        config, value = self._config, self._signal.value
        elapsed_s = 0.0 if self._t_ns is None else (tick.t_ns - self._t_ns) / NS_PER_S
        self._t_ns = tick.t_ns
        if math.isnan(value) or not self._stimulus.yx_px:
            return True
        error = (config.set_point - value) / config.set_point
        error = -error if config.inverted else error
        fixed_mw = config.bias_mw + config.gain_mw * error
        integral_s = self._integral_s + error * elapsed_s
        if 0 <= fixed_mw + config.integral_mw_per_s * integral_s <= config.max_mw or integral_s * error <= 0:
            self._integral_s = integral_s
        power_mw = min(fixed_mw + config.integral_mw_per_s * self._integral_s, config.max_mw)
        if self._due_ns is not None and tick.t_ns < self._due_ns:
            return True
        if power_mw >= config.min_mw:
            stimulus = self._stimulus._replace(power_mw=power_mw)
            out.append(self._light.request(self._rule, tick, (), stimulus, Trial()))
            self._due_ns = tick.t_ns + round(config.period_ms * NS_PER_MS)
        return True

"""The state machine of a protocol: phases, reactions, time-outs, and what is going on in a phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.rois import RoiTable
from protocols.running.compositions import Trigger
from protocols.running.experiment import Experiment
from protocols.running.lights import ClampRun, Light, RampRun, Stimulus, Trial
from protocols.running.signals import Signal
from protocols.running.tick import Tick, TickKind
from protocols.running.trigger_bank import TriggerBank, ids_of
from protocols.schema.actions import Clamp, Mark, Message, Ramp
from protocols.schema.phases import Reaction
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.stimulation import MarkCommand, MessageCommand, ProtocolCommand, PulseRequest

NO_TARGET = "there is no target cell"


class Machine:
    """Reacts to the triggers of the present phase.

    Parameters
    ----------
    config : ProtocolConfig
    triggers : TriggerBank
    signals : mapping of str to Signal
    lights : mapping of str to Light
    experiment : Experiment
    rois : RoiTable

    Attributes
    ----------
    phase : str
        Name of the phase; ``baseline``, or what the experiment says while the machine does not run.
    """

    def __init__(
        self,
        config: ProtocolConfig,
        triggers: TriggerBank,
        signals: Mapping[str, Signal],
        lights: Mapping[str, Light],
        experiment: Experiment,
        rois: RoiTable,
    ) -> None:
        self._config, self._signals, self._lights = config, signals, lights
        self._experiment, self._rois = experiment, rois
        self._reactions: dict[str, list[tuple[Reaction, Trigger]]] = {
            name: [(one, triggers.by_name[one.trigger]) for one in phase.reactions]
            for name, phase in config.phases.items()
        }
        self._used = {name: list(dict.fromkeys(t for _, t in pairs)) for name, pairs in self._reactions.items()}
        self._asked = {
            name: {kind: [one for one in used if one.kind is kind] for kind in TickKind}
            for name, used in self._used.items()
        }
        self._first = next(iter(config.phases))
        self._phase = self._first
        self._entered_ns = 0
        self._is_running = False
        self._ramps: list[RampRun] = []
        self._clamps: list[ClampRun] = []
        self.phase = "waiting"

    def step(self, tick: Tick) -> Sequence[ProtocolCommand]:
        """React to one tick."""
        out: list[ProtocolCommand] = []
        pause = self._experiment.pause(tick.t_ns)
        if pause is not None:
            self._halt(pause)
            self._report_suppressed(tick, pause, out)
        else:
            if not self._is_running:
                self._is_running = True
                self._enter(self._first, tick, out)
            self._run(tick, out)
        if tick.kind is TickKind.SPIKES:
            self._go_on(tick, out)
            self._experiment.block_pulses(tick, self._config.name, out)
        return out

    def _halt(self, pause: str) -> None:
        self.phase = pause
        if self._is_running:
            self._is_running = False
            self._clamps.clear()
            self._phase = self._first
            for trigger in self._used[self._first]:
                trigger.begin_phase()

    def _report_suppressed(self, tick: Tick, pause: str, out: list[ProtocolCommand]) -> None:
        """What would have been a trigger of the first phase is told, so that nothing eligible goes unseen."""
        due = self._due(self._first, tick)
        for reaction, trigger in self._reactions[self._first]:
            if trigger in due and (light := self._light_of(reaction)) is not None:
                out.append(self._suppressed(trigger, light, tick, pause))

    def _due(self, phase: str, tick: Tick) -> set[Trigger]:
        """Triggers of a phase that ask for a reaction in this tick."""
        return {one for one in self._asked[phase][tick.kind] if one.is_due()}

    def _run(self, tick: Tick, out: list[ProtocolCommand]) -> None:
        timeout = self._config.phases[self._phase].timeout
        if timeout is not None and tick.t_ns - self._entered_ns >= timeout.after_ms * NS_PER_MS:
            self._do(timeout.do, tick, (), Trial(), self._phase, out)
            self._enter(timeout.go_to, tick, out)
            return
        due = self._due(self._phase, tick)
        if not due:
            return
        for reaction, trigger in self._reactions[self._phase]:
            if trigger not in due:
                continue
            if self._react(reaction, trigger, tick, out) and reaction.go_to is not None:
                self._enter(reaction.go_to, tick, out)
                return

    def _react(self, reaction: Reaction, trigger: Trigger, tick: Tick, out: list[ProtocolCommand]) -> bool:
        """Carry out a reaction; false if it was suppressed."""
        light = self._light_of(reaction)
        suppressed = trigger.refractory_left(tick.t_ns)
        if suppressed is None and reaction.trial:
            suppressed = self._experiment.trial_gate(tick.t_ns)
        elif suppressed is not None and not trigger.reports_refractory:
            return False
        if suppressed is not None:
            if light is not None:
                out.append(self._suppressed(trigger, light, tick, suppressed))
            return False
        rows = ids_of(trigger.node.rows(tick), self._rois.roi_id)
        trial = Trial()
        if light is not None:
            stimulus = light.draw(rows)
            if not stimulus.yx_px:
                request = light.request(trigger.name, tick, rows, stimulus, trial, NO_TARGET)
                out.append(request)
                return False
            if reaction.trial:
                drawn = self._experiment.begin_trial(tick.t_ns, light, stimulus, rows)
                light, stimulus, trial = drawn.light, drawn.stimulus, drawn.trial
            self._emit(light, trigger.name, tick, rows, stimulus, trial, out)
        trigger.fire(tick.t_ns)
        others = [name for name in reaction.do if name not in self._lights]
        self._do(others, tick, rows, trial, trigger.name, out)
        return True

    def _light_of(self, reaction: Reaction) -> Light | None:
        return next((self._lights[name] for name in reaction.do if name in self._lights), None)

    def _suppressed(self, trigger: Trigger, light: Light, tick: Tick, reason: str) -> PulseRequest:
        rows = ids_of(trigger.node.rows(tick), self._rois.roi_id)
        return light.request(trigger.name, tick, rows, light.preview(rows), Trial(), reason)

    def _emit(
        self,
        light: Light,
        rule: str,
        tick: Tick,
        rows: tuple[int, ...],
        stimulus: Stimulus,
        trial: Trial,
        out: list[ProtocolCommand],
    ) -> None:
        request = light.request(rule, tick, rows, stimulus, trial)
        out.append(request)
        self._experiment.note_pulse(request)
        if isinstance(light.config, Ramp):
            self._ramps.append(RampRun(light, light.config, request))

    def _do(
        self,
        names: Sequence[str],
        tick: Tick,
        rows: tuple[int, ...],
        trial: Trial,
        rule: str,
        out: list[ProtocolCommand],
    ) -> None:
        for name in names:
            action = self._config.actions[name]
            if isinstance(action, Mark):
                out.append(MarkCommand(mark=action.mark, t_scan_ns=tick.t_ns, frame=tick.frame))
            elif isinstance(action, Message):
                out.append(MessageCommand(topic=action.topic, text=action.text, t_scan_ns=tick.t_ns))
            elif isinstance(action, Clamp):
                self._clamps.append(ClampRun(self._lights[name], action, self._signals[action.signal], name))
            else:
                light = self._lights[name]
                self._emit(light, rule, tick, rows, light.draw(rows), trial, out)

    def _enter(self, phase: str, tick: Tick, out: list[ProtocolCommand]) -> None:
        self._phase = self.phase = phase
        self._entered_ns = tick.t_ns
        self._clamps.clear()
        for trigger in self._used[phase]:
            trigger.begin_phase()
        self._do(self._config.phases[phase].enter, tick, (), Trial(), phase, out)

    def _go_on(self, tick: Tick, out: list[ProtocolCommand]) -> None:
        """Pulses of ramps and clamps that are due."""
        if not self._ramps and not self._clamps:
            return
        requests: list[PulseRequest] = []
        self._ramps = [ramp for ramp in self._ramps if ramp.step(tick, requests)]
        for clamp in self._clamps:
            clamp.step(tick, requests)
        for request in requests:
            self._experiment.note_pulse(request)
        out += requests

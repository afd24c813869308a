"""The design at work: when trials may be, which arm they get, what followed, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.effects.report import final_effects, running_effect
from protocols.rois import RoiTable
from protocols.running.assignment import Assignment
from protocols.running.blocks import BlockSchedule
from protocols.running.lights import Light, Stimulus, Trial
from protocols.running.maps import conclude_map
from protocols.running.pulse_times import PulseTimes
from protocols.running.signals import Readout, Signal
from protocols.running.tick import NEVER_NS, Tick
from protocols.running.trials import MapMeter, ResponseMeter, TrialTable
from protocols.schema.design import ArmKind, BlockKind
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.stimulation import ProtocolCommand, PulseRequest

CAPACITY = 20_000
"""Trials that are analysed in a session that names no number of trials."""
HIDDEN = "hidden"
_LOST = (Outcome.REFUSED, Outcome.LATE, Outcome.FAILED, Outcome.SUPPRESSED)


class DrawnTrial(NamedTuple):
    """A trial after its draw: what is to be lit, if anything, and how it is booked."""

    light: Light
    stimulus: Stimulus
    trial: Trial


class Experiment:
    """Trials, arms, blocks and stop rules of one session.

    Parameters
    ----------
    config : ProtocolConfig
    signals : mapping of str to Signal
    rois : RoiTable
    lights : mapping of str to Light
    partner_s : tuple of tuple of float
        Of a recorded partner.

    Attributes
    ----------
    table : TrialTable
    assignment : Assignment
    """

    def __init__(
        self,
        config: ProtocolConfig,
        signals: Mapping[str, Signal],
        rois: RoiTable,
        lights: Mapping[str, Light],
        partner_s: tuple[tuple[float, ...], ...],
    ) -> None:
        design = self._design = config.design
        self._config, self._rois, self._lights = config, rois, lights
        self.assignment = Assignment(design)
        blocks = design.blocks.kinds if design.blocks else {}
        self._block_arms = [name for name, block in blocks.items() if block.kind is not BlockKind.CLOSED_LOOP]
        capacity = min(design.stop.trials or CAPACITY, CAPACITY) + (CAPACITY if self._block_arms else 0)
        names = (*self.assignment.names, *self._block_arms)
        self.table = TrialTable(capacity, names, len(self.assignment.names))
        self._meter = None
        if design.response is not None:
            self._meter = ResponseMeter(design.response, signals[design.response.signal], self.table)
        self._map = MapMeter(design.map, capacity, len(rois.roi_id)) if design.map is not None else None
        self._blocks = BlockSchedule(design.blocks, design.seed, partner_s) if design.blocks is not None else None
        self._pulses = PulseTimes()
        self._start_ns = self._trial_ns = NEVER_NS
        self._baseline_ns = round(design.baseline_s * NS_PER_S)
        self._inter_trial_ns = round(design.inter_trial_ms * NS_PER_MS)
        self._n_assigned = self._n_lit = self._n_sampled = 0
        self._arm = ""
        self._stopped: str | None = None
        self._effect: dict[str, float] = {}
        self._is_measured = False
        self._sites = [one for light in lights.values() for one in light.stimuli if one.site >= 0]

    def pause(self, t_ns: int) -> str | None:
        """Why the state machine does not run now; None while it does."""
        if self._start_ns == NEVER_NS:
            self._start_ns = t_ns
        since_ns = t_ns - self._start_ns
        if since_ns < self._baseline_ns:
            return "baseline"
        after_s = self._design.stop.after_s
        if self._stopped is None and after_s is not None and since_ns >= after_s * NS_PER_S:
            self._stopped = f"stopped: after_s {after_s:g} is over"
        if self._stopped is not None:
            return self._stopped
        if self._blocks is None:
            return None
        now = self._blocks.at(since_ns - self._baseline_ns)
        if now.is_pause:
            return f"pause after block {now.number + 1}"
        return None if now.kind is BlockKind.CLOSED_LOOP else f"block {now.number + 1}: {now.name}"

    def trial_gate(self, t_ns: int) -> str | None:
        """Why there may be no trial now; None if there may."""
        since_ns = t_ns - self._trial_ns
        if since_ns < self._inter_trial_ns:
            return f"inter_trial_ms {since_ns / NS_PER_MS:.1f} is below {self._design.inter_trial_ms:g}"
        return None

    def begin_trial(self, t_ns: int, light: Light, stimulus: Stimulus, rows: tuple[int, ...]) -> DrawnTrial:
        """Draw the arm of an eligible trigger."""
        arm, probability = self.assignment.draw()
        kind, name = self.assignment.kinds[arm], self.assignment.names[arm]
        if kind is ArmKind.SHAM:
            light = self._lights[self._design.arms[name].do[0]]
            stimulus = light.draw(rows)
        number = self._book(t_ns, arm, stimulus, probability)
        self._n_assigned += 1
        self._n_lit += kind is not ArmKind.WITHHELD
        self._arm, self._trial_ns = name, t_ns
        self._check_stop()
        trial = Trial(number, name, kind is ArmKind.WITHHELD, kind is ArmKind.SHAM)
        return DrawnTrial(light, stimulus, trial)

    def note_pulse(self, request: PulseRequest) -> None:
        """A light command has been given: what a yoked partner will repeat."""
        if request.withheld or request.sham or self._blocks is None:
            return
        since_ns = request.t_scan_ns - self._start_ns - self._baseline_ns
        now = self._blocks.at(since_ns)
        if now.kind is BlockKind.CLOSED_LOOP:
            self._blocks.note(since_ns - now.start_ns)

    def block_pulses(self, tick: Tick, rule: str, out: list[ProtocolCommand]) -> None:
        """Append the pulses of a yoked or open-loop block that are due."""
        since_ns = tick.t_ns - self._start_ns - self._baseline_ns
        if self._blocks is None or self._design.blocks is None or since_ns < 0 or self._stopped is not None:
            return
        now = self._blocks.at(since_ns)
        block = self._design.blocks.kinds[now.name]
        while not now.is_pause and block.do is not None and self._blocks.is_due(since_ns - now.start_ns):
            light = self._lights[block.do]
            stimulus = light.draw(())
            if not stimulus.yx_px:
                continue
            arm = len(self.assignment.names) + self._block_arms.index(now.name)
            number = self._book(tick.t_ns, arm, stimulus, None)
            self._arm = now.name
            out.append(light.request(rule, tick, (), stimulus, Trial(number, now.name)))

    def take_outcome(self, request: PulseRequest, outcome: Outcome) -> None:
        """Book what the interlock made of a request."""
        if outcome in (Outcome.DELIVERED, Outcome.DRY_RUN) and not request.suppressed:
            self._pulses.note(self._place(request.t_scan_ns), request)
        if request.trial >= 0 and outcome in _LOST:
            self.table.lose(request.trial)

    def sample_events(self, tick: Tick) -> None:
        """A response made of events takes its sample."""
        if self._meter is not None and not self._meter.signal.uses_activity:
            self._measured(self._meter.sample(tick.t_ns, tick.frame))

    def sample_activity(
        self, tick: Tick, frame: int, plane: int, fields: Sequence[str], values: NDArray[np.float32]
    ) -> None:
        """A response made of activity, and a map, take their samples."""
        signal = self._meter.signal if self._meter is not None else None
        if self._meter is not None and isinstance(signal, Readout) and signal.n_samples != self._n_sampled:
            self._n_sampled = signal.n_samples
            self._measured(self._meter.sample(tick.t_ns, frame))
        if self._map is not None and self._map.config.field in fields:
            start = int(np.argmax(self._rois.planes == plane)) if len(self._rois.planes) else 0
            for row in self._map.sample(tick.t_ns, values[fields.index(self._map.config.field)], start):
                if self._meter is None:
                    self.table.complete(row)

    def state(self) -> dict[str, Any]:
        """Trial, arm and effect for topic `state`; hidden while blinded."""
        blind = self._design.blind
        effect: dict[str, float] = dict(self._running())
        for name, counts in self.table.counts().items():
            effect |= {f"trials_{name}": float(sum(counts.values()))}
            effect |= {f"{status}_{name}": float(counts[status]) for status in ("void", "lost")}
        return {
            "trial": self._n_assigned,
            "arm": (HIDDEN if blind else self._arm) if self._n_assigned else None,
            "effect": None if blind else effect,
        }

    def conclude(self) -> dict[str, Any]:
        """Effects and maps in full."""
        found = final_effects(self.table, self.assignment, self._design)
        found["stopped"] = self._stopped
        response = self._design.response
        found["response"] = None if response is None else response.model_dump(mode="json")
        found["pulse_times"] = self._pulses.as_dict()
        found["trials"] = self.table.as_columns()
        if self._map is not None:
            found["map"] = conclude_map(self._map, self.table, self._config, self._rois, self._sites)
        return found

    def _book(self, t_ns: int, arm: int, stimulus: Stimulus, probability: NDArray[np.float64] | None) -> int:
        number = self.table.add(t_ns, arm, stimulus, probability)
        if number >= 0:
            if self._meter is not None:
                self._meter.begin(number, t_ns)
            if self._map is not None:
                self._map.begin(number, t_ns)
            if self._meter is None and self._map is None:
                self.table.complete(number)
        return number

    def _measured(self, done: list[int]) -> None:
        self._is_measured |= bool(done)
        if not done or not self._design.stop.effect_is_clear:
            return
        effect = self._running()
        if "low" in effect and effect["low"] * effect["high"] > 0:
            self._stopped = self._stopped or "stopped: the interval of the effect excludes 0"

    def _running(self) -> dict[str, float]:
        """The effect as of now; looked at when somebody asks, not on the way to a decision."""
        if self._is_measured:
            self._effect = running_effect(self.table, self.assignment, self._design)
            self._is_measured = False
        return self._effect

    def _check_stop(self) -> None:
        stop = self._design.stop
        if stop.trials is not None and self._n_assigned >= stop.trials:
            self._stopped = f"stopped: {stop.trials} trials"
        elif stop.delivered is not None and self._n_lit >= stop.delivered:
            self._stopped = f"stopped: {stop.delivered} trials with light"

    def _place(self, t_ns: int) -> tuple[int, float]:
        """Block and seconds since its beginning; without blocks, block 0 and seconds since going live."""
        if self._blocks is None:
            return 0, (t_ns - self._start_ns) / NS_PER_S
        since_ns = t_ns - self._start_ns - self._baseline_ns
        now = self._blocks.at(max(since_ns, 0))
        return now.number, (since_ns - now.start_ns) / NS_PER_S

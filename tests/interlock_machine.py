"""Hypothesis' machine that asks, breaks, silences and resets an interlock, and judges every pulse that came out."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from naive.dose_oracle import Pulse, broken_limits, broken_session
from safety_rig import GRID_PX, LAX_SESSION, LIVE_BOUND_NS, MS, FakeClock, Rig, S

from rt_engine.interfaces.errors import ConfigError, SafetyError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.output_config import SessionLimits
from rt_engine.safety.interlock import InterlockState, Precondition
from rt_engine.safety.limits import tighten
from rt_engine.safety.states import ALLOWING
from rt_engine.safety.wal import RecordKind

TIGHT = [
    {},
    {"max_energy_per_target_mj": 0.1, "energy_window_s": 2.0},
    {"max_total_energy_mj": 0.4},
    {"max_rate_hz": 3.0, "min_gap_ms": 0.0},
    {"max_rate_hz": 0.5, "min_gap_ms": 1.0},
    {"max_duty": 0.01, "duty_window_s": 1.0, "min_gap_ms": 0.0, "max_rate_hz": 100.0},
    {"exclusion_zones": ({"y_px": 50.0, "x_px": 50.0, "radius_px": 10.0},)},
    {"target_refractory_ms": 700.0, "min_gap_ms": 1.0},
    {"max_refused_per_min": 5},
]
SESSIONS = [
    *[LAX_SESSION] * 6,
    SessionLimits(max_energy_mj=0.9, max_pulses=10**6),
    SessionLimits(max_energy_mj=1e6, max_pulses=9),
]
RELOADS = [
    {},
    {"max_power_mw": 7.0},
    {"max_rate_hz": 2.0},
    {"min_gap_ms": 400.0},
    {"max_duty": 0.004},
    {"energy_window_s": 600.0, "max_energy_per_target_mj": 0.08},
    {"target_refractory_ms": 1500.0},
    {"allowed_phases": []},
    {"max_power_mw": 1e6},
]
PLACES = [(50.0, 50.0), (53.0, 50.0), (59.9, 50.0), (60.1, 50.0), (65.0, 52.0), (200.0, 10.0)]
DELAYS_NS = [0, 0, MS, 25 * MS, 45 * MS, 300 * MS, 2 * S]
TALLY: Counter[Outcome] = Counter()
STEPS: list[int] = []
GARBAGE = [math.nan, math.inf, -1.0, 0.0, 1e300]


class InterlockMachine(RuleBasedStateMachine):
    """The rig under test beside a model that knows only what was done to it."""

    judge_each = True

    @initialize(changes=st.sampled_from(TIGHT), session=st.sampled_from(SESSIONS))
    def start(self, changes, session):
        self.session = session
        self.epoch = 0
        self.reloaded = {}
        self.steps = 0
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.changes = changes
        self.delivered = {"led": [], "laser": []}
        self.may_light = False
        self.last_beat = None
        self.locks = []
        self.seen_ns = 0
        self.build(restarted=False)
        self.ready()

    def build(self, restarted):
        self.rig = Rig(
            self.clock,
            outputs=("led", "laser"),
            folder=self.folder,
            capacity=256,
            restarted=restarted,
            has_stop_line=True,
            session_limits=self.session,
            **self.changes,
        )
        self.lock = self.rig.interlock
        self.reloaded = {}
        self.line_closed = False
        self.lock.set_template(f"template {self.epoch}")
        self.locks.append(self.lock)

    def teardown(self):
        if not hasattr(self, "folder"):
            return
        STEPS.append(self.steps)
        self.judge_all()
        TALLY.update({outcome: n for lock in self.locks for outcome, n in lock.counts.items()})
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def ready(self):
        for output in self.rig.outputs.values():
            output.failing = output.expired = False
        self.line(True)
        self.rig.log.full = False
        self.lock.self_test()
        self.may_light = False
        for name in (Precondition.OPERATOR, Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES):
            self.lock.set_precondition(name, True)
        self.reset("looked at it")
        self.beat(Mode.LIVE)
        self.lock.set_precondition(Precondition.OPERATOR, True)
        try:
            self.lock.arm()
            self.may_light = True
        except SafetyError:
            assert self.clock.offset_ns < 0, "only a clock that went back explains this"

    @rule(closed=st.booleans())
    def line(self, closed):
        self.line_closed = closed
        self.lock.stop_line(closed, self.clock.now_ns())
        if not closed:
            self.may_light = False
            assert self.lock.state not in ALLOWING

    @rule(name=st.sampled_from(["led", "laser"]))
    def watchdog_expires(self, name):
        self.tend()
        self.rig.outputs[name].expired = True
        tended = self.lock.is_armed and not self.lock.inhibited
        self.tend()
        if tended:
            self.may_light = False
            assert self.lock.state is InterlockState.TRIPPED

    @rule()
    def tend(self):
        self.seen_ns = max(self.seen_ns, self.clock.now_ns())
        self.lock.tend(self.clock.now_ns())

    @rule(output=st.sampled_from(["led", "laser"]), tighter=st.sampled_from(RELOADS))
    def reload_limits(self, output, tighter):
        try:
            self.lock.set_protocol_limits({output: tighter})
            own = tighten(output, self.rig.limits[output], tighter)
            self.reloaded = {output: (own, len(self.delivered[output]))}
        except ConfigError:
            assert tighter
        self.may_light = False
        assert self.lock.state not in ALLOWING

    @rule()
    def calibrate_anew(self):
        self.epoch += 1
        self.lock.set_template(f"template {self.epoch}")

    @rule(ns=st.one_of(st.integers(0, 200 * MS), st.integers(0, 5 * S), st.just(70 * S)))
    def wait(self, ns):
        self.clock.step(ns)

    @rule(ns=st.integers(1, 3 * S))
    def clock_goes_back(self, ns):
        self.clock.offset_ns -= ns
        if self.clock.now_ns() < self.seen_ns:
            self.may_light = False
        self.lock.check(self.clock.now_ns())

    @rule(mode=st.sampled_from(list(Mode)))
    def beat(self, mode):
        now_ns = self.clock.now_ns()
        if self.last_beat is None or now_ns >= self.last_beat[0]:
            self.last_beat = (now_ns, mode)
        self.lock.heartbeat(now_ns, mode)

    @rule(ns=st.integers(0, 2 * S))
    def check(self, ns):
        self.clock.step(ns)
        self.seen_ns = max(self.seen_ns, self.clock.now_ns())
        self.lock.check(self.clock.now_ns())

    @rule()
    def trip(self):
        self.lock.trip("operator", "stop", "", "stop button")
        self.may_light = False

    @rule(reason=st.sampled_from(["", "  ", "looked at it"]))
    def reset(self, reason):
        tripped = self.lock.state is InterlockState.TRIPPED
        try:
            self.lock.reset(reason)
            self.last_beat = None if tripped else self.last_beat
        except SafetyError:
            assert not reason.strip() or self.rig.log.full

    @rule(name=st.sampled_from([Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES, Precondition.OPERATOR]))
    def lose(self, name):
        self.lock.set_precondition(name, False)
        self.may_light = False

    @rule()
    def restart(self):
        self.may_light = False
        self.build(restarted=True)
        self.last_beat = None
        assert self.lock.state is InterlockState.TRIPPED

    @rule(
        name=st.sampled_from(["led", "laser"]), delay_ns=st.sampled_from([0, 0, MS, 25 * MS, 45 * MS, 300 * MS, 2 * S])
    )
    def slow_output(self, name, delay_ns):
        self.rig.outputs[name].delay_ns = delay_ns

    @rule(delay_ns=st.sampled_from([0, 0, MS, 60 * MS]))
    def slow_log(self, delay_ns):
        self.rig.intent_delay_ns = delay_ns

    @rule(name=st.sampled_from(["led", "laser"]))
    def break_output(self, name):
        self.rig.outputs[name].failing = True

    @rule()
    def fill_disk(self):
        self.rig.log.full = True

    @rule(
        age_ns=st.integers(-2 * MS, 80 * MS),
        garbage=st.sampled_from(GARBAGE),
        field=st.sampled_from(["power_mw", "width_ms"]),
    )
    def nonsense(self, age_ns, garbage, field):
        fired = self.rig.n_fired
        request = self.rig.request(t_scan_ns=self.clock.now_ns() - age_ns, **{field: garbage})
        decision = self.lock.request(request)
        assert decision.outcome is Outcome.REFUSED
        assert self.rig.n_fired == fired
        if age_ns < 0:
            self.may_light = False
            assert self.lock.state is InterlockState.TRIPPED

    @rule(
        output=st.sampled_from(["led", "led", "laser"]),
        age_ns=st.one_of(st.integers(0, 30 * MS), st.integers(0, 80 * MS)),
        uncertainty_ns=st.sampled_from([0, 0, 20 * MS]),
        power_mw=st.sampled_from([8.0, 8.0, 20.0, 3.3333, 0.0005, 20.001]),
        width_ms=st.sampled_from([5.0, 5.0, 1.0, 10.0, 0.0014, 10.1]),
        pulses=st.sampled_from([1, 1, 1, 1, 2, 5, 40]),
        period_ms=st.sampled_from([110.0, 10.0, 105.0, 400.0, 2500.0]),
        places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4, unique=True),
        withheld=st.sampled_from([False, False, False, True]),
        rearm=st.sampled_from([True, True, True, False]),
        beats=st.sampled_from([True, True, True, False]),
        repeats=st.integers(1, 12),
        pause_ns=st.sampled_from([0, 50 * MS, 106 * MS, 900 * MS]),
    )
    def ask(
        self,
        output,
        age_ns,
        uncertainty_ns,
        power_mw,
        width_ms,
        pulses,
        period_ms,
        places,
        withheld,
        rearm,
        beats,
        repeats,
        pause_ns,
    ):
        if rearm and self.lock.state not in ALLOWING:
            self.ready()
        for _ in range(repeats):
            if beats:
                self.beat(Mode.LIVE)
            now_ns = self.clock.now_ns()
            request = self.rig.request(
                output=output,
                t_scan_ns=now_ns - age_ns,
                t_decided_ns=now_ns - min(age_ns, MS),
                t_scan_uncertainty_ns=uncertainty_ns,
                power_mw=power_mw,
                width_ms=width_ms,
                pulses=pulses,
                period_ms=period_ms,
                targets_yx_px=tuple(places),
                withheld=withheld,
            )
            self.judge(request, age_ns + uncertainty_ns)
            self.clock.step(pause_ns)

    def judge(self, request, age_ns):
        fired_before, asked_ns, slow_ns = self.rig.n_fired, self.clock.true_ns, self.rig.intent_delay_ns
        beat, now_ns = self.last_beat, self.clock.now_ns()
        log = self.rig.log
        room, records, line_closed = not log.full, len(log.records), self.line_closed
        self.steps += 1
        self.seen_ns = max(self.seen_ns, now_ns)
        decision = self.lock.request(request)
        n_fired = self.rig.n_fired - fired_before
        assert n_fired == (decision.outcome is Outcome.DELIVERED)
        if self.clock.true_ns > asked_ns:
            self.seen_ns = max(self.seen_ns, self.clock.now_ns())
            if beat is not None and self.clock.now_ns() - beat[0] > LIVE_BOUND_NS:
                self.may_light = False
        if n_fired == 0:
            return
        called_ns, began_ns, command = self.rig.outputs[request.output].fired[-1]
        assert self.may_light, "light without an arming that still holds"
        assert room
        assert line_closed
        intents = [fields["decision_id"] for kind, fields in log.records[records:] if kind is RecordKind.INTENT]
        assert command.decision_id in intents, "fired without an intent in the log"
        assert beat is not None
        assert beat[1] is Mode.LIVE
        assert now_ns + (began_ns - asked_ns) - beat[0] <= LIVE_BOUND_NS
        assert not request.withheld
        assert called_ns == asked_ns + slow_ns
        assert age_ns + (began_ns - asked_ns) <= self.rig.limits[request.output].max_decision_age_ms * MS
        for pulse in range(command.pulses):
            onset_s = (began_ns + pulse * command.period_us * 1000) / S
            power_mw, width_s = command.power_uw[0] / 1e3, command.width_us / 1e6
            train = self.rig.n_fired + 1_000_000 * len(self.locks)
            self.delivered[request.output].append(
                Pulse(onset_s, width_s, power_mw, command.targets_yx_px, train, self.epoch)
            )
        if self.judge_each:
            self.judge_all()

    def judge_all(self):
        """The brute-force ledger over all that was ever delivered."""
        for name, pulses in self.delivered.items():
            assert broken_limits(pulses, self.rig.limits[name], GRID_PX) == []
        for name, (tighter, first) in self.reloaded.items():
            assert broken_limits(self.delivered[name][first:], tighter, GRID_PX) == []
        assert broken_session([pulse for pulses in self.delivered.values() for pulse in pulses], self.session) == []

    @precondition(lambda self: hasattr(self, "rig"))
    @invariant()
    def outputs_are_safe_unless_armed(self):
        self.steps += 1
        if self.lock.state not in ALLOWING or self.lock.inhibited:
            assert not any(output.armed for output in self.rig.outputs.values())

"""The interlock: judges every request, and is the only place that makes commands for an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.devices import CutTrain, Output, PulseCommand, issue_pulse_token
from rt_engine.interfaces.errors import DeviceError, RecordingError, SafetyError, WithdrawnError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.output_config import Limits
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.safety.last_word import LastWord
from rt_engine.safety.latch import SafetyLatch
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.limits import Violation, bounds_of, tighten
from rt_engine.safety.output_dose import OutputDose
from rt_engine.safety.refusals import RefusalCount
from rt_engine.safety.request_check import plan_train, time_fault
from rt_engine.safety.states import InterlockState, Precondition, Trip
from rt_engine.safety.status import heartbeat_fields, remedies
from rt_engine.safety.train import Train
from rt_engine.safety.wal import RecordKind, WriteAheadLog
from rt_engine.safety.watchdog import HeartbeatMonitor

__all__ = ["Interlock", "InterlockState", "Precondition", "Trip"]

_TOKEN = issue_pulse_token()


class Interlock(SafetyLatch):
    """Judges every request and fires what may be fired. All methods belong to one thread, the stimulation loop.

    Whether there may be light at all, `SafetyLatch` says: states, preconditions, trips, heartbeat.

    Parameters
    ----------
    limits : mapping of str to Limits
        Of the rig, by output name.
    outputs : mapping of str to Output
        By the same names. In a dry run they are never touched.
    clock : Clock
    ledger : DoseLedger
        Made with the same limits. In a dry run it is charged as well: give it one in memory.
    wal : WriteAheadLog
    heartbeat : HeartbeatMonitor
    dry_run : bool
        Decide and charge, fire nothing.
    restarted : bool
        True for a service that comes back: it starts tripped.
    id_prefix : str
        Start of every decision id; makes ids of a restarted service differ.
    has_stop_line : bool
        True where a stop line is wired.

    Raises
    ------
    SafetyError
        An output has no limits, no ledger, or limits have no output.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        outputs: Mapping[str, Output],
        clock: Clock,
        ledger: DoseLedger,
        wal: WriteAheadLog,
        heartbeat: HeartbeatMonitor,
        *,
        dry_run: bool = False,
        restarted: bool = False,
        has_stop_line: bool = False,
        id_prefix: str = "d",
    ) -> None:
        if not set(limits) == set(outputs) == set(ledger.outputs):
            raise SafetyError(f"outputs {sorted(outputs)}, limits {sorted(limits)} and ledgers do not agree")
        super().__init__(
            outputs, clock, wal, heartbeat, dry_run=dry_run, restarted=restarted, has_stop_line=has_stop_line
        )
        self._rig_limits = dict(limits)
        self.limits = dict(limits)
        self._ledger = ledger
        self._refusals = {name: RefusalCount(one.max_refused_per_min) for name, one in limits.items()}
        self.counts = dict.fromkeys(Outcome, 0)
        self._id_prefix, self._next_id = id_prefix, 0

    def set_protocol_limits(self, tighter: Mapping[str, Mapping[str, Any]]) -> None:
        """Limits of the rig made stricter by a protocol; disarms.

        Parameters
        ----------
        tighter : mapping of str to mapping
            Output name to the keys of `Limits` that the protocol sets.

        Raises
        ------
        ConfigError
            An unknown key, or a value looser than the rig's.
        SafetyError
            An unknown output.
        """
        self.disarm("limits changed")
        self._bind(tighter)

    def _bind(self, tighter: Mapping[str, Mapping[str, Any]]) -> None:
        if unknown := set(tighter) - set(self._outputs):
            raise SafetyError(f"the protocol limits unknown outputs {sorted(unknown)}")
        wanted = {name: tighten(name, one, tighter.get(name, {})) for name, one in self._rig_limits.items()}
        for name, one in wanted.items():
            self._ledger.outputs[name].rebound(bounds_of(one), self._clock.now_ns())
            self._refusals[name] = RefusalCount(one.max_refused_per_min)
        self.limits = wanted

    def set_template(self, template_id: str) -> None:
        """Say in which template the positions of requests are from now on; dose of another one counts everywhere."""
        self._ledger.set_template(template_id, self._clock.now_ns())

    def maintain(self) -> None:
        """Write the log's room ahead, for idle moments; a failure trips."""
        try:
            self._wal.reserve()
        except RecordingError as error:
            self.trip("stimulation_log", "failed", "every pulse is logged", str(error))

    def request(self, request: PulseRequest) -> Decision:
        """Judge one request, and fire it if everything allows it.

        Parameters
        ----------
        request : PulseRequest

        Returns
        -------
        Decision
            With the outcome and, unless delivered, the reason: quantity, value and limit. A withheld request is judged
            like any other, so that both arms of a design lose the same trials; it is neither charged nor fired.
        """
        self._next_id += 1
        decision = Decision(
            decision_id=f"{self._id_prefix}-{self._next_id}", outcome=None, reason=None, output=request.output
        )
        if request.suppressed is not None:
            return self._end(decision, Outcome.SUPPRESSED, request.suppressed)
        now_ns = decision.t_judged_ns = self._clock.now_ns()
        dose, reason = self._admit(request, now_ns)
        if dose is None:
            return self._end(decision, Outcome.REFUSED, reason)
        train = plan_train(request)
        if isinstance(train, str):
            return self._refuse(decision, None, train, now_ns)
        decision.pulses, decision.width_us, decision.period_us = train.pulses, train.width_us, train.period_us
        decision.power_uw = (train.power_uw,) * len(train.targets_yx_px)
        decision.energy_nj = (train.target_nj,) * len(train.targets_yx_px)
        late = self._late(request, dose, now_ns)
        if late is not None:
            return self._end(decision, Outcome.LATE, late)
        violation = dose.violation(train, now_ns) or self._ledger.session.violation(train)
        if violation is not None:
            return self._refuse(decision, violation, violation.text(), now_ns)
        if request.withheld:
            return self._end(decision, Outcome.WITHHELD, None)
        return self._deliver(request, decision, dose, train, now_ns)

    def _admit(self, request: PulseRequest, now_ns: int) -> tuple[OutputDose | None, str]:
        """The ledger of the output if light is allowed at all, and why not."""
        self.check(now_ns)  # first the clock: one that went backwards makes every decision one of the future
        fault = time_fault(request, now_ns)
        if fault is not None:
            self.trip("decision_time", fault, 0, fault)
        if not self.is_armed:
            text = self.trips[-1].text if self.state is InterlockState.TRIPPED else "not armed"
            return None, f"interlock is {self.state.value}: {text}"
        dose = self._ledger.outputs.get(request.output)
        if dose is None:
            return None, f"no output {request.output!r} in this rig"
        mode = self._heartbeat.mode
        if mode is Mode.PAUSED or mode not in dose.bounds.phases:
            return None, f"engine is {mode}; light is allowed in {', '.join(sorted(dose.bounds.phases)) or 'no phase'}"
        return dose, ""

    def _refuse(self, decision: Decision, violation: Violation | None, reason: str, now_ns: int) -> Decision:
        """Refuse a request beyond a limit; too many of them within a minute are a loop that has run away."""
        refusals = self._refusals[decision.output]
        if refusals.add(now_ns):
            signal, value, limit = violation or ("request", "nonsense", "possible")
            text = f"{decision.output}: more than {refusals.limit} requests refused within a minute, the last: {reason}"
            self.trip(signal, value, limit, text)
        return self._end(decision, Outcome.REFUSED, reason)

    def _late(self, request: PulseRequest, dose: OutputDose, now_ns: int) -> str | None:
        age_ns = now_ns - request.t_scan_ns + request.t_scan_uncertainty_ns
        if age_ns <= dose.bounds.max_age_ns:
            return None
        return f"decision_age_ms {age_ns / NS_PER_MS:g} is beyond its limit {dose.bounds.max_age_ns / NS_PER_MS:g}"

    def _deliver(
        self, request: PulseRequest, decision: Decision, dose: OutputDose, train: Train, now_ns: int
    ) -> Decision:
        dose.charge(train, now_ns)
        self._ledger.session.charge(train)
        try:
            self._wal.write(RecordKind.INTENT, _intent_fields(request, decision, now_ns))
        except RecordingError as error:
            self.trip("stimulation_log", "failed", "every pulse is logged", str(error))
            return self._end(decision, Outcome.REFUSED, f"cannot be logged: {error}")
        decision.is_logged = True
        no = self._objection(request, dose, self._clock.now_ns())
        if no is not None:
            outcome, reason = no
        elif self.dry_run:
            outcome, reason = Outcome.DRY_RUN, None
        else:
            outcome, reason = self._fire(request, decision, dose, train)
            if outcome is Outcome.DELIVERED and request.sham:
                outcome = Outcome.SHAM
        self._end(decision, outcome, reason)
        self._log_done(
            {
                "decision_id": decision.decision_id,
                "outcome": decision.outcome,
                "reason": decision.reason,
                "t_command_ns": decision.t_command_ns,
            }
        )
        return decision

    def _objection(self, request: PulseRequest, dose: OutputDose, now_ns: int) -> tuple[Outcome, str] | None:
        """Why a request that was granted, logged and charged may not begin at this time after all."""
        admitted, reason = self._admit(request, now_ns)
        if admitted is None:
            return Outcome.REFUSED, reason
        late = self._late(request, dose, now_ns)
        return None if late is None else (Outcome.LATE, late)

    def _fire(
        self, request: PulseRequest, decision: Decision, dose: OutputDose, train: Train
    ) -> tuple[Outcome, str | None]:
        output = self._outputs[decision.output]
        word = LastWord(decision.output, self._clock, lambda now_ns: self._objection(request, dose, now_ns))
        command = _command(word, request, decision, train)
        failed, why, t_command_ns = True, "its driver broke off", 0
        try:
            decision.t_command_ns = t_command_ns = output.fire(command)
            why = word.disobeyed(t_command_ns)
            failed = bool(why)
        except WithdrawnError as error:
            failed = word.objection is None
            why = str(error)
        except DeviceError as error:
            why = str(error)
        finally:
            word.over = True
            if failed:
                self._held[Precondition.OUTPUTS_TESTED] = False
                self.trip("output", decision.output, "fires", f"output {decision.output} failed while firing: {why}")
        if failed:
            return Outcome.FAILED, why
        if word.objection is not None:
            return word.objection
        latest_ns = t_command_ns + output.longest_wait_ns
        dose.settle(latest_ns)
        self.state = InterlockState.FIRING
        self._firing_until_ns = max(self._firing_until_ns, latest_ns + train.duration_ns)
        return Outcome.DELIVERED, None

    def take_cut_trains(self) -> list[CutTrain]:
        """Trains that ended before their last pulse since the last call; logged, and their dose stays charged."""
        if self.dry_run:
            return []
        cut = [one for output in self._outputs.values() for one in output.cut_trains()]
        for one in cut:
            reason = f"ended after {one.emitted} pulses"
            done = {"decision_id": one.decision_id, "outcome": Outcome.FAILED, "reason": reason, "pulses": one.emitted}
            self._log_done(done)
        return cut

    def _log_done(self, fields: dict[str, Any]) -> None:
        try:
            self._wal.write(RecordKind.DONE, fields)
        except RecordingError as error:
            self.trip("stimulation_log", "failed", "every pulse is logged", str(error))

    def _end(self, decision: Decision, outcome: Outcome, reason: str | None) -> Decision:
        decision.outcome, decision.reason = outcome, reason
        self.counts[outcome] += 1
        return decision

    def snapshot(self) -> dict[str, Any]:
        """The fields of `messages.StateHeader` that the interlock knows."""
        now_ns, preconditions = self._clock.now_ns(), self.preconditions()
        return {
            "interlock": self.state.value,
            "inhibited": self.inhibited,
            "trips": [trip._asdict() for trip in self.trips],
            "preconditions": preconditions,
            "remedies": remedies(preconditions, self.state),
            "heartbeat": heartbeat_fields(self._heartbeat, now_ns),
            "limits": {name: one.model_dump(mode="json") for name, one in self.limits.items()},
            "dose": self._ledger.used(now_ns),
            "session_dose": self._ledger.session.used(),
            "counts": {outcome.value: n for outcome, n in self.counts.items() if n},
        }


def _command(word: LastWord, request: PulseRequest, decision: Decision, train: Train) -> PulseCommand:
    """What the output gets."""
    return PulseCommand(
        _TOKEN,
        ask=word.ask,
        decision_id=decision.decision_id,
        output=decision.output,
        pulses=train.pulses,
        width_us=train.width_us,
        period_us=train.period_us,
        power_uw=(train.power_uw,) * len(train.targets_yx_px),
        targets_yx_px=train.targets_yx_px,
        target_planes=request.target_planes,
    )


def _intent_fields(request: PulseRequest, decision: Decision, now_ns: int) -> dict[str, Any]:
    """What the log must hold before light: enough to say what may have been fired."""
    return {
        "decision_id": decision.decision_id,
        "t_ns": now_ns,
        "rule": request.rule,
        "arm": request.arm,
        "output": request.output,
        "plane": request.plane,
        "frame": request.frame,
        "t_scan_ns": request.t_scan_ns,
        "t_decided_ns": request.t_decided_ns,
        "roi_ids": request.roi_ids,
        "target_ids": request.target_ids,
        "targets_yx_px": request.targets_yx_px,
        "target_planes": request.target_planes,
        "pulses": decision.pulses,
        "width_us": decision.width_us,
        "period_us": decision.period_us,
        "power_uw": decision.power_uw,
        "energy_nj": decision.energy_nj,
    }

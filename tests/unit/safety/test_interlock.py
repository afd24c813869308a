"""The interlock says yes only when everything allows it, and says why not in numbers."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from safety_rig import MS, Rig, S, limits

from rt_engine.interfaces.devices import CutTrain, PulseCommand, PulseToken, issue_pulse_token
from rt_engine.interfaces.errors import ConfigError, SafetyError, WithdrawnError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.output_config import SessionLimits
from rt_engine.safety.interlock import InterlockState
from rt_engine.safety.limits import bounds_of, tighten
from rt_engine.safety.wal import RecordKind


def test_a_good_request_is_logged_fired_and_reported():
    rig = Rig().armed()
    decision = rig.interlock.request(rig.request(targets_yx_px=((50.0, 50.0), (90.0, 10.0))))
    assert (decision.outcome, decision.reason) == (Outcome.DELIVERED, None)
    assert decision.t_command_ns == rig.clock.now_ns()
    assert (decision.pulses, decision.width_us, decision.power_uw) == (1, 5000, (8000, 8000))
    assert decision.energy_nj == (40_000, 40_000)
    kinds = [(kind, fields.get("decision_id")) for kind, fields in rig.log.records]
    assert kinds[-2:] == [(RecordKind.INTENT, decision.decision_id), (RecordKind.DONE, decision.decision_id)]
    assert rig.log.records[-1][1]["outcome"] == "delivered"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"power_mw": 20.5}, "power_mw 20.5 is beyond its limit 20"),
        ({"width_ms": 10.5}, "width_ms 10.5 is beyond its limit 10"),
        ({"pulses": 2, "period_ms": 50.0}, "gap_ms 45 is beyond its limit 100"),
        ({"pulses": 200, "period_ms": 110.0, "width_ms": 9.9, "power_mw": 1.0}, "duty "),
        ({"power_mw": math.nan}, "power_mw nan is not a finite number"),
        ({"width_ms": math.inf}, "width_ms inf is not a finite number"),
        ({"power_mw": -8.0}, "must be positive"),
        ({"pulses": 0}, "pulses 0 is not"),
        ({"pulses": 2}, "period_ms 0 is shorter than width_ms 5"),
        ({"targets_yx_px": ()}, "0 targets"),
        ({"targets_yx_px": ((math.nan, 1.0),)}, "target position"),
        ({"targets_yx_px": ((1e9, 1.0),)}, "target position"),
        ({"output": "laser"}, "no output 'laser'"),
    ],
)
def test_a_refusal_names_quantity_value_and_limit(changes, reason):
    rig = Rig().armed()
    decision = rig.interlock.request(rig.request(**changes))
    assert decision.outcome is Outcome.REFUSED
    assert reason in decision.reason
    assert rig.n_fired == 0
    assert rig.interlock.state is InterlockState.ARMED


def test_a_target_in_an_exclusion_zone_is_refused():
    rig = Rig(exclusion_zones=({"y_px": 50.0, "x_px": 60.0, "radius_px": 10.0},)).armed()
    assert "exclusion_zone" in rig.interlock.request(rig.request()).reason
    assert rig.interlock.request(rig.request(targets_yx_px=((50.0, 49.0),))).outcome is Outcome.DELIVERED


def test_a_late_decision_is_dropped_with_the_uncertainty_counted_against_it():
    rig = Rig().armed()
    now_ns = rig.clock.now_ns()
    assert rig.interlock.request(rig.request(t_scan_ns=now_ns - 51 * MS)).outcome is Outcome.LATE
    late = rig.interlock.request(rig.request(t_scan_ns=now_ns - 40 * MS, t_scan_uncertainty_ns=11 * MS))
    assert late.outcome is Outcome.LATE
    assert late.reason == "decision_age_ms 51 is beyond its limit 50"
    assert rig.interlock.request(rig.request(t_scan_ns=now_ns - 50 * MS)).outcome is Outcome.DELIVERED


def test_what_became_late_while_it_was_logged_is_charged_and_not_fired():
    rig = Rig().armed()
    rig.intent_delay_ns = 60 * MS
    assert rig.interlock.request(rig.request()).outcome is Outcome.LATE
    assert rig.n_fired == 0
    assert rig.ledger.used(rig.clock.now_ns())["led"]["pulses"] == 1


def test_the_gap_counts_from_when_a_slow_driver_was_really_called():
    rig = Rig().armed()
    rig.outputs["led"].delay_ns = 30 * MS
    assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
    rig.clock.step(104 * MS)
    assert "gap_ms 99 is beyond its limit 100" in rig.interlock.request(rig.request()).reason
    rig.clock.step(1 * MS)
    assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(("delay_ms", "outcome", "reason"), [
    (10, Outcome.DELIVERED, None),
    (11, Outcome.LATE, "decision_age_ms 51 is beyond its limit 50"),
    (45, Outcome.LATE, "decision_age_ms 85 is beyond its limit 50"),
    (1001, Outcome.REFUSED, "interlock is tripped: no sign of the engine"),
])  # fmt: skip
def test_what_became_old_while_the_output_prepared_itself_is_not_begun(delay_ms, outcome, reason):
    rig = Rig(virtual=False).armed()
    rig.outputs["led"].delay_ns = delay_ms * MS
    decision = rig.interlock.request(rig.request(t_scan_ns=rig.clock.now_ns() - 40 * MS))
    assert decision.outcome is outcome
    assert (decision.reason or "").startswith(reason or "")
    assert rig.n_fired == (outcome is Outcome.DELIVERED)
    assert rig.log.records[-1][1]["outcome"] == outcome or rig.interlock.state is InterlockState.TRIPPED
    assert {fields["outcome"] for kind, fields in rig.log.records if kind is RecordKind.DONE} == {outcome}
    if outcome is Outcome.LATE:
        assert decision.t_command_ns is None
        assert rig.interlock.state is InterlockState.ARMED
        assert rig.ledger.used(rig.clock.now_ns())["led"]["pulses"] == 1
        rig.clock.step(200 * MS)
        rig.beat()
        assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED


def _careless(output, how):
    """An output that does not do as the last word says."""

    def fire(command):
        if how != "does not ask":
            with suppress(WithdrawnError):
                output.clock.step(output.delay_ns)
                command.last_word()
            output.clock.step(MS if how == "asks too early" else 0)
        output.fired.append((0, 0, command))
        return output.clock.now_ns()

    return fire


@pytest.mark.parametrize(("how", "delay_ms", "words"), [
    ("does not ask", 0, "without asking"),
    ("asks too early", 0, "1 ms after the last word"),
    ("goes on", 60, "although the interlock said no: decision_age_ms 65"),
])  # fmt: skip
def test_an_output_that_does_not_heed_the_last_word_trips(how, delay_ms, words):
    rig = Rig().armed()
    output = rig.outputs["led"]
    output.delay_ns, output.fire = delay_ms * MS, _careless(output, how)
    decision = rig.interlock.request(rig.request())
    assert decision.outcome is Outcome.FAILED
    assert words in decision.reason
    assert words in rig.interlock.trips[-1].text
    assert not rig.interlock.preconditions()["outputs_tested"]
    with pytest.raises(WithdrawnError, match="has been answered"):
        output.fired[0][2].last_word()


@pytest.mark.parametrize("field", ["t_scan_ns", "t_decided_ns"])
def test_a_time_from_the_future_trips(field):
    rig = Rig().armed()
    decision = rig.interlock.request(rig.request(**{field: rig.clock.now_ns() + 1}))
    assert decision.outcome is Outcome.REFUSED
    assert "is negative" in decision.reason
    assert rig.interlock.state is InterlockState.TRIPPED


def test_withheld_triggers_are_judged_alike_but_neither_charged_nor_fired():
    rig = Rig().armed()
    assert rig.interlock.request(rig.request(withheld=True)).outcome is Outcome.WITHHELD
    assert rig.interlock.request(rig.request(withheld=True, power_mw=30.0)).outcome is Outcome.REFUSED
    late = rig.request(withheld=True, t_scan_ns=rig.clock.now_ns() - S)
    assert rig.interlock.request(late).outcome is Outcome.LATE
    assert rig.ledger.used(rig.clock.now_ns())["led"]["pulses"] == 0
    assert rig.n_fired == 0


def test_suppressed_triggers_are_only_reported():
    rig = Rig()
    decision = rig.interlock.request(rig.request(suppressed="refractory"))
    assert (decision.outcome, decision.reason) == (Outcome.SUPPRESSED, "refractory")


def test_a_dry_run_decides_and_charges_alike_and_touches_no_output():
    rig, dry = Rig().armed(), Rig(virtual=False, dry_run=True)
    dry.outputs["led"].failing = True
    dry.armed()
    for _ in range(3):
        for one in (rig, dry):
            one.beat()
        real, other = rig.interlock.request(rig.request()), dry.interlock.request(dry.request())
        assert other.outcome is (Outcome.DRY_RUN if real.outcome is Outcome.DELIVERED else real.outcome)
        assert (real.reason, real.energy_nj) == (other.reason, other.energy_nj)
        rig.clock.step(60 * MS)
        dry.clock.step(60 * MS)
    assert dry.n_fired == 0
    assert not dry.outputs["led"].armed
    assert rig.ledger.used(0) == dry.ledger.used(0)


def test_a_pulse_that_cannot_be_logged_is_not_fired():
    rig = Rig().armed()
    rig.log.full = True
    decision = rig.interlock.request(rig.request())
    assert decision.outcome is Outcome.REFUSED
    assert "no space left" in decision.reason
    assert rig.interlock.state is InterlockState.TRIPPED
    assert rig.n_fired == 0


def test_a_protocol_may_only_tighten():
    rig = Rig().armed()
    rig.interlock.set_protocol_limits({"led": {"max_power_mw": 5.0}})
    assert rig.interlock.state is InterlockState.DISARMED
    rig.armed()
    assert "power_mw 8 is beyond its limit 5" in rig.interlock.request(rig.request()).reason
    for key, value in (("max_power_mw", 21.0), ("min_gap_ms", 99.0), ("energy_window_s", 59.0), ("duty_window_s", 9.0)):
        with pytest.raises(ConfigError, match=f"limits.led.{key}"):
            rig.interlock.set_protocol_limits({"led": {key: value}})
    with pytest.raises(ConfigError, match="max_powr_mw"):
        rig.interlock.set_protocol_limits({"led": {"max_powr_mw": 1.0}})
    with pytest.raises(SafetyError, match="laser"):
        rig.interlock.set_protocol_limits({"laser": {}})


def test_protocol_zones_add_to_those_of_the_rig():
    zone = {"y_px": 1.0, "x_px": 1.0, "radius_px": 1.0}
    both = tighten("led", limits(exclusion_zones=(zone,)), {"exclusion_zones": [{**zone, "y_px": 9.0}]})
    assert [one.y_px for one in both.exclusion_zones] == [1.0, 9.0]


def test_limits_become_integers_rounded_towards_less_light():
    bounds = bounds_of(limits(max_power_mw=8.1, max_width_ms=0.0015, max_rate_hz=2.9, min_gap_ms=0.0000015))
    assert (bounds.max_power_uw, bounds.max_width_us, bounds.max_rate_n, bounds.min_gap_ns) == (8100, 1, 2, 2)
    assert bounds_of(limits(max_rate_hz=0.3)).rate_window_ns == 3_333_333_334


def test_nobody_but_the_interlock_makes_a_command():
    with pytest.raises(PermissionError):
        issue_pulse_token()
    fields = {"decision_id": "x", "output": "led", "pulses": 1, "width_us": 1, "period_us": 0}
    for token in (PulseToken(), None):
        with pytest.raises(PermissionError):
            PulseCommand(token, ask=int, power_uw=(1,), targets_yx_px=((0.0, 0.0),), **fields)


def test_the_snapshot_has_what_a_state_message_needs():
    rig = Rig().armed()
    rig.interlock.request(rig.request())
    snapshot = rig.interlock.snapshot()
    assert snapshot["interlock"] == "firing"
    assert snapshot["counts"] == {"delivered": 1}
    assert snapshot["dose"]["led"]["total_energy_mj"] == pytest.approx(0.04)
    assert snapshot["limits"]["led"]["max_power_mw"] == 20.0
    assert all(snapshot["preconditions"].values())


def test_light_is_allowed_in_the_phases_of_the_rig_and_never_in_a_pause():
    rig = Rig(allowed_phases=("baseline", "live")).armed()
    for mode, outcome in (
        (Mode.LIVE, Outcome.DELIVERED),
        (Mode.BASELINE, Outcome.DELIVERED),
        (Mode.CALIBRATING, Outcome.REFUSED),
        (Mode.PAUSED, Outcome.REFUSED),
    ):
        rig.clock.step(200 * MS)
        rig.beat(mode)
        assert rig.interlock.request(rig.request()).outcome is outcome
    nowhere = Rig(allowed_phases=()).armed()
    assert nowhere.interlock.request(nowhere.request()).reason == "engine is live; light is allowed in no phase"


@pytest.mark.parametrize(("changes", "signal"), [({}, "gap_ms"), ({"power_mw": math.nan}, "request")])
def test_a_loop_that_keeps_asking_beyond_a_limit_trips(changes, signal):
    rig = Rig(max_refused_per_min=3).armed()
    rig.interlock.request(rig.request())
    for _ in range(3):
        rig.clock.step(20 * MS)
        rig.beat()
        assert rig.interlock.request(rig.request(**changes)).outcome is Outcome.REFUSED
        assert rig.interlock.state is InterlockState.ARMED
    rig.clock.step(20 * MS)
    assert rig.interlock.request(rig.request(**changes)).outcome is Outcome.REFUSED
    assert rig.interlock.state is InterlockState.TRIPPED
    trip = rig.interlock.trips[-1]
    assert trip.signal == signal
    assert "more than 3 requests refused within a minute" in trip.text
    if signal == "gap_ms":
        assert (trip.value, trip.limit) == (75.0, 100.0)


def test_refusals_now_and_then_do_not_trip():
    rig = Rig(max_refused_per_min=3).armed()
    for _ in range(20):
        rig.clock.step(20 * S)
        rig.interlock._heartbeat.beat(rig.clock.now_ns(), Mode.LIVE)
        assert rig.interlock.request(rig.request(power_mw=30.0)).outcome is Outcome.REFUSED
    assert rig.interlock.state is InterlockState.ARMED


def test_the_session_limits_hold_over_all_outputs():
    rig = Rig(outputs=("led", "laser"), session_limits=SessionLimits(max_energy_mj=0.1, max_pulses=100)).armed()
    for output, outcome in (("led", Outcome.DELIVERED), ("laser", Outcome.DELIVERED), ("led", Outcome.REFUSED)):
        rig.clock.step(200 * MS)
        rig.beat()
        decision = rig.interlock.request(rig.request(output=output))
        assert decision.outcome is outcome
    assert decision.reason == "session_energy_mj 0.12 is beyond its limit 0.1"


def test_a_protocol_may_leave_out_phases_but_not_add_one():
    rig_limits = limits(allowed_phases=("baseline", "live"))
    assert tighten("led", rig_limits, {"allowed_phases": ["live"]}).allowed_phases == ("live",)
    with pytest.raises(ConfigError, match="calibrating"):
        tighten("led", rig_limits, {"allowed_phases": ["live", "calibrating"]})
    with pytest.raises(ConfigError, match="looser"):
        tighten("led", limits(target_refractory_ms=5.0), {"target_refractory_ms": 4.0})


def test_it_is_firing_as_long_as_a_train_of_any_output_lasts():
    rig = Rig(outputs=("led", "laser")).armed()
    rig.interlock.request(rig.request(pulses=3, period_ms=150.0))
    assert rig.interlock.state is InterlockState.FIRING
    rig.clock.step(100 * MS)
    rig.beat()
    assert rig.interlock.request(rig.request(output="laser")).outcome is Outcome.DELIVERED
    rig.clock.step(204 * MS)
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.FIRING
    rig.clock.step(1 * MS)
    assert rig.interlock.tend(rig.clock.now_ns()) is InterlockState.ARMED
    rig.interlock.request(rig.request())
    rig.interlock.disarm("asked")
    assert rig.interlock.state is InterlockState.DISARMED


def test_a_train_that_was_cut_is_logged_with_the_pulses_that_were_light():
    rig = Rig().armed()
    decision = rig.interlock.request(rig.request(pulses=5, period_ms=150.0))
    rig.outputs["led"].cut.append(CutTrain(decision.decision_id, 2))
    assert rig.interlock.take_cut_trains() == [CutTrain(decision.decision_id, 2)]
    kind, fields = rig.log.records[-1]
    assert (kind, fields["decision_id"], fields["outcome"]) == (RecordKind.DONE, decision.decision_id, "failed")
    assert rig.ledger.used(rig.clock.now_ns())["led"]["pulses"] == 5

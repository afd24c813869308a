"""No interleaving of requests, clock steps, trips, faults and restarts lets light break a limit or escape."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from interlock_machine import GARBAGE, PLACES, RELOADS, SESSIONS, STEPS, TALLY, TIGHT, InterlockMachine
from safety_rig import MS, S

from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.safety.interlock import Precondition


def run_machine(machine, n_examples, n_steps):
    STEPS.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=n_steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_short_interleaving_delivers_light_beyond_a_limit_or_without_an_armed_interlock():
    run_machine(InterlockMachine, 100, 40)


def walk(random: Random, n_steps: int) -> None:
    """The same machine, driven far longer than hypothesis does, mostly by requests that ought to pass."""
    machine = InterlockMachine()
    machine.judge_each = False
    machine.start(random.choice(TIGHT), random.choice(SESSIONS))
    faults = (
        lambda: machine.clock_goes_back(random.choice((1, 100 * MS, 2 * S))),
        machine.trip,
        machine.restart,
        machine.calibrate_anew,
        lambda: machine.line(False),
        lambda: machine.watchdog_expires(random.choice(("led", "laser"))),
        lambda: machine.reload_limits(random.choice(("led", "laser")), random.choice(RELOADS)),
        lambda: machine.lose(Precondition.RECORDING_LIVE),
        lambda: machine.lose(Precondition.CALIBRATION_MATCHES),
        lambda: machine.break_output(random.choice(("led", "laser"))),
        machine.fill_disk,
        lambda: machine.beat(Mode.PAUSED),
        lambda: machine.check(2 * S),
        lambda: machine.nonsense(random.choice((MS, -MS)), random.choice(GARBAGE), "power_mw"),
        lambda: machine.slow_output(random.choice(("led", "laser")), random.choice((0, 0, MS, 2 * S))),
        lambda: machine.slow_log(random.choice((0, 0, MS, 10 * MS, 60 * MS))),
        lambda: machine.reset("looked at it"),
    )
    for _ in range(n_steps):
        if random.random() < 0.3:
            machine.slow_log(0)
        if random.random() < 0.2:
            machine.slow_output("led", random.choice((MS, 90 * MS, 300 * MS)))
        if random.random() < 0.2:
            random.choice(faults)()
            machine.outputs_are_safe_unless_armed()
        machine.ask(
            random.choice(("led", "led", "laser")),
            random.randrange(random.choice((20 * MS, 20 * MS, 80 * MS))),
            random.choice((0, 0, 0, 20 * MS)),
            random.choice((8.0, 8.0, 20.0, 20.0, 20.0, 3.3333, 0.0005, 20.001)),
            random.choice((5.0, 5.0, 10.0, 10.0, 10.0, 1.0, 0.0014, 10.1)),
            random.choice((1, 1, 1, 2, 5, 40)),
            random.choice((110.0, 10.0, 105.0, 400.0, 2500.0)),
            random.sample(PLACES, random.randint(1, 4)),
            random.random() < 0.1,
            random.random() < 0.9,
            random.random() < 0.9,
            random.randint(1, 12),
            random.choice((0, 50 * MS, 106 * MS, 900 * MS)),
        )
        machine.outputs_are_safe_unless_armed()
        if random.random() < 0.1:
            machine.wait(random.choice((S, 5 * S, 70 * S)))
    machine.teardown()


@pytest.mark.parametrize("seed", range(6))
def test_no_long_walk_delivers_light_beyond_a_limit(seed):
    TALLY.clear()
    random = Random(seed)
    for _ in range(25):
        walk(random, 60)
    assert TALLY[Outcome.DELIVERED] > 300, "the walk hardly lit anything: it proves nothing"
    for outcome in (Outcome.REFUSED, Outcome.LATE, Outcome.FAILED, Outcome.WITHHELD):
        assert TALLY[outcome] > 0, f"the walk never met {outcome}"


class JudgedAtTheEnd(InterlockMachine):
    """All that a walk delivered is judged once, when it ends; a broken limit is still there then."""

    judge_each = False


@pytest.mark.statistics
@pytest.mark.timeout(0)
def test_in_a_million_steps_no_delivered_pulse_violates_any_limit():
    STEPS.clear()
    TALLY.clear()
    run_machine(JudgedAtTheEnd, 2500, 60)
    hypothesis_steps, random = sum(STEPS), Random(20_251)
    while sum(STEPS) < 1_000_000:
        walk(random, 60)
    print(f"{sum(STEPS):,} steps, {hypothesis_steps:,} of them chosen by hypothesis: {dict(TALLY)}")
    assert TALLY[Outcome.DELIVERED] > 20_000

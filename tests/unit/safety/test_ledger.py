"""The ledger charges whole integers, forgets nothing too early, and survives its process."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_rig import LAX_SESSION, MS, S, limits

from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.output_config import SessionLimits
from rt_engine.safety.ledger import DoseLedger, SessionDose
from rt_engine.safety.limits import bounds_of
from rt_engine.safety.output_dose import CARRY_OVER_NS, OutputDose
from rt_engine.safety.sliding import SlidingSums
from rt_engine.safety.train import Train

HERE = ((50.0, 50.0),)


def dose(now_ns=0, path=None, wall_ns=lambda: 0, **changes):
    return OutputDose(bounds_of(limits(**changes)), now_ns, path, capacity=64, wall_ns=wall_ns)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 1000))
def test_energy_is_rounded_up_to_whole_nanojoules(power_uw, width_us, pulses):
    train = Train(pulses, width_us, 0, power_uw, HERE)
    exact_pj = power_uw * width_us
    assert train.pulse_nj * 1000 >= exact_pj > (train.pulse_nj - 1) * 1000
    assert train.target_nj == pulses * train.pulse_nj


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * 10**9), st.integers(0, 50)), max_size=60), st.integers(10**8, 5 * 10**9))
def test_a_sliding_sum_is_never_below_the_truth_and_at_most_one_bucket_too_long(steps, window_ns):
    totals = np.zeros(2, np.int64)
    sums = SlidingSums(totals, window_ns, 0)
    t_ns, given_at = 0, []
    for wait_ns, amount in steps:
        t_ns += wait_ns
        sums.advance(t_ns)
        sums.add(np.array([1]), np.array([amount]))
        given_at.append((t_ns, amount))
        assert totals[0] == 0
        assert totals[1] >= sum(a for t, a in given_at if t > t_ns - window_ns)
        assert totals[1] <= sum(a for t, a in given_at if t > t_ns - window_ns * (1 + 2 / 64) - 64)


def test_targets_astride_a_border_share_their_dose():
    one = Train(1, 10_000, 0, 10_000, ((5.9, 5.9),))
    other = Train(1, 10_000, 0, 10_000, ((6.1, 6.1),))
    far = Train(1, 10_000, 0, 10_000, ((60.0, 6.0),))
    ledger = dose(max_energy_per_target_mj=0.15)
    assert ledger.violation(one, 0) is None
    ledger.charge(one, 0)
    assert ledger.violation(other, S).quantity == "energy_per_target_mj"
    assert ledger.violation(far, S) is None


def test_energy_of_a_target_is_free_again_after_the_window_and_not_before():
    ledger = dose(max_energy_per_target_mj=0.15, energy_window_s=10.0)
    train = Train(1, 10_000, 0, 10_000, HERE)
    ledger.charge(train, 0)
    assert ledger.violation(train, 10 * S) is not None
    assert ledger.violation(train, 10 * S + 10 * S // 32 + 10 * MS) is None


def test_the_total_is_charged_before_firing_and_kept_across_a_restart(tmp_path):
    path = tmp_path / "led.dose"
    first = dose(path=path, max_total_energy_mj=0.15)
    train = Train(1, 10_000, 0, 10_000, HERE)
    first.charge(train, 0)
    again = dose(now_ns=100 * S, path=path, max_total_energy_mj=0.15)
    assert again.used(100 * S)["total_energy_mj"] == pytest.approx(0.1)
    assert again.violation(train, 300 * S).quantity == "total_energy_mj"


def test_a_window_counts_from_the_restart_and_a_longer_one_counts_the_whole_day(tmp_path):
    path = tmp_path / "led.dose"
    train = Train(1, 10_000, 0, 10_000, HERE)
    tight = {"max_energy_per_target_mj": 0.15, "energy_window_s": 10.0}
    dose(path=path, **tight).charge(train, 0)
    again = dose(now_ns=60 * S, path=path, **tight)
    assert again.violation(train, 65 * S).quantity == "energy_per_target_mj"
    assert again.violation(train, 75 * S) is None
    longer = dose(now_ns=90 * S, path=path, max_energy_per_target_mj=0.15, energy_window_s=1000.0)
    assert longer.violation(train, 100 * S).quantity == "energy_per_target_mj"


def test_a_day_without_light_starts_a_new_total_and_less_or_a_clock_set_back_does_not(tmp_path):
    train = Train(1, 10_000, 0, 10_000, HERE)
    for wall, kept in ((CARRY_OVER_NS - 1, True), (-5 * S, True), (CARRY_OVER_NS + 10 * MS, False)):
        path = tmp_path / f"{wall}.dose"
        dose(path=path, wall_ns=lambda: 10 * S).charge(train, 0)
        later = dose(path=path, wall_ns=lambda wall=wall: 10 * S + wall)
        assert (later.used(0)["total_energy_mj"] > 0) == kept


def test_rate_counts_pulses_in_any_second():
    ledger = dose(max_rate_hz=3.0, min_gap_ms=0.0)
    train = Train(1, 1000, 0, 1000, HERE)
    for t_ns in (0, 10 * MS, 20 * MS):
        assert ledger.violation(train, t_ns) is None
        ledger.charge(train, t_ns)
    assert ledger.violation(train, 999 * MS).quantity == "rate_hz"
    assert ledger.violation(train, S) is None


def test_a_rate_below_one_hertz_is_one_pulse_in_its_period():
    ledger = dose(max_rate_hz=0.1)
    train = Train(1, 1000, 0, 1000, HERE)
    ledger.charge(train, 0)
    assert ledger.violation(train, 9 * S).quantity == "rate_hz"
    assert ledger.violation(train, 10 * S) is None


def test_the_gap_is_dark_time_after_the_true_end_of_the_last_pulse():
    ledger = dose(min_gap_ms=100.0)
    train = Train(1, 10_000, 0, 1000, HERE)
    ledger.charge(train, 0)
    ledger.settle(30 * MS)
    assert ledger.violation(train, 139 * MS).quantity == "gap_ms"
    assert ledger.violation(train, 140 * MS) is None


def test_a_full_table_refuses_and_does_not_forget():
    ledger = dose()
    random = Random(0)
    for i in range(200):
        train = Train(1, 1000, 0, 1000, ((random.random() * 500, random.random() * 500),))
        found = ledger.violation(train, i * S)
        if found is not None:
            break
        ledger.charge(train, i * S)
    assert found.quantity == "places_in_ledger"


def test_a_damaged_dose_file_is_refused(tmp_path):
    path = tmp_path / "led.dose"
    dose(path=path)
    data = path.read_bytes()
    for bad in (data[:-8], b"x" + data[1:], data[:16] + b"\xff" * 8 + data[24:], b""):
        path.write_bytes(bad)
        with pytest.raises(SafetyError, match="dose file"):
            dose(path=path)


def test_a_killed_process_loses_no_dose(tmp_path):
    code = (
        "import os, sys, pathlib\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from safety_rig import LAX_SESSION, limits\n"
        "from rt_engine.safety.ledger import DoseLedger\n"
        "from rt_engine.safety.train import Train\n"
        "ledger = DoseLedger({'led': limits()}, LAX_SESSION, 0, pathlib.Path(sys.argv[1]))\n"
        "for i in range(10): ledger.outputs['led'].charge(Train(1, 10_000, 0, 10_000, ((50.0, 50.0),)), i * 10**9)\n"
        "os._exit(9)\n"
    )
    tests = next(folder for folder in sys.path if folder.endswith("tests"))
    command = [sys.executable, "-c", code, str(tmp_path / "mouse"), tests]
    assert subprocess.run(command, check=False).returncode == 9
    used = DoseLedger({"led": limits()}, LAX_SESSION, 0, tmp_path / "mouse").used(0)
    assert used["led"]["pulses"] == 10
    assert used["led"]["total_energy_mj"] == pytest.approx(1.0)


def test_a_place_rests_for_its_refractory_time_wherever_else_light_goes():
    ledger = dose(min_gap_ms=0.0, target_refractory_ms=300.0)
    here, beside, far = (Train(1, 10_000, 0, 10_000, (place,)) for place in ((50.0, 50.0), (53.0, 50.0), (90.0, 90.0)))
    ledger.charge(here, 0)
    for now_ns in (20 * MS, 309 * MS):
        assert ledger.violation(beside, now_ns).quantity == "target_refractory_ms"
        assert ledger.violation(far, now_ns) is None
    assert ledger.violation(here, 310 * MS) is None
    ledger.settle(5 * MS)
    assert ledger.violation(here, 310 * MS).quantity == "target_refractory_ms"
    assert ledger.violation(here, 315 * MS) is None


def test_a_place_still_rests_after_a_restart(tmp_path):
    one = Train(1, 10_000, 0, 10_000, HERE)
    first = dose(path=tmp_path / "led.dose", target_refractory_ms=5000.0)
    first.charge(one, 0)
    again = dose(now_ns=2 * S, path=tmp_path / "led.dose", target_refractory_ms=5000.0)
    assert again.violation(one, 6 * S).quantity == "target_refractory_ms"
    assert again.violation(one, 8 * S) is None


@pytest.mark.parametrize("restarted", [False, True])
def test_another_template_gives_no_place_a_second_dose(tmp_path, restarted):
    """Nobody knows which place is which any more, so every place has had what the most lit one had."""
    path, changes = tmp_path / "led.dose", {"max_energy_per_target_mj": 0.25, "energy_window_s": 60.0}
    one, moved = Train(1, 10_000, 0, 10_000, HERE), Train(1, 10_000, 0, 10_000, ((200.0, 120.0),))
    ledger = dose(path=path, **changes)
    ledger.set_template(7, 0)
    for pulse in range(2):
        assert ledger.violation(one, pulse * S) is None
        ledger.charge(one, pulse * S)
    ledger.set_template(7, 2 * S)
    assert ledger.violation(moved, 2 * S) is None
    if restarted:
        ledger = dose(now_ns=3 * S, path=path, **changes)
    ledger.set_template(8, 3 * S)
    for place in (one, moved):
        assert ledger.violation(place, 5 * S).quantity == "energy_per_target_mj"
    assert ledger.used(5 * S)["total_energy_mj"] == pytest.approx(0.2)
    assert ledger.used(5 * S)["fractions"]["energy_per_target"] == pytest.approx(0.8)
    assert ledger.violation(moved, 3 * S + 62 * S) is None
    ledger.set_template(7, 66 * S)
    assert ledger.violation(one, 67 * S) is None


def test_a_longer_window_counts_the_dose_of_former_templates_too(tmp_path):
    ledger = dose(max_energy_per_target_mj=0.25, energy_window_s=1.0)
    ledger.set_template(7, 0)
    for pulse in range(2):
        ledger.charge(Train(1, 10_000, 0, 10_000, HERE), pulse * S)
    ledger.set_template(8, 100 * S)
    far = Train(1, 10_000, 0, 10_000, ((200.0, 120.0),))
    assert ledger.violation(far, 100 * S) is None
    ledger.rebound(bounds_of(limits(max_energy_per_target_mj=0.25, energy_window_s=600.0)), 101 * S)
    assert ledger.violation(far, 101 * S).quantity == "energy_per_target_mj"


def test_the_session_counts_all_outputs_together_and_goes_on_after_a_restart(tmp_path):
    bounds = SessionLimits(max_energy_mj=0.35, max_pulses=4)
    session = SessionDose(bounds, tmp_path / "session.dose")
    one = Train(1, 10_000, 0, 10_000, HERE)
    for _ in range(3):
        assert session.violation(one) is None
        session.charge(one)
    again = SessionDose(bounds, tmp_path / "session.dose")
    assert again.violation(one) == ("session_energy_mj", 0.4, 0.35)
    assert again.violation(Train(2, 1, 100, 1, HERE)) == ("session_pulses", 5, 4)
    assert again.used() == {
        "energy_mj": pytest.approx(0.3),
        "pulses": 3,
        "fractions": pytest.approx({"energy": 0.3 / 0.35, "pulses": 0.75}),
    }


def test_times_of_pulses_take_no_memory_before_as_many_as_the_rate_allows_were_given():
    ledger, train, n_pulses = dose(max_rate_hz=10_000.0), Train(1, 1, 0, 1, HERE), 4000
    ledger.charge(train, 0)
    tracemalloc.start()
    try:
        for k in range(n_pulses):
            ledger.charge(train, (k + 1) * MS)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ledger.used(n_pulses * MS)["fractions"]["rate"] == pytest.approx(0.1)  # 1,000 in the last second of 10,000
    assert kept_bytes < 4 * n_pulses

"""The ledger charges whole integers, forgets nothing too early, and survives its process."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_rig import MS, S, limits

from rt_engine.interfaces.errors import SafetyError
from rt_engine.safety.ledger import CARRY_OVER_NS, DoseLedger, OutputDose, Train
from rt_engine.safety.limits import bounds_of
from rt_engine.safety.sliding import SlidingSums

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
        "from safety_rig import limits\n"
        "from rt_engine.safety.ledger import DoseLedger, Train\n"
        "ledger = DoseLedger({'led': limits()}, 0, pathlib.Path(sys.argv[1]))\n"
        "for i in range(10): ledger.outputs['led'].charge(Train(1, 10_000, 0, 10_000, ((50.0, 50.0),)), i * 10**9)\n"
        "os._exit(9)\n"
    )
    tests = next(folder for folder in sys.path if folder.endswith("tests"))
    command = [sys.executable, "-c", code, str(tmp_path / "mouse"), tests]
    assert subprocess.run(command, check=False).returncode == 9
    used = DoseLedger({"led": limits()}, 0, tmp_path / "mouse").used(0)
    assert used["led"]["pulses"] == 10
    assert used["led"]["total_energy_mj"] == pytest.approx(1.0)

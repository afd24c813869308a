"""Times of a steady scanner of which word comes late by chance, and numbers that go on."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.steady_scan import SteadyScan

MS = 1_000_000


@pytest.mark.parametrize("told_ms", [33.0, 33.366, 34.0])
@pytest.mark.parametrize("chunk", [1, 5])
def test_times_are_those_of_the_scans_though_the_period_told_is_wrong_and_word_comes_late(told_ms, chunk):
    random, scan, true_ms, errors = np.random.default_rng(1), SteadyScan(told_ms * MS), 33.366, []
    for frame in range(2000):
        scanned = (frame + 1) * true_ms * MS
        saved = (frame // chunk + 1) * chunk * true_ms * MS
        arrived = round(saved + random.exponential(2.0) * MS)
        errors.append(scan.scanned_ns(frame, arrived) - scanned)
    late_ms = np.array(errors[600:]) / MS
    assert np.abs(late_ms).max() < 2.0
    assert scan.period_ns == pytest.approx(true_ms * MS, rel=1e-3)
    if chunk == 1:
        assert 0.5 * MS < scan.uncertainty_ns < 3 * MS


def test_a_pause_that_was_watched_is_no_delay_but_a_driver_that_slept_is_one():
    scan = SteadyScan(33 * MS)
    for frame in range(200):
        scan.scanned_ns(frame, frame * 33 * MS)
    slept = 200 * 33 * MS + 5000 * MS
    assert scan.scanned_ns(200, slept) == pytest.approx(200 * 33 * MS, abs=MS)
    later = 210 * 33 * MS + 9000 * MS
    scan.see_nothing(later - 2 * MS)
    assert scan.scanned_ns(201, later) == later
    assert scan.scanned_ns(202, later + 33 * MS) == later + 33 * MS


def test_no_time_is_later_than_its_arrival_and_times_grow():
    random, scan, last = np.random.default_rng(2), SteadyScan(10 * MS), 0
    for frame in range(500):
        arrived = round(frame * 10 * MS + random.exponential(3.0) * MS)
        scanned = scan.scanned_ns(frame, arrived)
        assert scanned <= arrived
        assert scanned > last or frame == 0
        last = scanned


def test_numbers_go_on_where_the_vendor_begins_anew_and_one_is_left_out():
    numbers = ContinuedNumbers()
    assert [numbers.see(n) for n in (5, 6, 9)] == [(5, False), (6, False), (9, False)]
    assert numbers.see(1) == (11, True)
    assert numbers.see(2) == (12, False)
    assert numbers.see(3, is_anew=True) == (14, True)


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_volume_that_is_begun_anew_stands_at_its_place(first):
    numbers = ContinuedNumbers(4)
    for n in range(6):
        numbers.see(n)
    ours, is_anew = numbers.see(first)
    assert is_anew
    assert ours % 4 == first % 4
    assert 6 < ours <= 10 + 1

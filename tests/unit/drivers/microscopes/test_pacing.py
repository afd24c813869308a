"""Moments of a recording are due at absolute times of the clock."""

from __future__ import annotations

from typing import Literal

import pytest

from drivers.microscopes.pacing import Pacer

MS = 1_000_000
S = 1_000_000_000


class FakeClock:
    def __init__(self) -> None:
        self.t_ns = 7 * S
        self.waits_s: list[float] = []

    def now_ns(self) -> int:
        return self.t_ns

    def wait(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.t_ns += round(seconds * 1e9)


def pacer(clock: FakeClock, speed: float | Literal["max"] = 1.0, recorded_ns: float = 0) -> Pacer:
    one = Pacer(clock, speed, clock.wait)
    one.start(recorded_ns)
    return one


@pytest.mark.parametrize(("speed", "after_start_ms"), [(1.0, 400), (2.0, 200), (0.5, 800)])
def test_a_moment_is_due_as_long_after_the_start_as_in_the_recording_over_the_speed(
    speed: float, after_start_ms: int
) -> None:
    clock = FakeClock()
    one = pacer(clock, speed, recorded_ns=100 * S)
    recorded_ns = 100 * S + 400 * MS
    assert one.due_ns(recorded_ns) == 7 * S + after_start_ms * MS
    assert one.wait_until(recorded_ns, timeout_s=10.0)
    assert clock.t_ns == 7 * S + after_start_ms * MS


def test_a_late_reader_delays_nothing_after_it() -> None:
    clock = FakeClock()
    one = pacer(clock)
    clock.t_ns += 250 * MS
    assert one.wait_until(100 * MS, 1.0)
    assert one.wait_until(200 * MS, 1.0)
    assert clock.waits_s == []
    assert (one.due_ns(100 * MS), one.due_ns(200 * MS)) == (7 * S + 100 * MS, 7 * S + 200 * MS)
    assert one.wait_until(300 * MS, 1.0)
    assert clock.waits_s == [pytest.approx(0.05)]


def test_what_is_not_due_within_the_timeout_waits_for_the_timeout_only() -> None:
    clock = FakeClock()
    one = pacer(clock)
    assert not one.wait_until(100 * MS, 0.04)
    assert not one.wait_until(100 * MS, 0.04)
    assert one.wait_until(100 * MS, 0.04)
    assert clock.waits_s == [0.04, 0.04, pytest.approx(0.02)]


def test_what_is_due_exactly_at_the_timeout_is_waited_for() -> None:
    clock = FakeClock()
    assert pacer(clock).wait_until(500 * MS, 0.5)
    assert clock.t_ns == 7 * S + 500 * MS


def test_at_max_speed_everything_is_due_now_and_nothing_waits() -> None:
    clock = FakeClock()
    one = pacer(clock, "max")
    assert one.wait_until(3600 * S, 0.0)
    clock.t_ns += 5
    assert one.due_ns(3600 * S) == 7 * S + 5
    assert clock.waits_s == []


def test_a_new_start_begins_where_it_is_told() -> None:
    clock = FakeClock()
    one = pacer(clock)
    clock.t_ns += 10 * S
    one.start(2 * S)
    assert one.due_ns(2 * S + 40 * MS) == 17 * S + 40 * MS

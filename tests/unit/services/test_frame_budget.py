"""Which frames are left out for newer ones: by arithmetic, on frames of 33 ms that may take 50."""

from __future__ import annotations

import pytest
from wire_samples import frame

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.services.frame_book import FrameBook
from rt_engine.services.frame_budget import FrameBudget

PERIOD_MS, LINES = 33, 96


def header(n_lines: int = LINES) -> FrameHeader:
    made = frame(1)[1]
    assert isinstance(made, FrameHeader)
    made.frame_period_ns, made.t_scan_ns, made.n_lines, made.lines_per_frame = PERIOD_MS * NS_PER_MS, 0, n_lines, LINES
    return made


def budget(cost_ms: float, *, deadline_ms: int = 50, lossless: bool = False) -> FrameBudget:
    """Of an engine that has taken so long for its last five frames."""
    book = FrameBook(lambda *told: None)
    made = FrameBudget(deadline_ms * NS_PER_MS, 32, lossless=lossless, book=book, log=lambda *told, **fields: None)
    for _ in range(5):
        made.note_cost(round(cost_ms * NS_PER_MS), whole=True)
    return made


def skips(of: FrameBudget, age_ms: float, *, others_wait: bool = True, n_lines: int = LINES, step: int = 1) -> bool:
    return of.skips(header(n_lines), round(age_ms * NS_PER_MS), step, others_wait=others_wait)


def ages(first_ms: float) -> list[float]:
    """Of the frames that wait, oldest first."""
    return [first_ms - k * PERIOD_MS for k in range(int(first_ms // PERIOD_MS) + 1)]


def test_an_engine_slower_than_the_scanner_goes_to_the_newest() -> None:
    assert [skips(slow, age) for slow in [budget(40)] for age in ages(135)] == [True, True, True, True, False]


def test_a_hiccup_that_is_made_good_in_time_costs_nothing() -> None:
    assert [skips(fast, age) for fast in [budget(1)] for age in ages(530)] == [False] * 17  # 2 + 17 * 1 ms


def test_a_faster_engine_leaves_out_no_more_than_it_must() -> None:
    # Newest 3 ms old; 6 frames of 10 ms are too many for it, and 5, and 4 are not.
    assert [skips(some, age) for some in [budget(10)] for age in ages(168)] == [True, True, *[False] * 4]


def test_beyond_the_limit_only_the_newest_is_left_however_fast_the_engine() -> None:
    assert [skips(fast, age) for fast in [budget(0.1)] for age in ages(33 * 33 + 1)] == [True] * 33 + [False]


def test_a_frame_that_is_in_time_is_never_left_out() -> None:
    assert not skips(budget(40), 9)
    assert not skips(budget(40, deadline_ms=200), 135)


def test_an_engine_that_keeps_up_decides_the_newest_however_late() -> None:
    assert not skips(budget(30), 135, others_wait=False)
    assert not skips(budget(30), 32)  # another has not been scanned, whatever waits


def test_a_slower_engine_lets_a_late_newest_frame_go_to_be_free_for_the_next_but_never_two_in_a_row() -> None:
    slow = budget(40)
    assert not skips(slow, 0, others_wait=False)
    assert [skips(slow, 14, others_wait=False) for _ in range(4)] == [True, False, True, False]
    # Where no frame could be in time, all are decided.
    slower = budget(60)
    assert not any(skips(slower, age, others_wait=age > 33) for age in (0, 14, 0, 47, 80, 14, 14))


def test_one_frame_that_was_held_up_does_not_make_an_engine_slow() -> None:
    held_up = budget(1)
    for cost_ms in (40, 1, 45):
        held_up.note_cost(cost_ms * NS_PER_MS, whole=True)
    assert not any(skips(held_up, age) for age in ages(530))
    held_up.note_cost(40 * NS_PER_MS, whole=True)
    assert skips(held_up, 530)


def test_where_planes_are_scanned_in_turn_frames_of_this_plane_are_counted() -> None:
    turns = budget(40)
    assert not skips(turns, 98, step=3)
    assert skips(turns, 101, step=3)
    assert turns.n_behind == 1


def test_the_first_strip_of_a_frame_is_in_time_if_its_own_part_is() -> None:
    assert skips(budget(40), 36, n_lines=LINES)
    assert not skips(budget(40), 36, n_lines=LINES // 8)
    parts = budget(1)
    for _ in range(3):
        for strip in range(8):
            parts.note_cost(5 * NS_PER_MS, whole=strip == 7)
    assert skips(parts, 46, n_lines=LINES // 8)


@pytest.mark.parametrize("age_ms", [40, 500, 5000])
def test_where_the_source_waits_nothing_is_left_out(age_ms: int) -> None:
    assert not skips(budget(40, lossless=True), age_ms)


def test_frames_that_are_under_way_for_long_and_come_in_bursts_are_all_decided() -> None:
    """A driver that reads what another program writes: 8 frames every 264 ms, the last of them 300 ms old, or 30."""
    for way_ms in (300, 30):
        fast = budget(1)
        assert not skips(fast, way_ms, others_wait=False)
        for _ in range(5):
            of_burst = [way_ms + PERIOD_MS * (7 - k) + k for k in range(8)]
            assert [skips(fast, age, others_wait=age != of_burst[-1]) for age in of_burst] == [False] * 8


def test_under_way_for_long_is_not_far_behind() -> None:
    slow_link = budget(40, deadline_ms=2000)
    assert not skips(slow_link, 33 * 40, others_wait=False)
    assert not skips(slow_link, 33 * 42, others_wait=True)
    assert slow_link.n_behind == 2
    assert skips(slow_link, 33 * 73 + 1, others_wait=True)

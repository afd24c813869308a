"""What Prairie View does not say is doubted: frames that are missing for good, and no others."""

from __future__ import annotations

import random

import pytest

from drivers.microscopes.prairieview.pace import PaceWatch

PERIOD_NS = 1e9 / 60
RING_NS = 90 * PERIOD_NS
MS = 1_000_000


def watched(scanned, *, looks_ms=5.0, late_ms=lambda t_ms: 0.0, period_error=0.0, held_ms=()):
    """Doubts about frames that are scanned at their times (in periods; None: lost), looked for now and then.

    `held_ms`: spans in which nobody looks.
    """
    watch, doubts, number, at, t_ms = PaceWatch(PERIOD_NS * (1 + period_error), RING_NS, 0), [], 0, 0, 0.0
    end_ms = scanned[-1][0] * PERIOD_NS / MS + 50
    while t_ms < end_ms:
        t_ms += looks_ms
        if any(first <= t_ms < last for first, last in held_ms):
            continue
        n = 0
        while at < len(scanned) and scanned[at][0] * PERIOD_NS / MS + late_ms(t_ms) <= t_ms:
            n += not scanned[at][1]
            at += 1
        if n:
            number += n
            doubt = watch.see(n, number, round(t_ms * MS))
            if doubt is not None:
                doubts.append(doubt)
    return doubts


def frames(n, lost=()):
    return [(i, i in lost) for i in range(1, n + 1)]


@pytest.mark.parametrize("period_error", [0.0, 0.001, -0.001])
def test_a_steady_scanner_leaves_no_doubt_however_late_word_of_it_is(period_error):
    draw = random.Random(2)
    late = lambda t_ms: draw.choice([0.0, 0.0, 3.0, 40.0, 90.0])  # noqa: E731
    held = [(1000.0 * i, 1000.0 * i + draw.uniform(50, 700)) for i in range(3, 60, 4)]
    assert watched(frames(3600), late_ms=late, period_error=period_error, held_ms=held) == []


def test_a_rate_that_was_told_badly_is_doubted_at_first_and_then_known():
    doubts = watched(frames(7200), period_error=-0.01)
    assert 1 <= len(doubts) <= 3
    assert doubts[-1].last < 60 * 20


@pytest.mark.parametrize("n_lost", [1, 2, 7, 100])
@pytest.mark.parametrize("first", [700, 1111, 2000])
def test_frames_that_are_lost_without_a_word_lie_within_one_doubt(n_lost, first):
    doubts = watched(frames(3600, range(first, first + n_lost)), late_ms=lambda t_ms: (t_ms * 7.3) % 20)
    assert len(doubts) == 1
    assert doubts[0].first <= first - 1
    assert doubts[0].last >= first
    assert doubts[0].last - doubts[0].first < 600


def test_a_loss_while_both_sides_were_held_up_is_doubted():
    """The scanner's program stands still, then scans what it has missed in a burst, more than the ring holds."""
    held = 180
    burst = [(900 + held, False)] * 90 + [(900 + held, True)] * (held - 90)
    scanned = [*frames(900), *burst, *[(i, False) for i in range(900 + held + 1, 2400)]]
    doubts = watched(scanned)
    assert len(doubts) == 1
    assert doubts[0].first <= 900
    assert doubts[0].last >= 991


def test_what_had_piled_up_before_an_acquisition_seemed_to_begin_is_doubted_and_a_real_beginning_is_not():
    watch = PaceWatch(PERIOD_NS, RING_NS, 0)
    for piled in (0, 80):
        watch.begin_anew()
        number, doubts = 1, []
        watch.see(1, number, 10**12)
        for i in range(600):
            n = 1 + piled if i == 20 else 1
            number += n
            doubts.append(watch.see(n, number, round(10**12 + (i + 1) * PERIOD_NS)))
        found = [doubt for doubt in doubts if doubt]
        assert len(found) == (piled > 0)
        if piled:
            assert found[0].first == 1
            assert found[0].last > 20 + piled


def test_frames_that_were_passed_over_on_purpose_are_no_doubt():
    watch = PaceWatch(PERIOD_NS, RING_NS, 0)
    for number in range(1200):
        if number == 600:
            watch.pass_over(12)
        late = 12 if number >= 600 else 0
        assert watch.see(1, number, round((number + late) * PERIOD_NS)) is None


def test_what_no_window_has_judged_when_an_acquisition_ends_is_doubted_then():
    for n_lost in (0, 1, 50):
        watch = PaceWatch(PERIOD_NS, RING_NS, 0)
        for number in range(1, 100):
            late = n_lost if number > 60 else 0
            assert watch.see(1, number, round((number + late) * PERIOD_NS)) is None
        doubt = watch.end()
        assert (doubt is not None) == (n_lost > 0)
        if doubt:
            assert doubt.first <= 60 < doubt.last
        assert watch.end() is None

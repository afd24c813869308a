"""Refusals are told, and do not fill a log."""

from __future__ import annotations

from safety_rig import FakeClock

from rt_engine.transport.refusals import MOST_IN_WINDOW, WINDOW_NS, Refusals


def test_the_same_refusal_is_told_at_every_tenfold() -> None:
    refusals = Refusals(FakeClock())
    for _ in range(150):
        refusals.note("refused 'arm'")
    assert refusals.take() == ["refused 'arm'", "refused 'arm' (10 times)", "refused 'arm' (100 times)"]


def test_many_different_ones_at_once_are_counted_and_the_next_window_is_told_again() -> None:
    clock = FakeClock()
    refusals = Refusals(clock)
    for i in range(1000):
        refusals.note(f"refused {i}")
    assert refusals.take() == [f"refused {i}" for i in range(MOST_IN_WINDOW)]
    clock.step(WINDOW_NS)
    refusals.note("refused once more")
    told = refusals.take()
    assert told[0].startswith(f"refused {1000 - MOST_IN_WINDOW} more")
    assert told[1:] == ["refused once more"]


def test_what_is_remembered_is_bounded() -> None:
    refusals = Refusals(FakeClock())
    for i in range(10_000):
        refusals.note(f"refused {i}")
    assert len(refusals._seen) <= 200

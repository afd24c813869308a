"""Every frame number has one fate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rt_engine.interfaces.fates import Fate
from rt_engine.services.frame_book import FrameBook

_EXCLUSIVE = [Fate.DECIDED, Fate.UNUSED, Fate.SKIPPED, Fate.REFUSED, Fate.DISCARDED]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(_EXCLUSIVE), st.booleans()), min_size=1, max_size=60))
def test_fates_sum_up_to_the_span_and_only_what_is_unusual_is_told(steps: list[tuple[int, Fate, bool]]) -> None:
    told: list[tuple[Fate, int, int]] = []
    book = FrameBook(lambda fate, first, n, reason: told.append((fate, first, n)))
    index, n_missing = -1, 0
    for position, (missing, fate, late) in enumerate(steps):
        missing = 0 if position == 0 else missing
        index += missing + 1
        book.saw(index)
        if missing:
            book.note(Fate.MISSING, index - missing, missing)
            n_missing += missing
        book.note(fate, index)
        if late and fate is Fate.DECIDED:
            book.note(Fate.LATE, index)
    assert book.n_unaccounted == 0
    assert book.counts[Fate.MISSING] == n_missing == sum(n for fate, _, n in told if fate is Fate.MISSING)
    assert not {Fate.DECIDED, Fate.UNUSED} & {fate for fate, _, _ in told}


def test_a_number_without_a_fate_is_seen() -> None:
    book = FrameBook(lambda fate, first, n, reason: None)
    for index in range(3):
        book.saw(index)
    book.note(Fate.DECIDED, 0)
    assert book.n_unaccounted == 2

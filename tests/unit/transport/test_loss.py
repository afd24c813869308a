"""Loss accounting counts what is missing, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rt_engine.transport.loss import FrameOrder, FrameSequence, SequenceTracker


def test_the_first_number_seen_is_the_origin_not_a_gap() -> None:
    tracker = SequenceTracker()
    assert tracker.see("a", "boot", "spikes.0", 41) == 0
    assert tracker.see("a", "boot", "spikes.0", 44) == 2
    assert (tracker.gaps, tracker.missing) == (1, 2)


def test_a_restarted_sender_begins_again_without_a_gap() -> None:
    tracker = SequenceTracker()
    tracker.see("a", "first", "log", 100)
    assert tracker.see("a", "second", "log", 0) == 0
    assert tracker.missing == 0


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_missing_is_the_number_of_messages_not_delivered_between_the_first_and_the_last(kept: list[bool]) -> None:
    tracker = SequenceTracker()
    delivered = [seq for seq, keep in enumerate(kept) if keep]
    for seq in delivered:
        tracker.see("a", "b", "t", seq)
    expected = (delivered[-1] - delivered[0] + 1 - len(delivered)) if delivered else 0
    assert tracker.missing == expected


def test_frames_are_new_duplicate_or_out_of_order() -> None:
    order = FrameSequence()
    assert order.see(5) == (FrameOrder.NEW, 0)
    assert order.see(5) == (FrameOrder.DUPLICATE, 0)
    assert order.see(9) == (FrameOrder.NEW, 3)
    assert order.see(7) == (FrameOrder.STALE, 0)
    assert order.see(10) == (FrameOrder.NEW, 0)
    assert (order.lost, order.duplicated, order.out_of_order) == (3, 1, 1)

"""A plane's frames are counted by their volume where there is one, whatever else the frame counter counts."""

import numpy as np

from rt_engine.transport.loss import FrameOrder
from rt_engine.transport.plane_counter import PlaneCounter


def test_without_volumes_the_frame_counter_is_the_planes_own():
    counter = PlaneCounter()
    assert [counter.see(frame, None) for frame in (7, 8, 11, 11, 9)] == [
        (FrameOrder.NEW, 0), (FrameOrder.NEW, 0), (FrameOrder.NEW, 2), (FrameOrder.DUPLICATE, 0), (FrameOrder.STALE, 0),
    ]  # fmt: skip
    assert (counter.index, counter.frames_per_index, counter.counts_volumes) == (11, 1, False)
    np.testing.assert_array_equal(counter.frames_of(np.array([9, 11])), [9, 11])


def test_with_volumes_frames_of_other_planes_and_of_the_flyback_are_no_gap():
    counter = PlaneCounter()
    assert [counter.see(5 * volume + 2, volume) for volume in (0, 1, 2, 4)] == [
        (FrameOrder.NEW, 0), (FrameOrder.NEW, 0), (FrameOrder.NEW, 0), (FrameOrder.NEW, 1),
    ]  # fmt: skip
    assert (counter.index, counter.frames_per_index) == (4, 5)
    assert counter.sequence.lost == 1
    np.testing.assert_array_equal(counter.frames_of(np.array([1, 3, 4])), [7, 17, 22])


def test_a_frame_that_comes_twice_or_late_changes_nothing_that_is_known():
    counter = PlaneCounter()
    for frame, volume in ((0, 0), (3, 1), (3, 1), (0, 0)):
        counter.see(frame, volume)
    assert (counter.index, counter.frames_per_index) == (1, 3)

"""What several planes say comes out in the order of scanning, however it arrives, and nothing waits for ever."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_engine.interfaces.messages import ActivityHeader, Mode, SpikesHeader
from rt_engine.services.frame_join import FrameJoin

MS = 1_000_000


def spikes(
    plane: int, volume: int | None, *, frame: int = 0, mode: Mode = Mode.LIVE, strip: int = 0, n_strips: int = 1
):
    n_lines = 8 // n_strips
    return SpikesHeader(
        source=f"inference.{plane}", host="h", boot_id="b", seq=0, t_sent_ns=0, plane=plane, frame=frame, volume=volume,
        line0=strip * n_lines, n_lines=n_lines, hold_frames=0, mode=mode, t_scan_ns=0, t_received_ns=0, t_decided_ns=0,
        n_events=0,
    )  # fmt: skip


def activity(plane: int, volume: int) -> ActivityHeader:
    return ActivityHeader(
        source=f"inference.{plane}", host="h", boot_id="b", seq=0, t_sent_ns=0, plane=plane, frame=0, volume=volume,
        t_scan_ns=0, shift_y_px=0.0, shift_x_px=0.0, quality=1.0, rois_rev=1, n_rois=0, fields=[], stage_ns={},
    )  # fmt: skip


def join(planes=(0, 1), most_wait_ns=None) -> FrameJoin:
    one = FrameJoin(planes, most_wait_ns)
    for plane in planes:
        one.set_lines(plane, 8)
    return one


def taken(one: FrameJoin, now_ns: int = 0):
    return [(h.plane, h.volume, h.line0 if isinstance(h, SpikesHeader) else "activity") for h, _ in one.take(now_ns)]


def test_one_plane_waits_for_nothing():
    one = join((3,))
    one.put(spikes(3, None, frame=9), b"x", 0)
    assert [payload for _, payload in one.take(0)] == [b"x"]


def test_a_later_frame_waits_for_an_earlier_one_of_another_plane():
    one = join()
    one.put(spikes(0, 0), b"", 0)
    one.put(spikes(0, 1), b"", 0)
    assert taken(one) == [(0, 0, 0)]
    one.put(spikes(1, 0), b"", 0)
    assert taken(one) == [(1, 0, 0), (0, 1, 0)]
    one.put(spikes(1, 1), b"", 0)
    assert taken(one) == [(1, 1, 0)]


def test_live_nothing_waits_longer_than_said_and_what_comes_after_it_is_counted():
    one = join(most_wait_ns=5 * MS)
    one.put(spikes(1, 0), b"", 0)
    assert taken(one, 4 * MS) == []
    assert taken(one, 5 * MS) == [(1, 0, 0)]
    assert one.overtaken == 0
    one.put(spikes(0, 0), b"", 6 * MS)
    assert taken(one, 6 * MS) == [(0, 0, 0)]
    assert one.overtaken == 1


@pytest.mark.parametrize("mode", [Mode.BASELINE, Mode.CALIBRATING, Mode.PAUSED])
def test_what_is_not_live_waits_for_nothing(mode: Mode):
    one = join()
    one.put(spikes(1, 7, mode=mode), b"", 0)
    assert taken(one) == [(1, 7, 0)]


def test_planes_of_no_rig_are_passed_over():
    one = join()
    one.put(spikes(10, 0), b"", 0)
    assert taken(one) == []


@given(st.integers(1, 3), st.integers(1, 4), st.data())
def test_the_order_does_not_depend_on_the_order_of_arrival(n_planes: int, n_strips: int, data: st.DataObject):
    n_strips = {3: 4}.get(n_strips, n_strips)
    streams = {
        plane: [
            spikes(plane, volume, strip=strip, n_strips=n_strips) for volume in range(4) for strip in range(n_strips)
        ]
        for plane in range(n_planes)
    }
    one, found = join(range(n_planes)), []
    while any(streams.values()):
        plane = data.draw(st.sampled_from([plane for plane, left in streams.items() if left]))
        one.put(streams[plane].pop(0), b"", 0)
        found += taken(one)
    lines = [strip * (8 // n_strips) for strip in range(n_strips)]
    assert found == [
        (plane, volume, line) for volume, plane, line in itertools.product(range(4), range(n_planes), lines)
    ]
    assert one.overtaken == 0


def test_activity_comes_after_the_spikes_of_its_frame_and_before_what_was_scanned_later():
    one = join()
    one.awaits_activity = True
    for plane in (0, 1):
        one.put(spikes(plane, 0), b"", 0)
    assert taken(one) == [(0, 0, 0)]
    one.put(activity(0, 0), b"", 0)
    assert taken(one) == [(0, 0, "activity"), (1, 0, 0)]
    one.put(spikes(0, 1), b"", 0)
    assert taken(one) == []
    one.put(activity(1, 0), b"", 0)
    assert taken(one) == [(1, 0, "activity"), (0, 1, 0)]


def test_one_plane_never_waits_for_its_activity():
    one = join((0,))
    one.awaits_activity = True
    one.put(spikes(0, 0), b"", 0)
    one.put(spikes(0, 1), b"", 0)
    assert taken(one) == [(0, 0, 0), (0, 1, 0)]


def test_frames_of_the_flyback_are_passed_over():
    one = join()
    one.put(spikes(0, 0), b"", 0)
    one.put(spikes(0, None, frame=2), b"", 0)
    one.put(spikes(1, 0), b"", 0)
    one.put(spikes(1, 1), b"", 0)
    assert taken(one) == [(0, 0, 0), (1, 0, 0)]

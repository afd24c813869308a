"""Scanbox by its memory map: numbers that stay at 32,767, planes, a second reader, and sizes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from safety_rig import MS, FakeClock

from drivers.microscopes.scanbox.microscope import ScanboxMicroscope
from drivers.microscopes.scanbox.slot import FREE
from drivers.microscopes.simulators.pictures import stamp_of
from drivers.microscopes.simulators.scanbox import SimulatedScanbox
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanboxMicroscope as Config

SHAPE = (12, 20)
PERIOD_MS = 33


class Ticking(FakeClock):
    """Moves on by itself, so that a driver that waits comes to an end."""

    advances_by_ns = 0

    def now_ns(self):
        self.step(self.advances_by_ns)
        return super().now_ns()


class Bench:
    """A driver and its Scanbox, in a time of their own."""

    def __init__(self, folder, n_planes=1, **config):
        self.clock, path = Ticking(), folder / "scanbox.mmap"
        self.box = SimulatedScanbox(path, SHAPE, n_planes)
        values = {"driver": "scanbox", "mmap_file": str(path), "frame_rate_hz": 1000 / PERIOD_MS}
        self.microscope = ScanboxMicroscope(Config.model_validate(values | config), self.clock)
        self.buffer = np.zeros(SHAPE, "<u2")

    def begin(self, number=0):
        """Geometry from a frame, which is not delivered."""
        self.clock.advances_by_ns = 50 * MS
        assert self.microscope.open() is None
        self.clock.advances_by_ns = 0
        self.box.scan(number)
        geometry = self.microscope.open()
        self.microscope.start()
        return geometry

    def each(self, number, stamp=None, reads=True):
        """A scan, and what is read of it a millisecond later."""
        self.box.scan(number, stamp)
        self.clock.step(MS)
        info = self.microscope.read(self.buffer, 0.0) if reads else None
        self.clock.step((PERIOD_MS - 1) * MS)
        return info

    def close(self):
        self.microscope.close()
        self.box.close()


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(**more):
        made.append(Bench(tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_frames_are_numbered_as_scanbox_does_and_those_left_out_are_gaps(bench):
    one = bench()
    geometry = one.begin()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.adc_max) == (*SHAPE, 65535)
    found = [one.each(n, reads=n not in (4, 5)) for n in range(1, 9)]
    assert [info.frame for info in found if info] == [1, 2, 3, 4, 7, 8]
    assert one.box.skipped == 2


def test_where_the_number_can_grow_no_more_frames_are_counted_by_when_the_slot_was_free(bench):
    one = bench()
    one.begin(32_750)
    found = []
    for number in range(32_751, 32_790):
        info = one.each(number, stamp=number)
        found.append((info.frame, bool(info.flags & FrameFlag.NO_COUNTER)))
        assert stamp_of(one.buffer) == (number, 0)
    assert found == [(number, number >= 32_767) for number in range(32_751, 32_790)]


def test_a_driver_that_slept_while_the_number_stands_still_counts_what_scanbox_left_out(bench):
    one = bench()
    one.begin(32_760)
    found = []
    for number in range(32_761, 32_800):
        info = one.each(number, stamp=number, reads=number not in (32_780, 32_781, 32_782))
        if info is not None:
            found.append((info.frame, stamp_of(one.buffer)[0]))
    assert all(frame == number for frame, number in found)
    assert [number for _, number in found if number in range(32_779, 32_785)] == [32_779, 32_780, 32_784]


@pytest.mark.parametrize(("held", "is_told"), [(0.1, False), (0.6, False), (0.9, True), (1.3, True)])
def test_where_frames_are_counted_by_time_a_loss_that_cannot_be_excluded_is_told(bench, held, is_told):
    one = bench()
    one.begin(32_760)
    for number in range(32_761, 32_900):
        one.each(number)
    one.box.scan(32_900)
    one.clock.step(round(held * PERIOD_MS) * MS)
    before = one.microscope.read(one.buffer, 0.0)
    one.clock.step(round((2 - held) * PERIOD_MS) * MS)
    one.box.scan(32_902 if held > 1 else 32_901)
    one.clock.step(MS)
    after = one.microscope.read(one.buffer, 0.0)
    assert bool(after.flags & FrameFlag.LOST_BEFORE or after.frame > before.frame + 1) is is_told


def test_planes_follow_the_number_also_where_scanbox_begins_again(bench):
    one = bench(n_planes=3)
    assert one.begin().frames_per_volume == 3
    found = [one.each(n) for n in (1, 2, 3, 4, 0, 1, 2)]
    assert [(info.plane, info.volume) for info in found] == [
        (1, 0), (2, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2),
    ]  # fmt: skip
    assert [bool(info.flags & FrameFlag.LOST_BEFORE) for info in found] == [n == 4 for n in range(7)]


def test_a_frame_that_a_second_reader_has_taken_is_torn_and_said(bench, monkeypatch):
    one = bench()
    one.begin()
    slot, copy = one.microscope._slot, one.microscope._slot.copy

    def stolen(*arguments, **more):
        copy(*arguments, **more)
        slot.set_number(FREE)

    monkeypatch.setattr(slot, "copy", stolen)
    assert one.each(1) is None
    monkeypatch.undo()
    assert one.microscope.rejected == 1
    assert "only one" in one.microscope.why
    assert one.each(2).frame == 2


def test_light_and_lie_of_the_picture_are_settings(bench):
    one = bench(inverted=False, column_major=False)
    one.begin()
    one.each(1)
    turned = (65535 - one.buffer).reshape(SHAPE[1], SHAPE[0]).T
    assert stamp_of(turned) == (1, 0)


def test_a_scan_of_another_size_and_a_file_that_is_too_small_are_said(bench, tmp_path):
    one = bench()
    one.begin()
    one.box.shape = (12, 24)
    with pytest.raises(DeviceError, match="begin another"):
        one.each(1)
    small = tmp_path / "small.mmap"
    small.write_bytes(bytes([5, 0, 12, 0, 20, 0]) + bytes(100))
    microscope = ScanboxMicroscope(Config(driver="scanbox", mmap_file=str(small), frame_rate_hz=30.0), one.clock)
    microscope._attach()
    microscope._slot.set_number(3)
    with pytest.raises(DeviceError, match="too small"):
        microscope.open()
    microscope.close()


def test_a_file_that_scanbox_has_just_made_full_of_noughts_holds_no_frame(bench, tmp_path):
    one = bench()
    one.close()
    (tmp_path / "scanbox.mmap").write_bytes(bytes(4000))
    one.clock.advances_by_ns = 50 * MS
    assert one.microscope.open() is None
    one.microscope._slot.set_number(0)
    assert one.microscope.open() is None
    one.clock.advances_by_ns = 0
    assert one.microscope._slot.number() == FREE
    one.box = SimulatedScanbox(tmp_path / "scanbox.mmap", SHAPE)
    one.box.scan(7)
    assert one.microscope.open().n_lines == SHAPE[0]
    one.microscope.start()
    assert one.each(8).frame == 8


def test_a_file_that_scanbox_is_still_making_is_mapped_anew(bench, tmp_path):
    path = tmp_path / "scanbox.mmap"
    path.write_bytes(bytes(64))
    one = bench()
    one.clock.advances_by_ns = 50 * MS
    assert one.microscope.open() is None
    with path.open("ab") as file:
        file.write(bytes(1_000_000))
    one.box.close()
    one.box = SimulatedScanbox(path, SHAPE)
    one.box.scan(3)
    assert one.microscope.open() is None
    assert one.microscope.open() is None
    one.box.scan(4)
    assert one.microscope.open() is not None

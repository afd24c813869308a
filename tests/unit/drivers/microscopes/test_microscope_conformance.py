"""What every microscope driver keeps to, whoever its vendor is; a driver that is not here is not registered."""

from __future__ import annotations

import itertools
import threading
import time
from typing import get_args

import numpy as np
import psutil
import pytest
from microscope_sides import DEADLINE_S, OWN_SOURCES, SHAPE, SIDES
from pydantic import TypeAdapter

from drivers.microscopes.simulators.pictures import stamp_of
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.rig_config import MicroscopeConfig, StreamMicroscope
from rt_engine.services.microscopes import VENDORS, vendor_microscope


class Bench:
    """A driver and its vendor's side."""

    def __init__(self, kind, folder):
        self.side = SIDES[kind](folder)
        self.config = TypeAdapter(MicroscopeConfig).validate_python(self.side.config)
        self.microscope = self.made()
        self.stamp = 0
        self.buffer = None

    def made(self):
        if isinstance(self.config, StreamMicroscope):
            from drivers.microscopes.stream import StreamMicroscope as Stream

            return Stream(self.config)
        return vendor_microscope(self.config, MonotonicClock())

    def scan(self):
        self.side.scan(self.stamp)
        self.stamp += 1

    def begin(self):
        """Until the driver knows the geometry, and one frame has come that was scanned after `start`."""
        self.side.begin()
        end_s = time.monotonic() + DEADLINE_S
        while (geometry := self.microscope.open()) is None:
            assert time.monotonic() < end_s
            self.scan()
            time.sleep(0.005)
        self.buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), "<" + geometry.dtype)
        self.microscope.start()
        self.until_one()
        return geometry

    def read(self):
        info = self.microscope.read(self.buffer, 0.0)
        return None if info is None else (info, stamp_of(self.buffer))

    def take(self, n_frames):
        """All channels of the next frames."""
        found, end_s = [], time.monotonic() + DEADLINE_S
        while len(found) < n_frames * len(self.side.channels):
            assert time.monotonic() < end_s, [info.frame for info, _ in found]
            one = self.read()
            if one is None:
                time.sleep(0.001)
            else:
                found.append(one)
        return found

    def each(self, n_frames):
        """Scan and read in turn."""
        found = []
        for _ in range(n_frames):
            self.scan()
            found += self.take(1)
        return found

    def until_one(self):
        """Scan until a frame comes that was scanned from now on; what came meanwhile is read as well."""
        first, found, end_s = self.stamp, [], time.monotonic() + DEADLINE_S
        while not found or found[-1][1][0] < first or len(found) % len(self.side.channels):
            assert time.monotonic() < end_s
            one = self.read()
            if one is not None:
                found.append(one)
            elif not found or found[-1][1][0] < first:
                self.scan()
                time.sleep(0.02)
        while (self.stamp - 1) > found[-1][1][0]:
            more = self.take(1)
            found += more
        return found


@pytest.fixture(params=sorted(SIDES))
def bench(request, tmp_path):
    before = set(threading.enumerate())
    files = {one.path for one in psutil.Process().open_files()}
    bench = Bench(request.param, tmp_path)
    yield bench
    for _ in range(2):
        bench.microscope.stop()
        bench.microscope.close()
    bench.side.end()
    end_s = time.monotonic() + DEADLINE_S
    while (left := set(threading.enumerate()) - before) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not left
    assert {one.path for one in psutil.Process().open_files()} <= files


def numbers(found):
    return [info.frame for info, _ in found]


def is_told(found, microscope, rejected):
    """Whether a loss between these frames is told: by their numbers, a flag, or the count of the driver."""
    frames = sorted(set(numbers(found)))
    gaps = any(b - a > 1 for a, b in itertools.pairwise(frames))
    flagged = any(info.flags & FrameFlag.LOST_BEFORE for info, _ in found)
    return gaps or flagged or getattr(microscope, "rejected", 0) > rejected


def test_every_driver_that_a_rig_file_can_name_is_here_or_says_why_not():
    union = get_args(get_args(MicroscopeConfig)[0])
    known = {get_args(one.model_fields["driver"].annotation)[0] for one in union}
    assert known == set(SIDES) | set(OWN_SOURCES)
    tags = {get_args(one.model_fields["driver"].annotation)[0] for one in VENDORS}
    assert tags == known - {"virtual", "replay", "stream", "plugin"}


def test_a_driver_is_a_microscope_and_waits_for_a_vendor_that_is_not_there(bench):
    assert isinstance(bench.microscope, Microscope)
    assert bench.microscope.open() is None
    assert bench.microscope.open() is None
    bench.begin()


def test_every_frame_comes_once_whole_numbered_and_timed(bench):
    geometry = bench.begin()
    assert (geometry.n_lines, geometry.pixels_per_line) == SHAPE
    assert geometry.channels == bench.side.channels
    assert geometry.frame_rate_hz == pytest.approx(30.0, rel=1e-3)
    first, before_ns = bench.stamp, time.perf_counter_ns()
    found = bench.each(30)
    channels = bench.side.channels
    assert [stamp for _, stamp in found] == [(first + i, channel) for i in range(30) for channel in channels]
    assert [info.channel for info, _ in found] == list(channels) * 30
    frames = numbers(found)[:: len(channels)]
    assert frames == list(range(frames[0], frames[0] + 30))
    assert all(info.frame == frames[i // len(channels)] for i, (info, _) in enumerate(found))
    assert all(info.t_scan_ns <= time.perf_counter_ns() for info, _ in found)
    assert all(info.t_scan_ns > before_ns - 5_000_000_000 for info, _ in found)
    assert all(info.t_scan_uncertainty_ns >= 0 for info, _ in found)
    assert not any(info.flags & (FrameFlag.LOST_BEFORE | FrameFlag.DISCARD) for info, _ in found)
    assert not is_told(found, bench.microscope, 0)
    assert bench.read() is None


def test_a_vendor_that_is_restarted_is_found_again_and_its_frames_are_no_old_ones(bench):
    bench.begin()
    before = bench.each(100)
    bench.side.end()
    bench.side.begin()
    first = bench.stamp
    after = bench.until_one() + bench.each(3)
    assert all(stamp is not None and stamp[0] >= first for _, stamp in after)
    frames = numbers(before + after)[:: len(bench.side.channels)]
    assert all(b > a for a, b in itertools.pairwise(frames))
    assert is_told([before[-1], after[0]], bench.microscope, 0)
    assert not is_told(after[len(bench.side.channels) :][-3 * len(bench.side.channels) :], bench.microscope, 10**9)


def test_a_driver_that_is_restarted_gets_frames_again_and_none_from_before(bench):
    bench.begin()
    bench.each(3)
    bench.microscope.stop()
    bench.microscope.close()
    bench.microscope = bench.made()
    end_s = time.monotonic() + DEADLINE_S
    while bench.microscope.open() is None:
        assert time.monotonic() < end_s
        bench.scan()
        time.sleep(0.005)
    bench.microscope.start()
    bench.until_one()
    first = bench.stamp
    assert [stamp[0] for _, stamp in bench.each(3)][:: len(bench.side.channels)] == [first, first + 1, first + 2]


def test_a_frame_that_never_came_is_told(bench):
    if "loss" in bench.side.spared:
        assert bench.side.spared["loss"]
        bench.begin()
        return
    bench.begin()
    rejected, found, end_s = getattr(bench.microscope, "rejected", 0), bench.each(2), time.monotonic() + DEADLINE_S
    bench.side.lose(bench.stamp)
    bench.stamp += 1
    while not is_told(found, bench.microscope, rejected):
        assert time.monotonic() < end_s
        found += bench.each(1)
        time.sleep(0.005)
    frames = numbers(found)[:: len(bench.side.channels)]
    assert all(b > a for a, b in itertools.pairwise(frames))


def test_a_frame_that_the_vendor_died_in_is_not_delivered_and_the_next_are_whole(bench):
    bench.begin()
    bench.each(2)
    torn = bench.stamp
    bench.side.tear(torn)
    bench.stamp += 1
    end_s = time.monotonic() + 0.1
    seen = []
    while time.monotonic() < end_s:
        one = bench.read()
        seen += [one] if one is not None else []
    bench.side.end()
    bench.side.begin()
    after = bench.until_one() + bench.each(2)
    whole = [stamp for _, stamp in seen + after]
    assert (torn, bench.side.channels[-1]) not in whole
    assert all(stamp is not None for stamp in whole)
    assert [stamp[0] for stamp in whole[-2 * len(bench.side.channels) :]][:: len(bench.side.channels)] == [
        bench.stamp - 2,
        bench.stamp - 1,
    ]


def test_a_driver_that_sleeps_holds_nobody_up_and_what_it_missed_is_told(bench):
    bench.begin()
    before = bench.each(2)
    rejected = getattr(bench.microscope, "rejected", 0)
    for _ in range(bench.side.burst):
        bench.scan()
    end_s, found = time.monotonic() + 0.5, []
    while time.monotonic() < end_s:
        one = bench.read()
        found += [one] if one is not None else []
    found += bench.until_one()
    came = {stamp[0] for _, stamp in before + found}
    missing = set(range(before[0][1][0], max(came))) - came
    assert not missing or is_told(before + found, bench.microscope, rejected)
    frames = numbers(before + found)
    assert all(b >= a for a, b in itertools.pairwise(frames))
    assert all(stamp is not None for _, stamp in found)

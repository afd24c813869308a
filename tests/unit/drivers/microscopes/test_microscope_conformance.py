"""What every microscope driver keeps to, whoever its vendor is; a driver that is not here is not registered."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from random import Random
from typing import get_args

import numpy as np
import psutil
import pytest
from microscope_sides import (
    DEADLINE_S,
    LAWS,
    PrairieViewSide,
    ScanboxSide,
    ScanImageFileSide,
    ScanImageSide,
    StreamSide,
    ThorImageSide,
)
from own_sources import MicroManagerSide, ReplaySide, VirtualSide
from plugin_microscope import PluginSide
from system_rig import small_rig

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.rig_config import MicroscopeConfig, RigConfig
from rt_engine.services.microscopes import VENDORS, make_microscope

SIDES = {
    "virtual": VirtualSide,
    "replay": ReplaySide,
    "stream": StreamSide,
    "scanimage": ScanImageSide,
    "scanimage_file": ScanImageFileSide,
    "micromanager": MicroManagerSide,
    "thorimage": ThorImageSide,
    "scanbox": ScanboxSide,
    "prairieview": PrairieViewSide,
    "plugin": PluginSide,
}


def keeping(law):
    """The test runs over every driver that is not spared this law."""
    kinds = [kind for kind, side in SIDES.items() if law not in side.spared]
    return pytest.mark.parametrize("bench", kinds, indirect=True)


class Bench:
    """A driver and its vendor's side."""

    def __init__(self, kind, folder, patch):
        self.side = SIDES[kind](folder)
        self.side.install(patch)
        self.rig = RigConfig.model_validate(small_rig(microscope=self.side.config))
        self.microscope = self.made()
        self.stamp = 0
        self.buffer = None

    def made(self):
        return make_microscope(self.rig, MonotonicClock())

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
        return None if info is None else (info, self.side.stamp_of(self.buffer, info))

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
        if self.side.is_own:
            found = self.take(1)
            self.stamp = found[-1][1][0] + 1
            return found
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


@pytest.fixture(params=SIDES)
def bench(request, tmp_path, monkeypatch):
    before = set(threading.enumerate())
    files = {one.path for one in psutil.Process().open_files()}
    bench = Bench(request.param, tmp_path, monkeypatch)
    yield bench
    for _ in range(2):
        bench.microscope.stop()
        bench.microscope.close()
    bench.side.end()
    end_s = time.monotonic() + DEADLINE_S
    while (left := set(threading.enumerate()) - before) and time.monotonic() < end_s:
        time.sleep(0.01)
    sys.modules.pop("acme_scope", None)
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


def test_every_driver_that_a_rig_file_can_name_is_here_and_what_it_is_spared_has_a_reason():
    union = get_args(get_args(MicroscopeConfig)[0])
    known = {get_args(one.model_fields["driver"].annotation)[0] for one in union}
    assert known == set(SIDES)
    for kind, side in SIDES.items():
        assert set(side.spared) <= set(LAWS), kind
        assert all(len(reason.split()) > 4 for reason in side.spared.values()), kind
    tags = {get_args(one.model_fields["driver"].annotation)[0] for one in VENDORS}
    assert tags == known - {"virtual", "replay", "stream", "plugin"}


@keeping("waits")
def test_a_vendor_that_is_not_there_is_waited_for(bench):
    assert bench.microscope.open() is None
    assert bench.microscope.open() is None
    bench.begin()


def test_every_frame_comes_once_whole_numbered_and_timed(bench):
    geometry = bench.begin()
    assert isinstance(bench.microscope, Microscope)
    assert (geometry.n_lines, geometry.pixels_per_line) == bench.side.shape
    assert geometry.channels == bench.side.channels
    assert geometry.frame_rate_hz == pytest.approx(30.0, rel=1e-3)
    first = bench.stamp
    found = bench.each(30)
    channels = bench.side.channels
    assert [stamp for _, stamp in found] == [(first + i, channel) for i in range(30) for channel in channels]
    assert [info.channel for info, _ in found] == list(channels) * 30
    frames = numbers(found)[:: len(channels)]
    assert frames == list(range(frames[0], frames[0] + 30))
    assert all(info.frame == frames[i // len(channels)] for i, (info, _) in enumerate(found))
    assert all(b[0].t_scan_ns >= a[0].t_scan_ns for a, b in itertools.pairwise(found))
    assert not any(info.flags & (FrameFlag.LOST_BEFORE | FrameFlag.DISCARD) for info, _ in found)
    assert not is_told(found, bench.microscope, 0)
    assert bench.read() is None


@keeping("host times")
def test_a_frame_has_a_time_of_this_host_and_how_well_it_is_known(bench):
    bench.begin()
    before_ns = time.perf_counter_ns()
    for _ in range(10):
        for info, _ in bench.each(1):
            assert before_ns - 5_000_000_000 < info.t_scan_ns <= time.perf_counter_ns()
            assert info.t_scan_uncertainty_ns >= 0


@keeping("scan times")
def test_the_true_scan_time_lies_within_the_uncertainty_told_and_the_least_delay_of_the_word(bench):
    """The vendor scans evenly; word of a frame is read late by a varying time, of which only the least is not known."""
    bench.begin()
    bench.side.end()
    bench.side.begin()
    random, first, true_ns, told = Random(1), bench.stamp, {}, []
    begun_ns, least_ns, period_ns = time.perf_counter_ns(), 10**12, 1e9 / 30
    for i in range(60):
        bench.side.t_true_ns = true_ns[bench.stamp] = begun_ns + round((i + 1) * period_ns)
        time.sleep(max(0.0, (true_ns[bench.stamp] - time.perf_counter_ns()) / 1e9))
        bench.scan()
        time.sleep(random.choice((0.001, 0.004, 0.008, 0.015)))
        while (one := bench.read()) is not None:
            info, (stamp, _) = one
            if stamp >= first:
                least_ns = min(least_ns, time.perf_counter_ns() - true_ns[stamp])
                told.append((stamp - first, info.t_scan_ns - true_ns[stamp], info.t_scan_uncertainty_ns, least_ns))
    judged = [one for one in told if one[0] >= 30]
    assert len(judged) >= 20
    outside = [one for one in judged if not -one[2] <= one[1] <= one[2] + one[3]]
    assert not outside


@keeping("restart")
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


@keeping("loss")
def test_a_frame_that_never_came_is_told(bench):
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


@keeping("tear")
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
    bench.side.rest()
    for _ in range(0 if bench.side.is_own else bench.side.burst):
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

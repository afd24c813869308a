"""Prairie View by its raw stream: samples become pixels, portions become frames, and what is lost is told."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest

from drivers.microscopes.prairieview.microscope import PrairieViewMicroscope
from drivers.microscopes.prairieview.samples import FrameCutter, Layout, pixels_of
from drivers.microscopes.simulators.pictures import stamp_of
from drivers.microscopes.simulators.prairie_view import SimulatedPrairieView
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import PrairieViewMicroscope as Config
from rt_engine.transport.free_ports import free_ports

LAYOUT = Layout(12, 20, 3, 1)
DEADLINE_S = 60.0


class Bench:
    """A driver, and Prairie View in this process."""

    def __init__(self, layout=LAYOUT, **config):
        self.port = free_ports(1)[0]
        self.view = SimulatedPrairieView(self.port, layout, 30.0)
        values = {"driver": "prairieview", "port": self.port, "poll_ms": 1.0}
        self.microscope = PrairieViewMicroscope(Config.model_validate(values | config), MonotonicClock())
        self.buffer = np.zeros((layout.n_lines, layout.n_pixels), np.int16)
        self.stamp = 0

    def until(self, holds):
        end_s = time.monotonic() + DEADLINE_S
        while not (answer := holds()):
            assert time.monotonic() < end_s
            time.sleep(0.002)
        return answer

    def begin(self):
        geometry = self.until(self.microscope.open)
        self.microscope.start()
        self.until(lambda: self.view.is_streaming)
        return geometry

    def scan(self, n=1):
        for _ in range(n):
            self.view.scan(self.stamp)
            self.stamp += 1

    def take(self, n):
        found = []
        while len(found) < n:
            info = self.until(lambda: self.microscope.read(self.buffer, 0.01))
            found.append((info.frame, stamp_of(self.buffer), info))
        return found

    def close(self):
        self.microscope.stop()
        self.microscope.close()
        self.view.close()


@pytest.fixture
def bench():
    made = []

    def make(**more):
        made.append(Bench(**more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("reversed_lines", ["none", "even", "odd"])
def test_pixels_are_means_of_their_samples_with_lines_turned_and_channels_apart(reversed_lines):
    layout, random = Layout(4, 5, 3, 2), np.random.default_rng(1)
    samples = random.integers(0, 16384, layout.n_samples).astype(np.int16)
    found = pixels_of(samples, layout, 8192, reversed_lines)
    at = 0
    expected = np.zeros((2, 4, 5), np.int64)
    for line in range(4):
        for pixel in range(5):
            place = 4 - pixel if reversed_lines == ("odd" if line % 2 else "even") else pixel
            for _ in range(3):
                for channel in range(2):
                    expected[channel, line, place] += int(samples[at])
                    at += 1
    assert (found == expected // 3 - 8192).all()
    assert found.flags.c_contiguous


@pytest.mark.parametrize("portion", [1, 7, 60, 61, 1000])
def test_frames_are_found_in_portions_of_any_size(portion):
    cutter, found = FrameCutter(Layout(3, 5, 2, 2)), []
    stream = np.arange(60 * 5 + 13, dtype=np.int16)
    for at in range(0, len(stream), portion):
        found += cutter.take(stream[at : at + portion])
    assert (np.array(found) == stream[:300].reshape(5, 60)).all()
    assert cutter.drop()
    assert not cutter.drop()


def test_every_frame_comes_however_few_samples_a_request_gives(bench):
    one = bench()
    one.view.most_samples = 97
    geometry = one.begin()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.um_per_px) == (12, 20, 0.8)
    one.scan(20)
    found = one.take(20)
    assert [frame for frame, _, _ in found] == list(range(20))
    assert [stamp for _, stamp, _ in found] == [(n, 0) for n in range(20)]
    assert "-fa 1" in one.view.asked
    assert "-srd true 100" in one.view.asked


def test_after_an_acquisition_that_ended_within_a_frame_the_next_is_whole(bench):
    one = bench()
    one.begin()
    one.scan()
    one.take(1)
    one.view.scan(99, part=0.3)
    one.until(lambda: one.microscope.rejected)
    assert "within a frame" in one.microscope.why
    one.scan(2)
    found = one.take(2)
    assert [(frame, stamp) for frame, stamp, _ in found] == [(2, (1, 0)), (3, (2, 0))]
    assert [bool(info.flags & FrameFlag.LOST_BEFORE) for *_, info in found] == [True, False]


def test_dropped_data_is_told_and_of_a_volume_nothing_is_delivered_until_it_is_begun_anew(bench):
    one = bench(n_planes=2, n_flyback=1)
    assert one.begin().frames_per_volume == 3
    one.scan(4)
    found = one.take(4)
    assert [(info.plane, info.volume, bool(info.flags & FrameFlag.DISCARD)) for *_, info in found] == [
        (0, 0, False), (1, 0, False), (1, 0, True), (0, 1, False),
    ]  # fmt: skip
    one.view.has_dropped = True
    losses = one.microscope.rejected

    def lost():
        one.scan()
        while one.microscope.read(one.buffer, 0.0) is not None:
            pass
        return "dropped" in one.microscope.why and one.microscope.rejected > losses + 3

    one.until(lost)
    one.view.has_dropped = False
    time.sleep(0.5)
    while one.microscope.read(one.buffer, 0.0) is not None:
        pass
    first = one.stamp
    one.scan(3)
    found = one.take(3)
    assert [stamp for _, stamp, _ in found] == [(first + n, 0) for n in range(3)]
    assert [info.plane for *_, info in found] == [0, 1, 1]


def test_a_ring_that_ran_over_while_nobody_asked_is_told(bench):
    one = bench(ring_frames=4)
    one.begin()
    one.scan()
    one.take(1)
    one.view.is_hanging = True
    time.sleep(0.3)
    one.scan(30)
    one.view.is_hanging = False
    one.until(lambda: one.microscope.rejected)
    assert "ring" in one.microscope.why
    assert one.view.overflown == 26


def test_a_burst_that_fills_the_ring_within_milliseconds_is_told(bench):
    """Both sides were held up: no time passes by which it could be seen, and the ring may have run over."""
    one = bench(ring_frames=40)
    one.begin()
    one.scan(2)
    one.take(2)
    one.view.is_hanging = True
    one.scan(60)
    one.view.is_hanging = False
    one.until(lambda: "ring was full" in one.microscope.why)
    assert one.view.overflown == 20
    one.scan(2)
    found = one.take(1)
    while found[-1][1] != (63, 0):
        found += one.take(1)
    (before, *_), (frame, stamp, info) = found[-3:-1]
    assert stamp == (62, 0)
    assert info.flags & FrameFlag.LOST_BEFORE
    assert before < 20
    assert frame > 41


def test_a_side_that_is_too_slow_passes_over_what_waits_and_knows_how_many(bench, monkeypatch):
    one = bench(ring_frames=40)
    one.begin()
    one.scan(2)
    one.take(2)
    put, first = one.microscope._put, one.stamp
    monkeypatch.setattr(one.microscope, "_put", lambda *more: (time.sleep(0.12), put(*more)))
    end_s = time.monotonic() + 2.5
    while time.monotonic() < end_s:
        one.scan()
        time.sleep(0.033)
    monkeypatch.undo()
    found = []
    while (info := one.microscope.read(one.buffer, 0.3)) is not None:
        found.append((info.frame, stamp_of(one.buffer)[0]))
    assert one.view.overflown == 0
    assert one.microscope.rejected > 0
    assert len(found) < one.stamp - first
    assert all(b[0] - a[0] == b[1] - a[1] for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(("answer", "words"), [("linesPerFrame", "answered by"), ("framePeriod", "frame_rate_hz")])
def test_an_answer_that_is_no_number_is_said(bench, monkeypatch, answer, words):
    one = bench()
    state = one.view._state
    monkeypatch.setattr(one.view, "_state", lambda key: "" if key == answer else state(key))
    with pytest.raises(DeviceError, match=words):
        one.until(one.microscope.open)


def test_a_password_that_is_wrong_is_seen_and_tried_again(bench):
    one = bench(password="")
    one.view._password = "secret"
    assert one.microscope.open() is None
    one.until(lambda: "hung up" in one.microscope.why or "reset" in one.microscope.why.lower())


@pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS lets no process write into another; nor is there Prairie View"
)
def test_prairie_view_in_a_process_of_its_own_writes_into_our_memory_and_may_be_killed(tmp_path):
    port = free_ports(1)[0]
    config = Config.model_validate({"driver": "prairieview", "port": port})
    microscope, buffer, stamps = PrairieViewMicroscope(config, MonotonicClock()), np.zeros((64, 64), np.int16), []
    words = [sys.executable, "-m", "drivers.microscopes.simulators.prairie_view", "--port", str(port)]
    try:
        for _ in range(2):
            process = subprocess.Popen([*words, "--size", "64", "--rate-hz", "60", "--seconds", "60"])
            try:
                end_s, begun = time.monotonic() + DEADLINE_S, len(stamps)
                while microscope.open() is None:
                    assert time.monotonic() < end_s
                microscope.start()
                while len(stamps) < begun + 20:
                    assert time.monotonic() < end_s
                    if microscope.read(buffer, 0.05) is not None:
                        stamps.append(stamp_of(buffer))
            finally:
                process.kill()
                process.wait()
    finally:
        microscope.close()
    assert microscope.connections >= 2
    assert all(stamp is not None for stamp in stamps)
    for run in (stamps[:20], stamps[20:]):
        assert [number for number, _ in run] == list(range(run[0][0], run[0][0] + 20))

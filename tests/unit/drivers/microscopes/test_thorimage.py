"""ThorImage by its growing raw file: every frame once, however it grows, from one experiment to the next."""

from __future__ import annotations

import os
from random import Random

import numpy as np
import pytest
from safety_rig import MS, FakeClock

from drivers.microscopes.simulators.pictures import stamp_of
from drivers.microscopes.simulators.thorimage import SimulatedThorImage
from drivers.microscopes.thorimage.microscope import ThorImageMicroscope
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ThorImageMicroscope as Config

SHAPE = (12, 20)


class Bench:
    """A driver that reads a folder, in a time of its own."""

    def __init__(self, folder, **config):
        self.clock = FakeClock()
        values = {"driver": "thorimage", "folder": str(folder)} | config
        self.microscope = ThorImageMicroscope(Config.model_validate(values), self.clock)
        self.buffer = None

    def begin(self):
        geometry = self.microscope.open()
        self.buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), "<u2")
        self.microscope.start()
        return geometry

    def take(self, ms=10):
        """All that can be read now; then time passes."""
        found = []
        while (info := self.microscope.read(self.buffer, 0.0)) is not None:
            found.append((info.frame, info.plane, info.channel, info.volume, info.flags, stamp_of(self.buffer)))
        self.clock.step(ms * MS)
        return found


def flag(found, which):
    return [bool(one[4] & which) for one in found]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [(0,), (0, 1), (1,)])
def test_every_frame_comes_once_however_the_file_grows(tmp_path, seed, channels):
    side, bench, random, found = SimulatedThorImage(tmp_path, SHAPE, channels), Bench(tmp_path), Random(seed), []
    assert bench.microscope.open() is None
    side.begin("run_001")
    geometry = bench.begin()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.channels) == (*SHAPE, channels)
    assert (geometry.frame_rate_hz, geometry.um_per_px, geometry.dtype) == (30.0, pytest.approx(0.8), "u2")
    for _ in range(12):
        side.scan()
    while side.raw.stat().st_size < 12 * 2 * SHAPE[0] * SHAPE[1] * len(channels):
        side.save(random.choice([1, 7, 100, 479, 2000]))
        found += bench.take()
    assert [(frame, channel) for frame, _, channel, *_ in found] == [(f, c) for f in range(12) for c in channels]
    assert [stamp for *_, stamp in found] == [(f, c) for f in range(12) for c in channels]
    assert all(flag(found, FrameFlag.NO_COUNTER))
    assert not any(flag(found, FrameFlag.LOST_BEFORE))


def test_the_next_experiment_is_followed_its_planes_keep_their_place_and_the_gap_is_told(tmp_path):
    side, bench = SimulatedThorImage(tmp_path, SHAPE, n_planes=3, n_flyback=1), Bench(tmp_path)
    side.begin("run_001")
    geometry, found = bench.begin(), []
    assert geometry.frames_per_volume == 4
    for name in ("run_001", "run_002"):
        if name != "run_001":
            side.begin(name)
        for _ in range(6):
            side.scan()
        side.save()
        for _ in range(60):
            found += bench.take()
    assert [(one[0], one[1], one[3]) for one in found[:6]] == [
        (0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 2, 0), (4, 0, 1), (5, 1, 1),
    ]  # fmt: skip
    assert [(one[0], one[1], one[3]) for one in found[6:]] == [
        (8, 0, 2), (9, 1, 2), (10, 2, 2), (11, 2, 2), (12, 0, 3), (13, 1, 3),
    ]  # fmt: skip
    assert flag(found, FrameFlag.DISCARD) == [place % 4 == 3 for place in (0, 1, 2, 3, 4, 5)] * 2
    assert flag(found, FrameFlag.LOST_BEFORE) == [n == 6 for n in range(12)]
    assert [stamp for *_, stamp in found] == [(n, 0) for n in range(6)] * 2


def test_the_end_of_an_experiment_that_is_saved_after_the_next_has_begun_is_not_lost(tmp_path):
    side, bench = SimulatedThorImage(tmp_path, SHAPE), Bench(tmp_path)
    side.begin("run_001")
    bench.begin()
    other = SimulatedThorImage(tmp_path, SHAPE)
    other.begin("run_002")
    other.scan()
    other.save()
    found = [one for _ in range(15) for one in bench.take()]
    assert found == []
    side.scan()
    side.save()
    found = [one[-1] for _ in range(100) for one in bench.take()]
    assert found == [(0, 0), (0, 0)]


@pytest.mark.parametrize("how", ["shorter", "other file"])
def test_an_experiment_that_is_written_anew_under_its_name_is_read_from_its_start(tmp_path, how):
    side, bench = SimulatedThorImage(tmp_path, SHAPE), Bench(tmp_path)
    side.begin("run_001")
    bench.begin()
    for _ in range(3):
        side.scan()
    side.save()
    first = bench.take()
    if how == "other file":
        side.raw.rename(tmp_path / "old.raw")
    side.begin("run_001")
    for _ in range(2 if how == "shorter" else 3):
        side.scan()
    side.save()
    again = bench.take()
    assert [one[-1] for one in first + again] == [(0, 0), (1, 0), (2, 0), (0, 0), (1, 0), (2, 0)][: len(first + again)]
    assert [one[0] for one in again][:2] == [4, 5]
    assert flag(again, FrameFlag.LOST_BEFORE)[:2] == [True, False]


def test_what_was_written_before_is_passed_over_and_the_newest_is_followed(tmp_path):
    side, bench = SimulatedThorImage(tmp_path, SHAPE), Bench(tmp_path)
    for i, name in enumerate(("b", "a")):
        side.begin(name)
        side.scan()
        side.save()
        os.utime(side.raw, (1000 + i, 1000 + i))
    bench.begin()
    assert [one for _ in range(60) for one in bench.take()] == []
    side.scan()
    side.save()
    assert [one[-1] for one in bench.take()] == [(1, 0)]


def test_of_too_many_that_wait_the_newest_are_read_and_the_rest_is_counted(tmp_path):
    side, bench = SimulatedThorImage(tmp_path, SHAPE), Bench(tmp_path)
    side.begin("run_001")
    bench.begin()
    for _ in range(100):
        side.scan()
    side.save()
    found = bench.take()
    assert [one[0] for one in found] == list(range(36, 100))
    assert bench.microscope.rejected == 36
    assert "36" in bench.microscope.why or "100" in bench.microscope.why


def test_no_file_is_held_open_so_that_thorimage_may_do_with_it_what_it_likes(tmp_path):
    psutil = pytest.importorskip("psutil")
    side, bench = SimulatedThorImage(tmp_path, SHAPE), Bench(tmp_path)
    side.begin("run_001")
    bench.begin()
    side.scan()
    side.save()
    assert len(bench.take()) == 1
    assert [one.path for one in psutil.Process().open_files() if str(tmp_path) in one.path] == []
    side.raw.unlink()
    assert bench.take() == []


def xml(old, new):
    return lambda text: text.replace(old, new)


@pytest.mark.parametrize(("change", "words"), [
    (xml('Streaming enable="1"', 'Streaming enable="0"'), "capture mode Streaming"),
    (xml("pixelX", "pixels"), "does not tell pixelX"),
    (xml('frameRate="30"', 'frameRate="0"'), "frameRate=0"),
    (xml('onlyEnabledChannels="1"', 'onlyEnabledChannels="0"'), "`channels:"),
])  # fmt: skip
def test_what_cannot_be_followed_is_said(tmp_path, change, words):
    side = SimulatedThorImage(tmp_path, SHAPE, (0, 1))
    side.begin("run_001")
    path = side.raw.parent / "Experiment.xml"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DeviceError, match=words):
        Bench(tmp_path).microscope.open()


def test_metadata_that_is_being_written_is_waited_for(tmp_path):
    side, bench = SimulatedThorImage(tmp_path, SHAPE, averaged=4), Bench(tmp_path, channels=[2, 3])
    side.begin("run_001")
    path = side.raw.parent / "Experiment.xml"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:200], encoding="utf-8")
    assert bench.microscope.open() is None
    path.write_text(whole, encoding="utf-8")
    geometry = bench.microscope.open()
    assert geometry.channels == (2, 3)
    assert geometry.frame_rate_hz == pytest.approx(30.0)


def test_a_next_experiment_of_another_size_or_made_in_full_beforehand_is_refused(tmp_path):
    for n, (shape, full) in enumerate([((12, 24), False), (SHAPE, True)]):
        folder = tmp_path / str(n)
        side, bench = SimulatedThorImage(folder, SHAPE), Bench(folder)
        side.begin("run_001")
        bench.begin()
        other = SimulatedThorImage(folder, shape)
        other.begin("run_002", n_frames=3)
        if full:
            other.raw.write_bytes(bytes(3 * 2 * shape[0] * shape[1]))
        bench.clock.step(1000 * MS)
        assert bench.take(1000) == []
        with pytest.raises(DeviceError, match="full size" if full else "began with"):
            bench.take()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DeviceError, match="there is no folder"):
        Bench(tmp_path / "nowhere").microscope.open()

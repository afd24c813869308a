"""A growing BigTIFF of ScanImage is followed page by page, across files, without missing or inventing a frame."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safety_rig import MS, FakeClock

from drivers.microscopes.scanimage.file_microscope import ScanImageFileMicroscope
from drivers.microscopes.scanimage.growing_tiff import GrowingTiff
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanImageFile as Config

DATA = Path(os.environ.get("SPIKELOOP_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "movies" / "scanimage5.7_burgesslab_512x512x6.tif"
SHAPE = (16, 24)
METADATA = (
    "SI.hRoiManager.scanFrameRate = 30.5\nSI.hChannels.channelSave = {channels}\nSI.hFastZ.enable = {volume}\n"
    "SI.hChannels.channelAdcResolution = {{14 14}}\nSI.hRoiManager.imagingFovUm = [-48 -48;48 -48;48 48;-48 48]\n"
)


def picture(frame, channel):
    return (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) + 1000 * channel + 17 * frame - 500).astype("<i2")


def bytes_of(numbers, channels=(1,), stale=0, metadata=None, first_t_s=0.0):
    """A file as ScanImage writes it: header, block, then each page's IFD, text, strip; the last link may be stale."""
    text = (metadata or METADATA.format(channels=list(channels), volume="false")).encode() + b"\0"
    out = bytearray(
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) + struct.pack("<IIII", 117637889, 3, len(text), 0) + text
    )
    link = 8
    for number in numbers:
        for channel in channels:
            said = (
                f"frameNumbers = {number}\nacquisitionNumbers = 1\n"
                f"frameTimestamps_sec = {first_t_s + number / 30.5:.9f}\n"
            ).encode() + b"\0"
            start, n_entries = len(out), 7
            at_text = start + 8 + 20 * n_entries + 8
            at_data, n_bytes = at_text + len(said), 2 * SHAPE[0] * SHAPE[1]
            entries = [
                (256, 3, 1, SHAPE[1]), (257, 3, 1, SHAPE[0]), (258, 3, 1, 16), (270, 2, len(said), at_text),
                (273, 16, 1, at_data), (279, 16, 1, n_bytes), (339, 3, 1, 2),
            ]  # fmt: skip
            out += struct.pack("<Q", n_entries) + b"".join(struct.pack("<HHQQ", *one) for one in entries)
            out += struct.pack("<Q", stale and start + 10**9) + said + picture(number, channel).tobytes()
            out[link : link + 8] = struct.pack("<Q", start)
            link = start + 8 + 20 * n_entries
    return bytes(out), link


class Writer:
    """Grows a file as a program does that appends, and then mends the link of the page before."""

    def __init__(self, path, numbers, **more):
        self.path, self.data, self.there = path, bytes_of(numbers, **more)[0], 0
        path.write_bytes(b"")

    def grow(self, n_bytes):
        """So many bytes more; links to what is not there yet are as they were."""
        self.there = min(len(self.data), self.there + n_bytes)
        self.path.write_bytes(self.data[: self.there])

    @property
    def whole(self):
        return self.there == len(self.data)


@pytest.fixture
def rig(tmp_path):
    clock = FakeClock()
    config = Config.model_validate({"driver": "scanimage_file", "pattern": str(tmp_path / "run_*.tif")})
    microscope = ScanImageFileMicroscope(config, clock)
    yield microscope, clock, tmp_path
    microscope.close()


def read_all(microscope, clock, geometry):
    buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), "<" + geometry.dtype)
    found = []
    while (info := microscope.read(buffer, 0.0)) is not None:
        found.append((info, buffer.copy()))
    clock.step(60 * MS)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [(1,), (1, 3)])
def test_every_page_comes_once_however_the_file_grows_and_rolls_over(rig, seed, channels):
    microscope, clock, folder = rig
    assert isinstance(microscope, Microscope)
    random, found, geometry = Random(seed), [], None
    files = [range(1, 8), range(8, 15), range(15, 18)]
    for i, numbers in enumerate(files):
        writer = Writer(folder / f"run_{i:05}.tif", numbers, channels=channels, stale=seed % 2)
        while not writer.whole:
            writer.grow(random.choice([1, 3, 40, 300, 1000, 3000]))
            if geometry is None:
                geometry = microscope.open()
                if geometry is not None:
                    microscope.start()
                    started = microscope._last
            else:
                found += read_all(microscope, clock, geometry)
    for _ in range(10):
        found += read_all(microscope, clock, geometry)
    expected = [(n, c - 1) for n in range(started + 1, 18) for c in channels]
    if len(channels) > 1 and found[0][0].channel != channels[0] - 1:
        found = found[1:]
    assert [(info.frame, info.channel) for info, _ in found] == expected
    assert all((pixels == picture(info.frame, info.channel + 1)).all() for info, pixels in found)
    assert [info.t_device_s for info, _ in found[:: len(channels)]] == pytest.approx(
        [n / 30.5 for n in range(started + 1, 18)]
    )
    assert (geometry.frame_rate_hz, geometry.adc_max, geometry.um_per_px) == (30.5, 8191, 4.0)


def test_what_was_written_before_is_passed_over_and_the_newest_file_is_followed(rig):
    microscope, clock, folder = rig
    Writer(folder / "run_00001.tif", range(1, 5)).grow(10**9)
    Writer(folder / "run_00002.tif", range(5, 9)).grow(10**9)
    geometry = microscope.open()
    microscope.start()
    assert read_all(microscope, clock, geometry) == []
    Writer(folder / "run_00003.tif", range(9, 12)).grow(10**9)
    found = [info.frame for _ in range(10) for info, _ in read_all(microscope, clock, geometry)]
    assert found == [9, 10, 11]


def test_a_frame_that_is_not_in_the_file_is_a_gap_and_numbers_that_begin_again_go_on(rig):
    microscope, clock, folder = rig
    Writer(folder / "run_1.tif", [1]).grow(10**9)
    geometry = microscope.open()
    microscope.start()
    Writer(folder / "run_2.tif", [2, 3, 6]).grow(10**9)
    Writer(folder / "run_3.tif", [1, 2]).grow(10**9)
    found = [info.frame for _ in range(20) for info, _ in read_all(microscope, clock, geometry)]
    assert found == [2, 3, 6, 8, 9]


def test_the_end_of_a_file_that_is_written_after_the_next_has_begun_is_not_lost(rig):
    microscope, clock, folder = rig
    old = Writer(folder / "run_1.tif", [1, 2, 3])
    old.grow(len(old.data) - 100)
    geometry = microscope.open()
    microscope.start()
    Writer(folder / "run_2.tif", [4]).grow(10**9)
    found = [info.frame for _ in range(2) for info, _ in read_all(microscope, clock, geometry)]
    assert found == []
    old.grow(100)
    found = [info.frame for _ in range(12) for info, _ in read_all(microscope, clock, geometry)]
    assert found == [3, 4]


@pytest.mark.parametrize("keys", [
    "SI.hFastZ.numFramesPerVolume = 4\nSI.hStackManager.numSlices = 3\n",
    "SI.hStackManager.numFramesPerVolume = 3\nSI.hStackManager.numFramesPerVolumeWithFlyback = 4\n",
])  # fmt: skip
def test_planes_of_a_volume_follow_the_frame_number_also_in_the_next_acquisition(rig, keys):
    microscope, clock, folder = rig
    metadata = METADATA.format(channels=[1, 2], volume="true") + keys
    more = {"channels": (1, 2), "metadata": metadata}
    Writer(folder / "run_1.tif", [1], **more).grow(10**9)
    geometry = microscope.open()
    assert (geometry.frames_per_volume, geometry.frame_rate_hz) == (4, 30.5)
    microscope.start()
    Writer(folder / "run_2.tif", [2, 3, 4, 5, 6], **more).grow(10**9)
    Writer(folder / "run_3.tif", [1, 2, 3, 4], **more).grow(10**9)
    found = [info for _ in range(20) for info, _ in read_all(microscope, clock, geometry)][::2]
    assert [(info.frame, info.plane, info.volume) for info in found] == [
        (2, 1, 0), (3, 2, 0), (4, 2, 0), (5, 0, 1), (6, 1, 1),
        (9, 0, 2), (10, 1, 2), (11, 2, 2), (12, 2, 2),
    ]  # fmt: skip
    assert [bool(info.flags & FrameFlag.DISCARD) for info in found] == [info.frame % 4 == 0 for info in found]


@pytest.mark.parametrize(("metadata", "data", "words"), [
    ("SI.nothing = 1\n", None, "frame rate"),
    (None, b"II*\0" + bytes(40), "BigTIFF"),
])  # fmt: skip
def test_what_cannot_be_followed_is_said(rig, metadata, data, words):
    microscope, _, folder = rig
    path = folder / "run_1.tif"
    path.write_bytes(data if data is not None else bytes_of([1, 2], metadata=metadata)[0])
    with pytest.raises(DeviceError, match=words):
        microscope.open()


@pytest.mark.skipif(not REAL.is_file(), reason="the recorded ScanImage movie is not there: set SPIKELOOP_DATA")
def test_a_real_file_of_scanimage_is_read_page_by_page_with_its_metadata(rig, tmp_path):
    import tifffile

    tiff, pages = GrowingTiff(REAL), []
    expected = tifffile.imread(REAL)
    while (page := tiff.next_page()) is not None:
        out = np.zeros((page.n_lines, page.n_pixels), "<" + page.dtype)
        tiff.read(page, out)
        pages.append(out)
    tiff.close()
    assert (np.array(pages) == expected.reshape(len(pages), 512, 512)).all()
    assert len(pages) == 6
    microscope, clock, _ = rig
    data, there, geometry, found = REAL.read_bytes(), 0, None, []
    while there < len(data) + 100_000:
        there += 100_000
        (tmp_path / "run_1.tif").write_bytes(data[:there])
        if geometry is not None:
            found += read_all(microscope, clock, geometry)
        elif (geometry := microscope.open()) is not None:
            microscope.start()
    assert [(info.frame, info.channel, info.flags) for info, _ in found] == [(2, 1, 0), (3, 0, 0), (3, 1, 0)]
    assert all((picture == pages[i]).all() for (_, picture), i in zip(found, (3, 4, 5), strict=True))
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (512, 512, "i2")
    assert geometry.frame_rate_hz == pytest.approx(29.9786)
    assert geometry.um_per_px == pytest.approx(168.75 / 512)
    assert geometry.channels == (0, 1)
    assert geometry.zoom == 2.0
    assert geometry.in_words() == "512 x 512 at 29.9786 Hz, zoom 2, 0.33 um per pixel"
    assert microscope.versions == {"ScanImage": "5.7.0"}

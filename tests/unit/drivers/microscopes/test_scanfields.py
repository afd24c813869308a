"""Multiple ROIs of ScanImage are taken apart, live and in files: no plane holds lines of another, or of the flight."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from safety_rig import MS, FakeClock

from drivers.microscopes.movie_file import open_movie
from drivers.microscopes.movie_volume import open_volume
from drivers.microscopes.scanfields import chosen_fields, decoded_groups, read_scanfields
from drivers.microscopes.scanimage.file_microscope import ScanImageFileMicroscope
from drivers.microscopes.simulators.pictures import stamp_of
from drivers.microscopes.simulators.scanimage_file import FIELD_STAMPS, SimulatedScanImageFile
from rt_engine.interfaces.errors import DeviceError, MovieError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanImageFile as Config

LINES, PIXELS, GAP, RATE_HZ = 16, 24, 5, 30.0


class Rig:
    """A driver, and ScanImage's side of it."""

    def __init__(self, folder, rois=(LINES, LINES, LINES), channels=(1, 2), depths_um=(0.0,), n_flyback=0, **config):
        self.clock, self.folder, self.channels = FakeClock(), folder, channels
        volume = {"depths_um": depths_um, "n_flyback": n_flyback}
        self.side = SimulatedScanImageFile(folder, (LINES, PIXELS), channels, RATE_HZ, rois=rois, gap=GAP, **volume)
        values = {"driver": "scanimage_file", "pattern": str(folder / "run_*.tif"), **config}
        self.driver = ScanImageFileMicroscope(Config.model_validate(values), self.clock)
        self.buffer = np.zeros((LINES, PIXELS), "<i2")

    def begin(self):
        self.side.begin("run_1.tif")
        self.side.grab(1)
        geometry = self.driver.open()
        self.driver.start()
        return geometry

    def grab(self, number):
        self.clock.step(round(1000 / RATE_HZ) * MS)
        self.side.grab(number)
        return self.take()

    def take(self):
        found = []
        while (info := self.driver.read(self.buffer, 0.0)) is not None:
            found.append((info, stamp_of(self.buffer)))
        return found


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.driver.close()


def test_every_region_is_a_plane_of_its_own_lines_numbered_and_timed(rig):
    geometry = rig.begin()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.frames_per_volume) == (LINES, PIXELS, 3)
    assert geometry.frame_rate_hz == 3 * RATE_HZ
    assert (geometry.frames_per_edge, geometry.plane_names) == (3, ("ROI 1", "ROI 2", "ROI 3"))
    assert geometry.um_per_px == pytest.approx(6.0 * 15 / PIXELS)
    for number in (2, 3, 4):
        found = rig.grab(number)
        assert [(info.channel, info.plane) for info, _ in found] == [(c, p) for c in (0, 1) for p in (0, 1, 2)]
        assert [stamp for _, stamp in found] == [(number, c + FIELD_STAMPS * p) for c in (0, 1) for p in (0, 1, 2)]
        assert [info.frame for info, _ in found] == 2 * [3 * (number - 1) + 1 + p for p in (0, 1, 2)]
        assert {info.volume for info, _ in found} == {number - 1}
        ends = [info.t_scan_ns for info, _ in found[:3]]
        line_ns = 1e9 / RATE_HZ / (3 * LINES + 2 * GAP)
        assert np.diff(ends) == pytest.approx([(LINES + GAP) * line_ns] * 2, abs=100)
        assert ends[-1] <= rig.clock.now_ns()


def test_a_picture_that_never_came_is_a_gap_for_every_plane_and_a_new_acquisition_too(rig):
    rig.begin()
    before = rig.grab(2)
    after = rig.grab(5)
    for plane in range(3):
        numbers = [info.frame for info, _ in before + after if (info.plane, info.channel) == (plane, 0)]
        assert numbers == [4 + plane, 13 + plane]
    rig.side.begin("run_2.tif")
    rig.side.grab(1)
    again = []
    for _ in range(8):
        rig.clock.step(60 * MS)
        again += rig.take()
    first = [info for info, _ in again if info.channel == 0]
    assert [info.plane for info in first] == [0, 1, 2]
    assert all(info.frame % 3 == (info.plane + 1) % 3 for info in first)
    assert all(info.frame > 15 + 3 for info in first)
    assert all(info.flags & FrameFlag.LOST_BEFORE for info in first)


def test_regions_of_a_volume_are_planes_in_the_order_in_which_they_are_scanned(tmp_path):
    rig = Rig(tmp_path, rois=(LINES, LINES), channels=(1,), depths_um=(0.0, 30.0), n_flyback=1)
    geometry = rig.begin()
    assert (geometry.frames_per_volume, geometry.frame_rate_hz, geometry.frames_per_edge) == (6, 2 * RATE_HZ, 2)
    assert geometry.plane_names == ("ROI 1, depth 1", "ROI 2, depth 1", "ROI 1, depth 2", "ROI 2, depth 2")
    for number in (2, 3, 4, 5, 9):
        volume, depth = divmod(number - 1, 3)
        found = rig.grab(number)
        assert [stamp for _, stamp in found] == [(number, 0), (number, FIELD_STAMPS)]
        assert [info.frame for info, _ in found] == [2 * number - 1, 2 * number]
        assert {info.volume for info, _ in found} == {volume}
        if depth < 2:
            assert [info.plane for info, _ in found] == [2 * depth, 2 * depth + 1]
        assert {bool(info.flags & FrameFlag.DISCARD) for info, _ in found} == {depth == 2}
    rig.driver.close()


def test_a_movie_of_regions_at_several_depths_has_them_as_planes(tmp_path):
    depths = {"depths_um": (0.0, 30.0), "n_flyback": 1}
    side = SimulatedScanImageFile(tmp_path, (LINES, PIXELS), (1, 2), RATE_HZ, rois=(LINES, LINES), gap=GAP, **depths)
    side.begin("a.tif")
    for number in range(1, 10):
        side.grab(number)
    for plane in range(4):
        with open_movie(tmp_path / "a.tif", plane=plane, channel=1) as movie:
            assert (movie.n_planes, movie.n_channels, movie.n_lines, movie.n_frames) == (4, 2, LINES, 3)
            assert movie.frame_rate_hz == pytest.approx(RATE_HZ / 3)
            field, depth = plane % 2, plane // 2
            expected = [(1 + depth + 3 * volume, 1 + FIELD_STAMPS * field) for volume in range(3)]
            assert [stamp_of(frame) for frame in movie.frames()] == expected
    with pytest.raises(MovieError, match=r"no plane 4.*3 is ROI 2, depth 2"):
        open_movie(tmp_path / "a.tif", plane=4)


def test_regions_are_chosen_by_name_and_order_and_must_have_one_size(tmp_path):
    rig = Rig(tmp_path, rois=(LINES, 2 * LINES, LINES), channels=(1,), fields=["ROI 3", "ROI 1"])
    assert rig.begin().plane_names == ("ROI 3", "ROI 1")
    found = rig.grab(2)
    rig.driver.close()
    assert [stamp for _, stamp in found] == [(2, 2 * FIELD_STAMPS), (2, 0)]
    for fields, words in (
        (None, r"different size: ROI 1 \(16 lines\), ROI 2 \(32 lines\)"),
        (["soma"], "no ROI 'soma'.*ROI 1, ROI 2"),
    ):
        other = Rig(tmp_path, rois=(LINES, 2 * LINES, LINES), fields=fields)
        with pytest.raises(DeviceError, match=words):
            other.begin()
        other.driver.close()


def test_one_region_of_several_is_a_microscope_of_one_plane(tmp_path):
    rig = Rig(tmp_path, rois=(LINES, 2 * LINES), channels=(1,), fields=["ROI 2"])
    rig.buffer = np.zeros((2 * LINES, PIXELS), "<i2")
    geometry = rig.begin()
    assert (geometry.n_lines, geometry.frames_per_volume, geometry.frame_rate_hz) == (2 * LINES, 1, RATE_HZ)
    assert [(info.frame, info.plane, stamp) for info, stamp in rig.grab(2)] == [(2, 0, (2, FIELD_STAMPS))]
    rig.driver.close()


def test_regions_that_lie_elsewhere_in_the_next_file_end_the_run(tmp_path):
    rig = Rig(tmp_path, rois=(LINES + 2, LINES, LINES - 2), fields=["ROI 2"])
    rig.begin()
    rig.grab(2)
    rig.side._heights = (LINES, LINES, LINES)  # the picture is as large as before
    rig.side.begin("run_2.tif", is_anew=False)
    rig.side.grab(3)
    rig.clock.step(60 * MS)
    assert rig.take() == []
    rig.clock.step(300 * MS)
    with pytest.raises(DeviceError, match="lie elsewhere"):
        rig.take()
    rig.driver.close()


def test_a_movie_of_several_regions_has_them_as_planes(tmp_path):
    side = SimulatedScanImageFile(tmp_path, (LINES, PIXELS), (1, 2), RATE_HZ, rois=(LINES, LINES), gap=GAP)
    side.begin("a.tif")
    for number in range(1, 6):
        side.grab(number)
    pages = tifffile.imread(tmp_path / "a.tif").reshape(5, 2, 2 * LINES + GAP, PIXELS)
    for plane, first in ((0, 0), (1, LINES + GAP)):
        with open_movie(tmp_path / "a.tif", plane=plane, channel=1) as movie:
            assert (movie.n_planes, movie.n_channels, movie.n_lines) == (2, 2, LINES)
            assert movie.frame_rate_hz == RATE_HZ
            assert movie.um_per_px == pytest.approx(6.0 * 15 / PIXELS)
            assert np.array_equal(np.array(list(movie.frames())), pages[:, 1, first : first + LINES])
    with pytest.raises(MovieError, match=r"no plane 2.*0 is ROI 1; 1 is ROI 2"):
        open_movie(tmp_path / "a.tif", plane=2)
    volume = open_volume(tmp_path / "a.tif", (0, 1))
    assert (volume.n_frames, volume.require_frame_rate()) == (10, 2 * RATE_HZ)
    assert [stamp_of(volume.read(i)) for i in range(4)] == [(1, 0), (1, FIELD_STAMPS), (2, 0), (2, FIELD_STAMPS)]
    volume.close()


def test_planes_of_different_size_are_not_run_together(tmp_path):
    side = SimulatedScanImageFile(tmp_path, (LINES, PIXELS), (1,), RATE_HZ, rois=(LINES, LINES + 4), gap=GAP)
    side.begin("a.tif")
    side.grab(1)
    with pytest.raises(MovieError, match="plane 0 has 16 lines, plane 1 has 20 lines"):
        open_volume(tmp_path / "a.tif", (0, 1))
    with open_movie(tmp_path / "a.tif", plane=1) as movie:
        assert movie.n_lines == LINES + 4


def roi(lines, pixels=PIXELS, **more):
    return {"name": f"of {lines}", "scanfields": {"pixelResolutionXY": [pixels, lines]}} | more


def read(rois, n_lines, text=None, **header):
    said = {"hRoiManager.mroiEnable": "true"} | header
    groups = {"RoiGroups": {"imagingRoiGroup": {"rois": rois}}}
    told = json.dumps(groups) if text is None else text
    return read_scanfields(lambda key: said.get(key, ""), decoded_groups(told), (n_lines, PIXELS), "a.tif")


SIZE = {"pixelResolutionXY": [PIXELS, 10]}
VOLUME = {"hFastZ.enable": "true", "hStackManager.zs": "[0 30]"}


def test_regions_that_are_at_every_depth_are_taken_apart_at_every_depth():
    everywhere = [roi(10), roi(10, zs=[0, 15, 40], scanfields=3 * [SIZE]), roi(10, zs=[30, 0], discretePlaneMode=1)]
    assert [one.line0 for one in read(everywhere, 40, **VOLUME)] == [0, 15, 30]


def test_where_regions_lie_follows_from_their_heights_and_the_picture():
    places = [(one.line0, one.end) for one in read([roi(10), roi(30), roi(20)], 74)]
    assert places == [(0, 10), (17, 47), (54, 74)]
    assert [one.name for one in read([roi(10), roi(30, enable=0), roi(20)], 30)] == ["of 10", "of 20"]
    assert [(one.line0, one.end) for one in read(roi(12), 12)] == [(0, 12)]
    assert read([], 40, **{"hRoiManager.mroiEnable": "false"}) == ()
    assert chosen_fields((), None, "a.tif") == ()


@pytest.mark.parametrize(("rois", "n_lines", "words", "more"), [
    ([roi(10), roi(30)], 39, "do not come out even", {}),
    ([roi(10), roi(10), roi(10)], 33, "do not come out even", {}),
    ([roi(10)], 12, "do not come out even", {}),
    ([roi(10), roi(10, pixels=PIXELS // 2)], 25, "pixels in pictures 24 wide", {}),
    ([], 25, "not where they lie", {}),
    ([roi(10), {"name": "x", "scanfields": []}], 25, "does not tell the pixels of ROI 'x'", {}),
    ([roi(10, zs=0, discretePlaneMode=1), roi(10, zs=30, discretePlaneMode=1)], 25, "different depths", {}),
    ([roi(10), roi(10, zs=0, discretePlaneMode=1)], 25, "ROI 'of 10' at 0 um, and depths of 0, 30 um", VOLUME),
    ([roi(10), roi(10, zs=[0, 20], scanfields=2 * [SIZE])], 25, "at 0, 20 um, and depths of 0, 30 um", VOLUME),
    ([roi(10), roi(10, zs=[0, 30], scanfields=2 * [SIZE])], 25, "depths of unknown", {"hFastZ.enable": "true"}),
    ([roi(10), roi(10, scanfields=2 * [SIZE])], 25, "at unknown um", VOLUME),
    (None, 25, "not where they lie", {"text": "no JSON"}),
    ([{"name": "y", "scanfields": [{"pixelResolutionXY": [24, 10]}, {"pixelResolutionXY": [24, 12]}]}], 10,
     "does not tell the pixels", {}),
])  # fmt: skip
def test_what_does_not_add_up_is_refused_rather_than_guessed(rois, n_lines, words, more):
    with pytest.raises(MovieError, match=words) as raised:
        read(rois, n_lines, **more)
    assert raised.value.remedy

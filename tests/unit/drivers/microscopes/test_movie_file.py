"""Every kind of movie file opens frame by frame; what cannot be read is refused with file, cause and remedy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers.microscopes.movie_file import open_movie
from rt_engine.interfaces.errors import MovieError

DATA = Path(os.environ.get("SPIKELOOP_DATA", Path(__file__).parents[4] / ".." / "shared" / "data")) / "movies"


def stack(dtype: str = "u2", n_frames: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (n_frames, 24, 32)).astype(dtype)


@pytest.mark.parametrize("kind", ["plain", "imagej", "ome", "bigtiff", "deflate", "npy"])
@pytest.mark.parametrize("dtype", ["u2", "i2", "u1"])
def test_every_format_gives_back_the_frames(tmp_path: Path, kind: str, dtype: str) -> None:
    data = stack(dtype)
    path = tmp_path / ("movie.npy" if kind == "npy" else "movie.tif")
    if kind == "npy":
        np.save(path, data)
    elif kind == "imagej":
        if dtype == "i2":
            pytest.skip("ImageJ's TIFF has no signed numbers")
        tifffile.imwrite(
            path, data, imagej=True, metadata={"axes": "TYX", "finterval": 0.05, "unit": "um"}, resolution=(2, 2)
        )
    elif kind == "deflate":
        tifffile.imwrite(path, data, compression="zlib", photometric="minisblack")
    else:
        metadata = {"axes": "TYX", "TimeIncrement": 0.05, "PhysicalSizeX": 0.5} if kind == "ome" else None
        tifffile.imwrite(
            path, data, ome=kind == "ome", bigtiff=kind == "bigtiff", metadata=metadata, photometric="minisblack"
        )
    with open_movie(path) as movie:
        assert (movie.n_frames, movie.n_lines, movie.pixels_per_line, movie.n_channels) == (5, 24, 32, 1)
        assert movie.dtype == ("i2" if dtype == "i2" else "u2")
        frames = list(movie.frames())
        np.testing.assert_array_equal(frames, data)
        assert all(frame.dtype == np.dtype(movie.dtype) and frame.flags.c_contiguous for frame in frames)
        np.testing.assert_array_equal(list(movie.frames(3)), data[3:])
        if kind in ("imagej", "ome"):
            assert movie.frame_rate_hz == pytest.approx(20.0)
            assert movie.um_per_px == pytest.approx(0.5)
        assert movie.adc_max == (255 if dtype == "u1" else None)
        with pytest.raises(IndexError):
            movie.read(5)


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
def test_a_channel_is_picked_out(tmp_path: Path, axes: str) -> None:
    data = np.arange(6, dtype=np.uint16)[:, None, None] + np.zeros((1, 24, 32), np.uint16)
    shape = (3, 2, 24, 32) if axes == "TCYX" else (2, 3, 24, 32)
    tifffile.imwrite(
        tmp_path / "m.ome.tif", data.reshape(shape), ome=True, metadata={"axes": axes}, photometric="minisblack"
    )
    with open_movie(tmp_path / "m.ome.tif", channel=1) as movie:
        assert [int(frame[0, 0]) for frame in movie.frames()] == ([1, 3, 5] if axes == "TCYX" else [3, 4, 5])
        assert movie.n_channels == 2
    with pytest.raises(MovieError, match="no channel 2, the file has 2"):
        open_movie(tmp_path / "m.ome.tif", channel=2)


def test_scanimage_interleaves_channels_and_tells_rate_and_scale(tmp_path: Path) -> None:
    software = "\n".join(
        ["SI.hChannels.channelSave = [1;3]", "SI.hRoiManager.scanFrameRate = 29.97",
         "SI.hRoiManager.pixelsPerLine = 32",
         "SI.hChannels.channelAdcResolution = {14 14}", "SI.hRoiManager.imagingFovUm = [-8 -8;8 -8;8 8;-8 8]"]
    )  # fmt: skip
    data = stack("i2", 6)
    with tifffile.TiffWriter(tmp_path / "si.tif", bigtiff=True) as writer:
        for page in data:
            writer.write(page, software=software, metadata=None, contiguous=False, photometric="minisblack")
    with open_movie(tmp_path / "si.tif", channel=1) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data[1::2])
        assert (movie.frame_rate_hz, movie.um_per_px, movie.adc_max) == (29.97, 0.5, 2**13 - 1)


def write_rgb(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((3, 24, 32, 3), np.uint8), photometric="rgb")


def write_float(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((3, 24, 32), np.float32), photometric="minisblack")


def write_int32(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((3, 24, 32), np.int32), photometric="minisblack")


def write_two_sizes(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((24, 32), np.uint16), metadata=None)
        writer.write(np.zeros((12, 32), np.uint16), metadata=None)


def write_cut(path: Path) -> None:
    tifffile.imwrite(path, stack(), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-3000])


def write_cut_pages(path: Path) -> None:
    tifffile.imwrite(path, stack(), compression="zlib", photometric="minisblack")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_rgb, "colour"),
        (write_float, "float32"),
        (write_int32, "int32"),
        (write_two_sizes, "2 series"),
        (write_cut, "cut off|bytes before"),
        (write_cut_pages, "cut off|ends after"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"no tiff at all"), "cannot be read as TIFF"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_movie_is_refused_by_name(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "bad.tif"
    write(path)
    with pytest.raises(MovieError, match=message) as error, open_movie(path) as movie:
        list(movie.frames())
    assert str(path) in error.value.message


@pytest.mark.parametrize("data", [np.zeros((3, 4), np.uint16), np.zeros((3, 4, 5)), np.zeros((0, 4, 5), np.uint16)])
def test_an_array_of_another_kind_is_refused(tmp_path: Path, data: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", data)
    with pytest.raises(MovieError):
        open_movie(tmp_path / "a.npy")


def test_a_torn_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", stack())
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-100])
    with pytest.raises(MovieError, match=r"cannot be read as \.npy"):
        open_movie(tmp_path / "a.npy")


def test_a_rate_must_be_known_or_given(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", stack(), photometric="minisblack")
    with open_movie(tmp_path / "m.tif") as movie, pytest.raises(MovieError, match="--frame-rate-hz"):
        movie.require_frame_rate()
    with open_movie(tmp_path / "m.tif", frame_rate_hz=12.5) as movie:
        assert movie.require_frame_rate() == 12.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cortex_mesoscope_128x128x1000_15hz.tif", (1000, 128, 128, "i2", 15.0, 1)),
        ("cortex_tactile_64x64x500.tif", (500, 64, 64, "i2", None, 1)),
        ("hippocampus_sima_128x256x20.tif", (20, 128, 256, "u2", None, 1)),
        ("bruker_prairieview_ome_512x512x1.ome.tif", (1, 512, 512, "u2", None, 2)),
        ("scanimage5.7_burgesslab_512x512x6.tif", (3, 512, 512, "i2", 29.9786, 2)),
    ],
)
def test_real_movies_open(name: str, expected: tuple[object, ...], capfd: pytest.CaptureFixture[str]) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    with open_movie(path) as movie:
        found = (
            movie.n_frames,
            movie.n_lines,
            movie.pixels_per_line,
            movie.dtype,
            movie.frame_rate_hz,
            movie.n_channels,
        )
        assert found == expected
        assert movie.zoom == (2.0 if name.startswith("scanimage") else None)
        assert movie.read(movie.n_frames - 1).any()
    assert capfd.readouterr().err == ""

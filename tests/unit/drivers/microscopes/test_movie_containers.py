"""Frames come out of HDF5, NWB, Zarr, arrays and suite2p's binary as they went in, by plane and channel."""

from __future__ import annotations

import datetime
import pathlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from drivers.microscopes.movie_file import is_movie_folder, open_movie
from rt_engine.interfaces.errors import MovieError

N, LINES, PIXELS = 7, 24, 32
Array = np.ndarray[Any, Any]


def counts(*shape: int, dtype: str = "i2") -> Array:
    return np.random.default_rng(0).integers(-200 if dtype == "i2" else 0, 200, shape).astype(dtype)


def write(path: Path, data: Array, chunks: tuple[int, ...] | None = None, **facts: Any) -> str:
    """The array in the format of the suffix; returns what the user types."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("mov", data=data, chunks=chunks, compression="gzip" if chunks else None)
            dataset.attrs.update(facts)
            file["title"] = "text beside it"
            file["trace"] = np.zeros((3, 9))
    elif path.suffix == ".zarr":
        array = zarr.create_array(
            str(path), shape=data.shape, chunks=chunks or (3, *data.shape[1:]), dtype=data.dtype,
            zarr_format=facts.pop("zarr_format", 3),
        )  # fmt: skip
        array[...] = data
        array.attrs.update(facts)
    else:
        np.save(path, data)
    return str(path)


SUFFIXES = (".h5", ".zarr", ".npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u2", "i2", "u1", ">u2"])
@pytest.mark.parametrize("chunks", [None, (3, 10, 32)])
def test_every_container_gives_back_the_frames_in_any_order(
    tmp_path: Path, suffix: str, dtype: str, chunks: tuple[int, ...] | None
) -> None:
    data = counts(N, LINES, PIXELS, dtype=dtype)
    with open_movie(write(tmp_path / f"m{suffix}", data, chunks), frame_rate_hz=8.0) as movie:
        assert (movie.n_frames, movie.n_lines, movie.pixels_per_line) == (N, LINES, PIXELS)
        assert (movie.n_channels, movie.n_planes, movie.frame_rate_hz) == (1, 1, 8.0)
        assert movie.dtype == ("i2" if dtype == "i2" else "u2")
        np.testing.assert_array_equal(list(movie.frames()), data)
        for index in (6, 0, 5, 5, 2):
            frame = movie.read(index)
            assert frame.flags.c_contiguous
            assert frame.dtype == np.dtype(movie.dtype)
            np.testing.assert_array_equal(frame, data[index])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("axes", ["TZCYX", "ZTCYX", "TCZXY", "CZTYX", "YXTZC", "tzcyx"])
def test_plane_and_channel_are_found_in_every_order_of_axes(tmp_path: Path, suffix: str, axes: str) -> None:
    data = counts(5, 3, 2, LINES, PIXELS)
    stored = np.transpose(data, ["TZCYX".index(letter) for letter in axes.upper()])
    path = write(tmp_path / f"m{suffix}", np.ascontiguousarray(stored), tuple(min(size, 4) for size in stored.shape))
    if suffix == ".h5":
        path += ":/mov"
    for plane, channel in ((0, 0), (2, 1)):
        with open_movie(path, axes=axes, plane=plane, channel=channel) as movie:
            assert (movie.n_planes, movie.n_channels) == (3, 2)
            assert (movie.plane, movie.channel) == (plane, channel)
            np.testing.assert_array_equal(list(movie.frames()), data[:, plane, channel])
    for name, asked in (("plane", {"plane": 3}), ("channel", {"channel": 2})):
        with pytest.raises(MovieError, match=f"no {name} {asked[name]}, the file has"):
            open_movie(path, axes=axes, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_four_axes_are_not_guessed(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"m{suffix}", counts(N, 2, LINES, PIXELS))
    with pytest.raises(MovieError, match=r"has 4 axes.*--axes"):
        open_movie(path)
    for wrong in ("TYX", "TQYX", "TTYX", "TZCY"):
        with pytest.raises(MovieError, match="axes"):
            open_movie(path, axes=wrong)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [np.zeros((3, 8, 8), np.float32), np.zeros((3, 8, 8), np.int32)])
def test_numbers_that_are_no_counts_are_refused(tmp_path: Path, suffix: str, data: Array) -> None:
    path = write(tmp_path / f"m{suffix}", data, (1, 8, 8)) if suffix != ".zarr" else None
    if path is None:
        path = write(tmp_path / f"m{suffix}", data + 1)
    with pytest.raises(MovieError, match=f"{data.dtype.name}.*raw detector counts") as refused:
        open_movie(path)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("key", ["fps", "frame_rate", "fs", "fr", "frame_rate_hz"])
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_the_frame_rate_is_read_where_it_is_stored(tmp_path: Path, suffix: str, key: str) -> None:
    path = write(tmp_path / f"m{suffix}", counts(N, LINES, PIXELS), None, **{key: 12.5})
    with open_movie(path) as movie:
        assert movie.frame_rate_hz == 12.5
    with open_movie(path, frame_rate_hz=3.0) as movie:
        assert movie.frame_rate_hz == 3.0


def test_of_several_datasets_one_must_be_chosen(tmp_path: Path) -> None:
    first, second = counts(N, LINES, PIXELS), counts(4, 8, 9)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["raw/green"], file["raw/red"] = first, second
    with pytest.raises(MovieError, match=r"2 dataset.*/raw/green, /raw/red.*choose one"):
        open_movie(tmp_path / "m.h5")
    with open_movie(f"{tmp_path / 'm.h5'}:/raw/red") as movie:
        np.testing.assert_array_equal(list(movie.frames()), second)
    with pytest.raises(MovieError, match=r"no dataset /raw/blue.*/raw/green"):
        open_movie(f"{tmp_path / 'm.h5'}:/raw/blue")


def test_hdf5_that_labels_its_axes_is_believed(tmp_path: Path) -> None:
    data = counts(2, N, LINES, PIXELS)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        dataset = file.create_dataset("m", data=data)
        for dimension, label in zip(dataset.dims, ("channel", "time", "y", "x"), strict=True):
            dimension.label = label
    with open_movie(tmp_path / "m.h5", channel=1) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data[1])


@pytest.mark.parametrize("name", ["m.h5", "m.nwb"])
def test_a_torn_or_empty_hdf5_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with h5py.File(path, "w") as file:
        file["a"] = counts(N, LINES, PIXELS)
    whole = path.read_bytes()
    for content, reason in ((whole[: len(whole) // 2], "cannot be read as HDF5"), (b"", "empty"), (b"x", "cannot be")):
        path.write_bytes(content)
        with pytest.raises(MovieError, match=reason) as refused:
            open_movie(path)
        assert str(path) in str(refused.value)
    with h5py.File(path, "w") as file:
        file["traces"] = np.zeros((3, 100))
    with pytest.raises(MovieError, match="holds no dataset"):
        open_movie(path)


def nwb(path: Path, data: Array | None, **facts: Any) -> Path:
    """A TwoPhotonSeries as the NWB schema lays it out: (frame, x, y)."""
    with h5py.File(path, "w") as file:
        series = file.create_group("acquisition/TwoPhotonSeries")
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        if data is not None:
            series.create_dataset("data", data=data, chunks=(2, *data.shape[1:]))
        if "rate" in facts:
            series["starting_time"] = 0.0
            series["starting_time"].attrs["rate"] = facts["rate"]
        for name in ("timestamps", "external_file"):
            if name in facts:
                series[name] = facts[name]
        # a table of masks has three axes too, and is no movie
        file["processing/masks"] = np.zeros((4, 5, 6), np.float32)
    return path


def test_nwb_is_read_as_its_schema_says_x_before_y(tmp_path: Path) -> None:
    data = counts(N, LINES, PIXELS)
    with open_movie(nwb(tmp_path / "m.nwb", data.transpose(0, 2, 1), rate=30.5)) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)
        assert movie.frame_rate_hz == 30.5
    volume = counts(N, LINES, PIXELS, 3)
    with open_movie(nwb(tmp_path / "v.nwb", volume.transpose(0, 2, 1, 3)), plane=2) as movie:
        np.testing.assert_array_equal(list(movie.frames()), volume[..., 2])
    with open_movie(nwb(tmp_path / "other.nwb", data), axes="TYX") as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)


def test_nwb_with_time_stamps_tells_its_rate(tmp_path: Path) -> None:
    stamps = 5.0 + np.arange(N) / 20.0
    with open_movie(nwb(tmp_path / "m.nwb", counts(N, 8, 8), timestamps=stamps)) as movie:
        assert movie.frame_rate_hz == pytest.approx(20.0)


def test_nwb_whose_frames_are_elsewhere_names_the_file(tmp_path: Path) -> None:
    path = nwb(tmp_path / "m.nwb", None, external_file=np.array([b"raw_0001.tif"]))
    with pytest.raises(MovieError, match=r"another file.*raw_0001\.tif"):
        open_movie(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_of_both_versions_opens(tmp_path: Path, zarr_format: int) -> None:
    data = counts(N, LINES, PIXELS) + 300
    path = write(tmp_path / "m.zarr", data, (3, 12, 32), zarr_format=zarr_format)
    assert is_movie_folder(path)
    with open_movie(path) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr_tells_axes_rate_and_scale(tmp_path: Path, zarr_format: int) -> None:
    data = counts(N, 2, LINES, PIXELS) + 300
    group = zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
    for name, part in (("0", data), ("1", data[:, :, ::2, ::2])):
        group.create_array(name, shape=part.shape, chunks=(2, 1, 8, 8), dtype=part.dtype)[...] = part
    scales = {
        "axes": [
            {"name": "t", "type": "time", "unit": "millisecond"}, {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [
            {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [50.0, 1, 0.8, 0.8]}]}
            for name in ("0", "1")
        ],
    }  # fmt: skip
    group.attrs.update({"multiscales": [scales]} if zarr_format == 2 else {"ome": {"multiscales": [scales]}})
    with open_movie(tmp_path / "m.ome.zarr", channel=1) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data[:, 1])
        assert (movie.frame_rate_hz, movie.um_per_px, movie.n_channels) == (20.0, 0.8, 2)


def test_zarr_with_a_chunk_missing_is_refused_not_read_as_black(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "m.zarr", counts(N, LINES, PIXELS) + 300))
    next(path.rglob("c/1/*/*")).unlink()
    with pytest.raises(MovieError, match="2 of its 3 chunks"):
        open_movie(path)


def test_of_several_arrays_in_zarr_one_must_be_chosen(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "g"), mode="w")
    data = counts(N, 8, 8) + 300
    for name in ("a", "b"):
        group.create_array(name, shape=data.shape, chunks=data.shape, dtype=data.dtype)[...] = data
    with pytest.raises(MovieError, match=r"2 arrays.*a, b.*choose one"):
        open_movie(tmp_path / "g")
    with open_movie(f"{write(tmp_path / 'm.zarr', data)}") as movie:
        assert movie.n_frames == N


def test_a_folder_that_is_no_movie_is_refused(tmp_path: Path) -> None:
    assert not is_movie_folder(tmp_path)
    with pytest.raises(MovieError, match="is a folder"):
        open_movie(tmp_path)


def suite2p(folder: Path, data: Array, ops: dict[str, Any] | None) -> Path:
    data.astype("<i2").tofile(folder / "data.bin")
    if ops is not None:
        np.save(folder / "ops.npy", ops)  # type: ignore[arg-type]
    return folder / "data.bin"


def test_suite2p_binary_takes_its_size_and_rate_from_ops_without_running_it(tmp_path: Path) -> None:
    data = counts(N, LINES, PIXELS)
    ops = {
        "Ly": LINES, "Lx": np.int64(PIXELS), "fs": np.float32(7.5), "date_proc": datetime.datetime(2026, 1, 1),
        "save_path": pathlib.PurePosixPath("/there"), "meanImg": np.zeros((2, 2)), "filelist": ["a.tif"],
    }  # fmt: skip
    with open_movie(suite2p(tmp_path, data, ops)) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)
        assert (movie.frame_rate_hz, movie.dtype) == (7.5, "i2")


def test_suite2p_binary_without_ops_needs_its_size(tmp_path: Path) -> None:
    data = counts(N, LINES, PIXELS)
    path = suite2p(tmp_path, data, None)
    with pytest.raises(MovieError, match=r"no ops\.npy.*--shape"):
        open_movie(path)
    with open_movie(path, frame_shape=(LINES, PIXELS), frame_rate_hz=5.0) as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MovieError, match="no whole number"):
        open_movie(path, frame_shape=(LINES, PIXELS))


def test_a_size_for_a_file_that_says_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MovieError, match="--shape"):
        open_movie(write(tmp_path / "m.npy", counts(N, 8, 8)), frame_shape=(8, 8))


@pytest.mark.parametrize("axes", ["TZCYX", "TZYX"])
def test_planes_of_a_tiff_are_picked_out(tmp_path: Path, axes: str) -> None:
    data = counts(*({"T": 4, "Z": 3, "C": 2, "Y": LINES, "X": PIXELS}[axis] for axis in axes), dtype="u2")
    tifffile.imwrite(tmp_path / "m.ome.tif", data, ome=True, metadata={"axes": axes}, photometric="minisblack")
    with open_movie(tmp_path / "m.ome.tif", plane=2) as movie:
        assert movie.n_planes == 3
        np.testing.assert_array_equal(list(movie.frames()), data[:, 2, 0] if "C" in axes else data[:, 2])


def test_slices_of_an_imagej_stack_without_frames_are_time(tmp_path: Path) -> None:
    data = counts(6, LINES, PIXELS, dtype="u2")
    tifffile.imwrite(tmp_path / "m.tif", data, imagej=True, metadata={"axes": "ZYX"})
    with open_movie(tmp_path / "m.tif") as movie:
        np.testing.assert_array_equal(list(movie.frames()), data)


def test_scanimage_volumes_give_their_planes_and_leave_out_the_flyback(tmp_path: Path) -> None:
    # 3 volumes of 2 slices and 1 flyback image, 2 channels in turn, and half a volume at the end
    software = "\n".join(
        ["SI.hChannels.channelSave = [1;2]", "SI.hRoiManager.scanFrameRate = 30", "SI.hFastZ.enable = true",
         "SI.hStackManager.numSlices = 2", "SI.hStackManager.numFramesPerVolumeWithFlyback = 3"]
    )  # fmt: skip
    data = counts(21, 16, 16)
    with tifffile.TiffWriter(tmp_path / "si.tif", bigtiff=True) as writer:
        for page in data:
            writer.write(page, software=software, metadata=None, contiguous=False, photometric="minisblack")
    with open_movie(tmp_path / "si.tif", plane=1, channel=1) as movie:
        assert (movie.n_planes, movie.n_channels, movie.frame_rate_hz) == (2, 2, 10.0)
        np.testing.assert_array_equal(list(movie.frames()), data[[3, 9, 15]])
    with pytest.raises(MovieError, match="no plane 2, the file has 2"):
        open_movie(tmp_path / "si.tif", plane=2)

"""The same frames give the same calibration from every container, and a plane of a volume replays as that plane."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from system_rig import spikeloop, summary_of
from two_days import two_days

from rt_engine.interfaces.calibration import Calibration, load_calibration
from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.recording.reader import open_session

N_FRAMES = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One movie as plain TIFF, as plane 1, channel 1 of a HDF5 volume, and as Zarr; and its cells as of suite2p."""
    folder = tmp_path_factory.mktemp("import")
    days = two_days((0.0, 0.0), size=128, n_cells=14, n_frames=N_FRAMES, n_gone=0, n_new=0, n_silent=0)
    tifffile.imwrite(folder / "m.tif", days.first, photometric="minisblack")
    volume = np.zeros((N_FRAMES, 2, 2, 128, 128), np.uint16)
    volume[:, 1, 1] = days.first
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_dataset("raw/volume", data=volume, chunks=(16, 1, 1, 128, 128), compression="gzip")
        file["raw/other"] = np.zeros((2, 3, 4), np.uint16)
    array = zarr.create_array(str(folder / "m.zarr"), shape=days.first.shape, chunks=(50, 64, 64), dtype="u2")
    array[...] = days.first
    y, x = np.indices((128, 128))
    stat = []
    for cell in days.centres:
        at = np.hypot(y - cell[0], x - cell[1]) < 6
        stat.append({"ypix": y[at], "xpix": x[at], "lam": np.ones(int(at.sum()), np.float32)})
    np.save(folder / "stat.npy", np.array(stat, dtype=object))
    return folder


VOLUME = ("--axes", "TZCYX", "--plane", "1", "--channel", "1")


@pytest.fixture(scope="module")
def calibrations(folder: Path) -> dict[str, Calibration]:
    sources: dict[str, tuple[str, ...]] = {
        "tif": (str(folder / "m.tif"),), "h5": (f"{folder / 'v.h5'}:/raw/volume", *VOLUME),
        "zarr": (str(folder / "m.zarr"),),
    }  # fmt: skip
    for name, source in sources.items():
        more = ("--frame-rate-hz", "30", "--rois", folder / "stat.npy", "-o", folder / f"{name}.cal.h5")
        done = spikeloop("calibrate", *source, *more)
        assert done.returncode == 0, done.stderr
    return {name: load_calibration(folder / f"{name}.cal.h5") for name in sources}


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_the_container_changes_nothing(calibrations: dict[str, Calibration], kind: str) -> None:
    plain, other = calibrations["tif"], calibrations[kind]
    assert plain.n_rois == 14
    for field in fields(Calibration):
        mine, theirs = getattr(plain, field.name), getattr(other, field.name)
        if field.name in ("plane", "channel"):
            assert (mine, theirs) == (0, int(kind == "h5"))
        elif is_dataclass(mine):
            np.testing.assert_equal(asdict(mine), asdict(theirs), field.name)
        else:
            np.testing.assert_equal(mine, theirs, field.name)


@pytest.mark.realtime
def test_a_plane_of_a_volume_is_replayed_as_that_plane(
    folder: Path, calibrations: dict[str, Calibration], tmp_path: Path
) -> None:
    assert calibrations["h5"].plane == 1
    source: tuple[Any, ...] = (f"{folder / 'v.h5'}:/raw/volume", "--frame-rate-hz", "30", "--speed", "max")
    done = spikeloop(
        "replay", *source, *VOLUME, "--calibration", folder / "h5.cal.h5", "--output", tmp_path / "s", "--indicator",
        "jGCaMP8m",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert summary_of(tmp_path / "s")["frames"] == N_FRAMES
    headers = [message.header for message in open_session(tmp_path / "s").messages("spikes.1")]
    assert len(headers) == N_FRAMES
    assert all(isinstance(header, SpikesHeader) and header.plane == 1 for header in headers)
    refused = spikeloop("replay", *source, "--axes", "TZCYX", "--calibration", folder / "h5.cal.h5")
    assert refused.returncode == 2
    assert "h5.cal.h5: holds no plane 0, only 1" in refused.stderr

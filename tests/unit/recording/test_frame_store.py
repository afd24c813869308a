"""The compressed copy holds the frames of the journal, with their numbers, as any Zarr reader sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from rt_engine.interfaces.messages import FrameHeader
from rt_engine.recording.frame_store import STORE_FOLDER, FrameStore

pytest.importorskip("acquire_zarr", reason="missing acquire-zarr (extra zarr)")
SHAPE = (24, 40)


def header(frame: int, line0: int = 0, n_lines: int = SHAPE[0], **changes: Any) -> FrameHeader:
    values: dict[str, Any] = dict(
        source="a", host="h", boot_id="b", seq=0, t_sent_ns=1, plane=0, channel=0, frame=frame, volume=None,
        line0=line0, n_lines=n_lines, lines_per_frame=SHAPE[0], pixels_per_line=SHAPE[1], dtype="i2", adc_max=None,
        offset=None, frame_period_ns=1, line_period_ns=None, t_scan_ns=7, t_scan_uncertainty_ns=None, t_device_s=None,
        flags=0,
    )  # fmt: skip
    return FrameHeader(**{**values, **changes})


def image(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-300, 4000, SHAPE).astype("<i2")


def read(folder: Path, name: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    array = zarr.open_array(folder / STORE_FOLDER / name, mode="r")
    return np.asarray(array[:]), np.fromfile(folder / STORE_FOLDER / f"{name}.frames", "<i8").tolist()


def test_whole_frames_and_strips_of_planes_and_channels_come_back(tmp_path: Path) -> None:
    store = FrameStore(tmp_path)
    for frame in (5, 6, 9):
        store.add(header(frame), image(frame).tobytes())
        for line0 in range(0, 24, 8):
            strip = image(100 + frame)[line0 : line0 + 8]
            store.add(header(frame, line0, 8, plane=1, channel=2), memoryview(strip.tobytes()))
    store.close()
    store.close()
    for name, first in (("p0_c0", 0), ("p1_c2", 100)):
        pixels, numbers = read(tmp_path, name)
        assert numbers == [5, 6, 9]
        np.testing.assert_array_equal(pixels, [image(first + frame) for frame in (5, 6, 9)])


def test_frames_of_which_lines_are_missing_or_do_not_fit_are_left_out(tmp_path: Path) -> None:
    store = FrameStore(tmp_path)
    store.add(header(0), image(0).tobytes())
    store.add(header(1, 0, 8), image(1)[:8].tobytes())
    store.add(header(2), image(2).tobytes()[:-2])
    store.add(header(3, pixels_per_line=10), image(3)[:, :10].tobytes())
    store.add(header(4), image(4).tobytes())
    store.close()
    pixels, numbers = read(tmp_path, "p0_c0")
    assert numbers == [0, 4]
    np.testing.assert_array_equal(pixels, [image(0), image(4)])

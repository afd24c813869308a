"""Microscopes that no program of a vendor stands behind, in the shape in which the conformance suite drives them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from microscope_sides import SHAPE, Side
from numpy.typing import NDArray
from system_rig import small_rig

from drivers.microscopes.simulators.pictures import stamped
from rt_engine.interfaces.devices import FrameInfo

_N_FRAMES = 600


class OwnSource(Side):
    """Frames come by themselves: `scan` and what else a vendor does has nothing to do."""

    is_own = True
    spared = {
        "waits": "there is no program of a vendor that could be missing",
        "restart": "there is no program of a vendor that could be restarted",
        "loss": "there is no program of a vendor that could lose a frame on the way",
        "tear": "there is no program of a vendor that could die within a frame",
    }

    def scan(self, stamp: int) -> None:
        """It does by itself."""

    def rest(self) -> None:
        """The driver is not read for so long."""
        time.sleep(0.4)


class UnstampedSource(OwnSource):
    """Its pictures do not tell which they are, but no two are the same."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._seen: NDArray[Any] = np.zeros(0)

    def stamp_of(self, picture: NDArray[Any], info: FrameInfo) -> tuple[int, int] | None:
        """By its number; None for a picture that has been there, or is empty."""
        is_new = picture.any() and not np.array_equal(picture, self._seen)
        self._seen = picture.copy()
        return (info.frame, info.channel) if is_new else None


class VirtualSide(UnstampedSource):
    shape = (64, 64)
    spared = OwnSource.spared | {"scan times": "it is its own truth: what it says is when it scans"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = small_rig()["microscope"] | {"n_lines": 64, "pixels_per_line": 64, "pace": "real_time"}
        self.config["sample"] |= {"n_cells": 3}


class ReplaySide(OwnSource):
    spared = OwnSource.spared | {
        "scan times": "it tells the times of the recording: two replays tell the same",
        "host times": "it tells the times of the recording: two replays tell the same",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = folder / "movie.tif"
        tifffile.imwrite(path, np.array([stamped(SHAPE, number) for number in range(_N_FRAMES)]))
        self.config = {"driver": "replay", "path": str(path), "frame_rate_hz": 30.0, "speed": 1.0}


class MicroManagerSide(UnstampedSource):
    """The real core with its compiled demo camera."""

    shape = (96, 128)
    spared = {
        "waits": "it drives the camera itself: a camera that is not there is an error (test_micromanager.py)",
        "restart": "it drives the camera itself; one that stops is started again, and flagged (test_micromanager.py)",
        "loss": "the core has the only buffer; one that ran over leaves a gap in the numbers (test_micromanager.py)",
        "tear": "the core hands out whole images",
        "scan times": "the demo camera does not tell when it exposes",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {
            **{"driver": "micromanager", "config_file": "demo", "exposure_ms": 30.0, "frame_rate_hz": 30.0},
            "properties": {"OnCameraCCDXSize": "128", "OnCameraCCDYSize": "96"},
        }

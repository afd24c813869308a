"""ScanImage's logging, as `scanimage/growing_tiff.py` reads it: pages are appended, the link of the page before mended.

``python -m drivers.microscopes.simulators.scanimage_file --folder D:/data --seconds 60`` grabs in real time.
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.simulators.pictures import stamped

_MAGIC = 117_637_889
_METADATA = (
    "SI.hRoiManager.scanFrameRate = {rate:g}\nSI.hChannels.channelSave = {channels}\nSI.hFastZ.enable = {volume}\n"
    "SI.hChannels.channelAdcResolution = {{14 14}}\nSI.hRoiManager.imagingFovUm = [-48 -48;48 -48;48 48;-48 48]\n"
    "SI.hRoiManager.mroiEnable = {mroi}\nSI.objectiveResolution = 15\n"
    "SI.hStackManager.numSlices = {depths}\nSI.hStackManager.numFramesPerVolumeWithFlyback = {pictures}\n"
    "SI.hStackManager.zs = {zs}\n"
)
_BLOCK_AT, _ENTRIES = 32, 9
FIELD_STAMPS = 8
"""Channels by which the stamps of one region and the next differ."""


class SimulatedScanImageFile:
    """Grabs into one file after another.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        Lines and pixels.
    channels : tuple of int
        Saved, from 1.
    rate_hz : float
    rois : tuple of int
        Lines of each of multiple ROIs, called ``ROI 1``, ...; none: one picture of `shape`, whose pixels all have.
    gap : int
        Lines of flight between two of them.
    depths_um : tuple of float
        Of a volume; one: the focus stands still.
    n_flyback : int
        Pictures of each volume in which it returns.

    Attributes
    ----------
    idle_s : float
        How long it has waited for triggers, which its time stamps contain.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int] = (512, 512),
        channels: tuple[int, ...] = (1,),
        rate_hz: float = 30.0,
        *,
        rois: tuple[int, ...] = (),
        gap: int = 0,
        depths_um: tuple[float, ...] = (0.0,),
        n_flyback: int = 0,
    ) -> None:
        self._folder, self._channels, self._rate_hz = folder, channels, rate_hz
        self._heights, self._gap, self._n_pixels = rois or (shape[0],), gap, shape[1]
        self._has_rois = bool(rois)
        self._depths_um, self._n_flyback = depths_um, n_flyback
        self.path: Path | None = None
        self.idle_s = 0.0
        self._link = 8
        self._acquisition = 0
        self._block: tuple[tuple[int, int, int, int], ...] = ()

    def begin(self, name: str, *, is_anew: bool = True) -> None:
        """A new file, of a new acquisition or (roll-over) of the same."""
        self._acquisition += is_anew
        said = {"rate": self._rate_hz, "channels": list(self._channels), "mroi": str(self._has_rois).lower()}
        depths = self._depths_um
        said |= {"volume": str(len(depths) > 1).lower(), "depths": len(depths)}
        said |= {"pictures": len(depths) + self._n_flyback, "zs": "[" + " ".join(f"{z:g}" for z in depths) + "]"}
        text, groups = _METADATA.format(**said).encode() + b"\0", self._roi_groups().encode() + b"\0"
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) + struct.pack("<IIII", _MAGIC, 3, len(text), len(groups))
        self.path, self._link = self._folder / name, 8
        self.path.write_bytes(head + text + groups)
        self._block = (305, 2, len(text), _BLOCK_AT), (315, 2, len(groups), _BLOCK_AT + len(text))

    def grab(self, number: int, stamp: int | None = None, part: float = 1.0) -> None:
        """Pages of all channels of a frame; of the last one the first part only. `stamp` is the number in it."""
        for channel in self._channels:
            is_last = channel == self._channels[-1]
            self._append(number, channel, number if stamp is None else stamp, part if is_last else 1.0)

    def picture(self, stamp: int, channel: int) -> NDArray[np.uint16]:
        """Its regions one below the other, each stamped, and the lines between them."""
        parts: list[NDArray[np.uint16]] = []
        for i, n_lines in enumerate(self._heights):
            gap = self._gap if i else 0
            parts.append(np.full((gap, self._n_pixels), 4095, np.uint16))
            parts.append(stamped((n_lines, self._n_pixels), stamp, channel + FIELD_STAMPS * i))
        return np.concatenate(parts)

    def _roi_groups(self) -> str:
        """Of each region what ScanImage saves; one group of them all."""
        rois = [
            {
                **{"ver": 1, "classname": "scanimage.mroi.Roi", "name": f"ROI {i + 1}", "zs": 0, "enable": 1},
                "scanfields": {"sizeXY": [6.0, 6.0], "pixelResolutionXY": [self._n_pixels, n_lines]},
                "discretePlaneMode": 0,
            }
            for i, n_lines in enumerate(self._heights)
        ]
        group = {"classname": "scanimage.mroi.RoiGroup", "name": "MROI Imaging ROI Group"}
        return json.dumps({"RoiGroups": {"imagingRoiGroup": group | {"rois": rois if len(rois) > 1 else rois[0]}}})

    def _append(self, number: int, channel: int, stamp: int, part: float) -> None:
        if self.path is None:
            return
        said = (
            f"frameNumbers = {number}\nacquisitionNumbers = {self._acquisition}\n"
            f"frameTimestamps_sec = {number / self._rate_hz + self.idle_s:.9f}\n"
        ).encode() + b"\0"
        start, pixels = self.path.stat().st_size, self.picture(stamp, channel - 1).astype("<i2")
        at_text = start + 8 + 20 * _ENTRIES + 8
        at_data = at_text + len(said)
        entries = [
            (256, 3, 1, pixels.shape[1]), (257, 3, 1, pixels.shape[0]), (258, 3, 1, 16), (270, 2, len(said), at_text),
            (273, 16, 1, at_data), (279, 16, 1, pixels.nbytes), *self._block, (339, 3, 1, 2),
        ]  # fmt: skip
        page = struct.pack("<Q", _ENTRIES) + b"".join(struct.pack("<HHQQ", *one) for one in entries)
        page += struct.pack("<Q", 0) + said + pixels.tobytes()
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(page[: round(part * len(page))])
            file.seek(self._link)
            file.write(struct.pack("<Q", start))
        self._link = start + 8 + 20 * _ENTRIES


def main(arguments: list[str] | None = None) -> None:
    """Grab in real time, into files of so many frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames-per-file", type=int, default=1000)
    parser.add_argument("--rois", type=int, default=0, help="multiple ROIs of that size; 0: one picture")
    given = parser.parse_args(arguments)
    rois = (given.size,) * given.rois
    side = SimulatedScanImageFile(given.folder, (given.size, given.size), rate_hz=given.rate_hz, rois=rois, gap=15)
    begun_s = time.perf_counter()
    for frame in range(round(given.seconds * given.rate_hz)):
        if frame % given.frames_per_file == 0:
            side.begin(f"run_{frame // given.frames_per_file:05}.tif", is_anew=frame == 0)
        time.sleep(max(0.0, begun_s + (frame + 1) / given.rate_hz - time.perf_counter()))
        side.grab(frame + 1)


if __name__ == "__main__":
    main()

"""ThorImage's side of `thorimage/microscope.py`: a folder for each experiment, and a raw file in it that grows.

``python -m drivers.microscopes.simulators.thorimage --folder D:/data --seconds 60`` writes one experiment.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from drivers.microscopes.simulators.pictures import stamped

_XML = """<?xml version="1.0"?>
<ThorImageExperiment>
  <Name name="{name}" />
  <Software version="4.1.2021.9131" />
  <Wavelengths nyquistExWavelengthNM="0">
    <Wavelength name="ChanA" exposureTimeMS="0" />
    <Wavelength name="ChanB" exposureTimeMS="0" />
    <ChannelEnable Set="{mask}" />
  </Wavelengths>
  <ZStage name="ThorZPiezo" steps="{planes}" stepSizeUM="20" enable="0" />
  <Timelapse timepoints="1" intervalSec="0" />
  <LSM name="ResonanceGalvo" pixelX="{pixels}" pixelY="{lines}" widthUM="{width:g}" heightUM="{height:g}"
       pixelSizeUM="2.93" frameRate="{rate:g}" averageMode="{average}" averageNum="{averaged}" channel="{mask}" />
  <RawData onlyEnabledChannels="1" />
  <Streaming enable="1" frames="{frames}" rawData="1" zFastEnable="{fast}" flybackFrames="{flyback}" />
</ThorImageExperiment>
"""


class SimulatedThorImage:
    """One experiment after another, written byte by byte as the disk takes them.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        Lines and pixels.
    channels : tuple of int
        Enabled, from 0.
    n_planes, n_flyback : int
    rate_hz : float
        Frames a second as they are saved.
    averaged : int
        Scans of which a saved frame is the mean.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int] = (512, 512),
        channels: tuple[int, ...] = (0,),
        n_planes: int = 1,
        n_flyback: int = 0,
        rate_hz: float = 30.0,
        averaged: int = 1,
    ) -> None:
        self._folder, self.shape, self._channels = folder, shape, channels
        self._planes = (n_planes, n_flyback)
        self._rate_hz, self._averaged = rate_hz, averaged
        self._unsaved = b""
        self.raw: Path | None = None
        self.written = 0

    def begin(self, name: str, n_frames: int = 1000) -> None:
        """A new experiment: its metadata, and an empty raw file."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        planes, flyback = self._planes
        text = _XML.format(
            **{"name": name, "mask": sum(1 << channel for channel in self._channels), "planes": planes},
            **{"lines": self.shape[0], "pixels": self.shape[1], "rate": self._rate_hz * self._averaged},
            **{"width": 0.8 * self.shape[1], "height": 0.8 * self.shape[0], "averaged": self._averaged},
            **{"average": int(self._averaged > 1), "frames": n_frames, "fast": int(planes > 1), "flyback": flyback},
        )
        (folder / "Experiment.xml").write_text(text, encoding="utf-8")
        self.raw, self._unsaved, self.written = folder / "Image_0001_0001.raw", b"", 0
        self.raw.write_bytes(b"")

    def scan(self, stamp: int | None = None) -> None:
        """One more frame of every channel, not saved yet. `stamp` is the number in the picture; None: its place."""
        number = self.written if stamp is None else stamp
        pictures = [stamped(self.shape, number, channel) for channel in self._channels]
        self._unsaved += np.array(pictures).astype("<u2").tobytes()
        self.written += 1

    def save(self, n_bytes: int | None = None) -> None:
        """Append what was scanned to the file, or the first bytes of it."""
        if self.raw is not None:
            part = self._unsaved[:n_bytes]
            self._unsaved = self._unsaved[len(part) :]
            with self.raw.open("ab") as file:
                file.write(part)


def main(arguments: list[str] | None = None) -> None:
    """Write one experiment in real time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", default=time.strftime("run_%H%M%S"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--planes", type=int, default=1)
    given = parser.parse_args(arguments)
    n_frames = round(given.seconds * given.rate_hz)
    side = SimulatedThorImage(
        given.folder,
        (given.size, given.size),
        tuple(range(given.channels)),
        given.planes,
        int(given.planes > 1),
        given.rate_hz,
    )
    side.begin(given.name, n_frames)
    begun_s = time.perf_counter()
    for frame in range(n_frames):
        time.sleep(max(0.0, begun_s + (frame + 1) / given.rate_hz - time.perf_counter()))
        side.scan()
        side.save()


if __name__ == "__main__":
    main()

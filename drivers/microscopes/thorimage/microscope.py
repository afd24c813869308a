"""ThorImage by the raw file it is writing: no change on its side, from one experiment to the next."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.next_file import NextFile
from drivers.microscopes.steady_scan import SteadyScan
from drivers.microscopes.thorimage.experiment import DEVICE, Experiment, read_experiment
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ThorImageMicroscope as Config

_POLL_S = 0.002
_LOOK_NS = 200 * NS_PER_MS
_ROLL_NS = 400 * NS_PER_MS
"""How long a file may still grow after the next one has appeared."""
_MOST_BEHIND = 64
"""Frames that may wait in the file; of more the newest are read."""


class _Raw(NamedTuple):
    path: Path
    inode: int
    experiment: Experiment


class ThorImageMicroscope:
    """Fulfils `interfaces.devices.Microscope`. ThorImage may be started before or after, and restarted.

    The newest raw file in the folder, or in the folders in it, is followed, then every later one. A frame has no number
    of its own: it is counted by its place in the file; where the next file begins, the numbers go on. The file is
    opened for each frame anew, so that ThorImage can rename and delete it.

    Parameters
    ----------
    config : ThorImageMicroscope
    clock : Clock

    Attributes
    ----------
    rejected : int
        Frames that were passed over because this side was too slow.
    why : str
        The last reason.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._raw: _Raw | None = None
        self._done: set[Path] = set()
        self._geometry: FrameGeometry | None = None
        self._numbers, self._scan = ContinuedNumbers(), SteadyScan(1.0)
        self._place = self._size = self._part = 0
        self._is_anew = False
        self._info: FrameInfo | None = None
        self._next_file = NextFile(lambda: bool(self._later()), _LOOK_NS, _ROLL_NS)
        self.rejected, self.why = 0, ""

    def open(self) -> FrameGeometry | None:
        """Look for an experiment; the geometry once there is one.

        Raises
        ------
        DeviceError
            There is no such folder, or the experiment cannot be followed.
        """
        if self._geometry is None:
            if not Path(self._config.folder).is_dir():
                raise DeviceError(
                    DEVICE, f"there is no folder {self._config.folder}", "give the one ThorImage saves in"
                )
            if self._follow(newest=True) and self._raw is not None:
                experiment = self._raw.experiment
                self._geometry = _geometry_of(experiment, self._config)
                self._numbers = ContinuedNumbers(experiment.frames_per_volume)
                self._scan = SteadyScan(NS_PER_S / experiment.frame_rate_hz)
        return self._geometry

    def start(self) -> None:
        """Deliver from the next frame on: what has been written before is passed over."""
        self._place, self._part = self._there(), 0

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next channel of the next frame, if it comes in time. Raises DeviceError."""
        end_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while not self._is_ready():
            if self._clock.now_ns() >= end_ns:
                return None
            time.sleep(_POLL_S)
        arrived_ns = self._clock.now_ns()
        raw = self._raw
        if raw is None or not self._copy(raw, buffer):
            return None
        info = self._described(raw.experiment, arrived_ns)
        self._part += 1
        if self._part == len(raw.experiment.channels):
            self._place, self._part = self._place + 1, 0
        return info

    def stop(self) -> None:
        """Nothing to do: ThorImage decides when it writes."""

    def close(self) -> None:
        """Nothing to do: no file is held."""

    def _is_ready(self) -> bool:
        if self._part:
            return True
        behind = self._there() - self._place
        if behind > _MOST_BEHIND:
            self.rejected += behind - _MOST_BEHIND
            self._place += behind - _MOST_BEHIND
            self.why = f"{behind} frames wait in {self._raw and self._raw.path}: the oldest were passed over"
        if behind > 0:
            return True
        self._scan.see_nothing(self._clock.now_ns())
        return self._next_file.has_come(self._clock.now_ns()) and self._follow() and self._there() > self._place

    def _there(self) -> int:
        """Frames of the file that are there as a whole; a file that was begun anew is read from its start."""
        if self._raw is None:
            return 0
        try:
            found = os.stat(self._raw.path)
        except OSError:
            return self._place
        if found.st_ino != self._raw.inode or found.st_size < self._size:
            self._raw = self._raw._replace(inode=found.st_ino)
            self._place = self._part = 0
            self._is_anew = True
        self._size = found.st_size
        return self._size // self._raw.experiment.frame_bytes

    def _copy(self, raw: _Raw, out: NDArray[Any]) -> bool:
        """Pixels of the channel that is next; False where the file has gone meanwhile."""
        experiment = raw.experiment
        if (experiment.n_lines, experiment.n_pixels) != out.shape:
            text = f"{raw.path}: {experiment.n_lines} x {experiment.n_pixels} px, this run began with {out.shape}"
            raise DeviceError(DEVICE, text, "do not change the image size during a run")
        n_bytes = 2 * out.size
        try:
            with raw.path.open("rb", buffering=0) as file:
                file.seek(self._place * experiment.frame_bytes + self._part * n_bytes)
                data = file.read(n_bytes)
        except OSError as error:
            self.why = f"{raw.path} cannot be read: {error.strerror}"
            return False
        if len(data) < n_bytes:
            return False
        out[...] = np.frombuffer(data, "<u2").reshape(out.shape)
        return True

    def _described(self, experiment: Experiment, arrived_ns: int) -> FrameInfo:
        channel = experiment.channels[self._part]
        if self._part and self._info is not None:
            return replace(self._info, channel=channel)
        frame, is_anew = self._numbers.see(self._place, is_anew=self._is_anew)
        if is_anew:
            self._scan.forget()
        self._is_anew = False
        place, flags = self._place % experiment.frames_per_volume, FrameFlag.NO_COUNTER
        if is_anew:
            flags |= FrameFlag.LOST_BEFORE
        if place >= experiment.n_planes:
            flags |= FrameFlag.DISCARD
        t_scan_ns = self._scan.scanned_ns(frame, arrived_ns)
        self._info = FrameInfo(
            frame=frame,
            t_scan_ns=t_scan_ns,
            plane=min(place, experiment.n_planes - 1),
            channel=channel,
            volume=frame // experiment.frames_per_volume if experiment.frames_per_volume > 1 else None,
            t_scan_uncertainty_ns=self._scan.uncertainty_ns + round(1e9 * _POLL_S) + NS_PER_MS,
            flags=int(flags),
        )
        return self._info

    def _later(self) -> list[Path]:
        """Raw files that were not followed yet and have an `Experiment.xml`, oldest first."""
        folder = Path(self._config.folder)
        found = []
        for path in [*folder.glob("Image_*.raw"), *folder.glob("*/Image_*.raw")]:
            if path not in self._done and (path.parent / "Experiment.xml").is_file():
                try:
                    found.append((path.stat().st_mtime_ns, path))
                except OSError:
                    continue
        return [path for _, path in sorted(found)]

    def _follow(self, *, newest: bool = False) -> bool:
        """Turn to the newest file, or to the one that came next; False where there is none that can be read yet."""
        paths = self._later()
        if not paths:
            return False
        path = paths[-1 if newest else 0]
        experiment = read_experiment(path.parent / "Experiment.xml", self._config.channels)
        if experiment is None:
            return False
        if self._geometry is not None:
            self._require_same(path, experiment)
        found = path.stat()
        self._done |= set(paths) if newest else {path}
        self._raw, self._size = _Raw(path, found.st_ino, experiment), found.st_size
        self._place = self._part = 0
        self._is_anew = True
        self._next_file.forget()
        return True

    def _require_same(self, path: Path, experiment: Experiment) -> None:
        """Refuse an experiment that does not fit this run, or whose file is made in full before it is written."""
        began = self._raw.experiment if self._raw is not None else experiment
        if experiment[:2] + experiment[4:7] != began[:2] + began[4:7]:
            raise DeviceError(
                DEVICE,
                f"{path} has other lines, pixels, channels or planes than this run began with",
                "stop this run and begin another",
            )
        if experiment.n_frames > 2 and path.stat().st_size >= experiment.n_frames * experiment.frame_bytes:
            with path.open("rb") as file:
                file.seek(-experiment.frame_bytes, os.SEEK_END)
                if not any(file.read()):
                    raise DeviceError(
                        DEVICE,
                        f"{path} has its full size before it is written",
                        "its frames cannot be told from what is to come: use another driver",
                    )


def _geometry_of(experiment: Experiment, config: Config) -> FrameGeometry:
    return FrameGeometry(
        n_lines=experiment.n_lines,
        pixels_per_line=experiment.n_pixels,
        dtype="u2",
        frame_rate_hz=experiment.frame_rate_hz,
        um_per_px=config.um_per_px or experiment.um_per_px,
        frames_per_volume=experiment.frames_per_volume,
        channels=experiment.channels,
    )

"""ScanImage by the files it is writing: no change on its side, across one file and the next."""

from __future__ import annotations

import re
import time
from collections import deque
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.arrival_times import ArrivalTimes
from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.movie_frames import positive
from drivers.microscopes.next_file import NextFile
from drivers.microscopes.scanfields import ScanField, chosen_fields, decoded_groups, plane_names, read_scanfields
from drivers.microscopes.scanimage.growing_tiff import GrowingTiff, Page, value_of
from drivers.microscopes.tiff_metadata import SCANIMAGE_ZOOM, scanimage_volume
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MovieError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanImageFile as Config

_POLL_S = 0.002
_LOOK_NS = 50 * NS_PER_MS
_ROLL_NS = 200 * NS_PER_MS
"""How long a file may still grow after the next one has appeared."""
_DEVICE = "scanimage_file"


class ScanImageFileMicroscope:
    """Fulfils `interfaces.devices.Microscope`. ScanImage may be started before or after.

    The newest file that the pattern names is followed, then every later one, in the order of their names. Frames are
    numbered as ScanImage does; where it begins again, the numbers go on, and one is left out. Where ScanImage stacks
    multiple ROIs (mROI) in a picture, each is a plane: of k of them, field i of its frame n is frame (n - 1) k + i + 1.
    At several depths planes are counted as they are scanned: all ROIs of the first depth, then those of the next.

    Parameters
    ----------
    config : ScanImageFile
    clock : Clock

    Attributes
    ----------
    versions : dict of str to str
        Of ScanImage, as the file says; see `interfaces.devices.TellsVersions`.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._tiff: GrowingTiff | None = None
        self._done: set[str] = set()
        self._geometry: FrameGeometry | None = None
        self._channels: tuple[int, ...] = ()
        self._held: list[Page] = []
        self._held_of: GrowingTiff | None = None
        self._fields: tuple[ScanField, ...] = ()
        self._fields_of: GrowingTiff | None = None
        self._picture: NDArray[Any] = np.zeros((0, 0), np.int16)
        self._parts: deque[tuple[FrameInfo, ScanField]] = deque()
        self._place = self._last = 0
        self._numbers = ContinuedNumbers()
        self._per_volume = self._n_planes = 1
        self._line_ns = 0
        self.versions: dict[str, str] = {}
        self._times = ArrivalTimes()
        self._next_file = NextFile(lambda: bool(self._later()), _LOOK_NS, _ROLL_NS)

    def open(self) -> FrameGeometry | None:
        """Look for a file; the geometry once its first page is there, or a second frame where channels are in doubt.

        Raises
        ------
        DeviceError
            The file is not one of ScanImage.
        """
        if self._geometry is None:
            self._look_at_first_frame()
        return self._geometry

    def _look_at_first_frame(self) -> None:
        """Pages of one number are channels: where the header says two things of them, the second frame decides."""
        while self._geometry is None and (page := self._next(newest=True)) is not None and self._tiff is not None:
            saved, active = (_channels(self._tiff.metadata, key) for key in _CHANNEL_KEYS)
            is_next = bool(self._held) and (page.number != self._held[0].number or self._tiff is not self._held_of)
            if is_next:
                self._channels = _channels_of(len(self._held), saved, active)
            if is_next or len(saved) == len(active) or not active:
                self._channels = self._channels or saved or (0,)
                self._geometry = self._geometry_of(page, self._tiff)
            self._held.append(page)
            self._held_of = self._tiff

    def start(self) -> None:
        """Deliver from the next page on: what has been written before is passed over."""
        for page in self._held:
            self._note(page)
        self._held = []
        while (later := self._next()) is not None:
            self._note(later)

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next page, or the next region of it, if one comes in time. Raises DeviceError."""
        end_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while not self._parts:
            page = self._next()
            if page is not None:
                self._take_apart(page)
            elif self._clock.now_ns() >= end_ns:
                return None
            else:
                time.sleep(_POLL_S)
        info, field = self._parts.popleft()
        np.copyto(buffer, self._picture[field.line0 : field.end])
        return info

    def _take_apart(self, page: Page) -> None:
        """Read a page, and note what is delivered of it."""
        arrived_ns = self._clock.now_ns()
        if (page.n_lines, page.n_pixels) != self._picture.shape or self._tiff is None:
            was = f"{self._picture.shape[0]} x {self._picture.shape[1]}"
            text = f"{page.n_lines} x {page.n_pixels} px, this run began with {was}"
            raise DeviceError(_DEVICE, text, "do not change the ROI during a run")
        if self._tiff is not self._fields_of and self._fields_in(page, self._tiff) != self._fields:
            raise DeviceError(_DEVICE, "the ROIs lie elsewhere than when this run began", "do not change them in a run")
        self._fields_of = self._tiff
        self._tiff.read(page, self._picture)
        channel, flags = self._note(page)
        t_ns = self._times.happened_ns(round(page.t_s * NS_PER_S), arrived_ns)
        for field in self._fields:
            number = (self._last - 1) * len(self._fields) + len(self._parts) + 1
            volume, place = divmod(number - 1, self._per_volume)
            info = FrameInfo(
                frame=number,
                plane=min(place, self._n_planes - 1),
                volume=volume if self._per_volume > 1 else None,
                t_scan_ns=t_ns - (page.n_lines - field.end) * self._line_ns,
                channel=channel,
                t_scan_uncertainty_ns=self._times.uncertainty_ns + NS_PER_MS,
                t_device_s=page.t_s,
                flags=int(flags | (FrameFlag.DISCARD if place >= self._n_planes else 0)),
            )
            self._parts.append((info, field))

    def stop(self) -> None:
        """Nothing to do: ScanImage decides when it writes."""

    def close(self) -> None:
        """Let go of the file."""
        if self._tiff is not None:
            self._tiff.close()

    def _next(self, *, newest: bool = False) -> Page | None:
        """The next page of this file, or of the one that came after it."""
        if self._tiff is None and not self._follow(newest=newest):
            return None
        try:
            page = None if self._tiff is None else self._tiff.next_page()
            is_over = page is None and self._next_file.has_come(self._clock.now_ns())
            if is_over and self._follow() and self._tiff is not None:
                page = self._tiff.next_page()
        except MovieError as error:
            raise DeviceError(_DEVICE, error.message, error.remedy) from error
        return page

    def _later(self) -> list[str]:
        """Files that were not followed yet, in order."""
        return [name for name in sorted(glob(self._config.pattern)) if name not in self._done]

    def _follow(self, *, newest: bool = False) -> bool:
        names = self._later()
        if not names:
            return False
        if newest:
            self._done |= set(names[:-1])
            names = names[-1:]
        if self._tiff is not None:
            self._tiff.close()
        self._done.add(names[0])
        self._tiff = GrowingTiff(Path(names[0]))
        self._next_file.forget()
        return True

    def _note(self, page: Page) -> tuple[int, int]:
        """Channel and flags of a page; keeps the number of its frame in `_last`."""
        channel, self._place = self._channels[self._place], (self._place + 1) % len(self._channels)
        if channel != self._channels[0]:
            return channel, 0
        self._last, is_anew = self._numbers.see(page.number)
        if is_anew:
            self._times.forget()
        return channel, int(FrameFlag.LOST_BEFORE) if is_anew else 0

    def _fields_in(self, page: Page, tiff: GrowingTiff) -> tuple[ScanField, ...]:
        """The regions that are asked for; one that is the whole picture where there are none. Raises DeviceError."""
        groups, file = decoded_groups(tiff.roi_groups), str(tiff.path)
        try:
            found = read_scanfields(
                lambda key: value_of(tiff.metadata, key), groups, (page.n_lines, page.n_pixels), file
            )
            return chosen_fields(found, self._config.fields, file) or (ScanField("", 0, page.n_lines),)
        except MovieError as error:
            raise DeviceError(_DEVICE, error.message, error.remedy) from error

    def _geometry_of(self, page: Page, tiff: GrowingTiff) -> FrameGeometry:
        metadata = tiff.metadata
        rate = value_of(metadata, "hRoiManager.scanFrameRate")
        if not re.fullmatch(r"[\d.]+", rate):
            raise DeviceError(_DEVICE, "the file does not tell its frame rate", "is it one of ScanImage 2016 or later?")
        self._per_volume, self._n_planes = scanimage_volume(lambda key: value_of(metadata, key))
        self._numbers = ContinuedNumbers(self._per_volume)
        self._fields = self._fields_in(page, tiff)
        n_depths, n_fields = self._n_planes, len(self._fields)
        self._per_volume, self._n_planes = self._per_volume * n_fields, n_depths * n_fields
        self._line_ns = round(NS_PER_S / float(rate) / page.n_lines)
        self._picture = np.zeros((page.n_lines, page.n_pixels), "<" + page.dtype)
        major, minor = (value_of(metadata, f"VERSION_{part}").strip("'") for part in ("MAJOR", "MINOR"))
        self.versions = {"ScanImage": f"{major}.{minor}".strip(".")} if major else {}
        bits = re.search(r"\d+", value_of(metadata, "hChannels.channelAdcResolution"))
        return FrameGeometry(
            n_lines=self._fields[0].n_lines,
            pixels_per_line=page.n_pixels,
            dtype=page.dtype,
            frame_rate_hz=float(rate) * n_fields,
            adc_max=2 ** (int(bits[0]) - 1) - 1 if bits else None,
            um_per_px=self._config.um_per_px or self._fields[0].um_per_px or _um_per_px(metadata, page.n_pixels),
            frames_per_volume=self._per_volume,
            channels=self._channels,
            frames_per_edge=n_fields,
            zoom=positive(value_of(metadata, SCANIMAGE_ZOOM)),
            plane_names=plane_names(self._fields, n_depths) if self._fields[0].name else (),
        )


_CHANNEL_KEYS = "hChannels.channelSave", "hChannels.channelsActive"


def _channels(metadata: str, key: str) -> tuple[int, ...]:
    """From 0, those that a key of the header names."""
    return tuple(int(one) - 1 for one in re.findall(r"\d+", value_of(metadata, key)))


def _channels_of(n_pages: int, *said: tuple[int, ...]) -> tuple[int, ...]:
    """The first of what is said that are as many as there are pages of a frame."""
    return next((one for one in said if len(one) == n_pages), tuple(range(n_pages)))


def _um_per_px(metadata: str, n_pixels: int) -> float | None:
    """From the corners of the field of view in micrometres."""
    corners = [float(one) for one in re.findall(r"-?[\d.]+", value_of(metadata, "hRoiManager.imagingFovUm"))]
    width_um = max(corners[0::2], default=0.0) - min(corners[0::2], default=0.0)
    return width_um / n_pixels if width_um > 0 else None

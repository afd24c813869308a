"""Scanbox by its memory map: a frame is copied out at once, and the slot given back for the next."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.scanbox.slot import FREE, Slot, SlotHeader
from drivers.microscopes.steady_scan import SteadyScan
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanboxMicroscope as Config

_POLL_S = 0.0005
_LOOK_NS = NS_PER_S
_DEVICE = "scanbox"
_ADC_MAX = 65535
_MARGIN = 0.25
"""Of a period: how much earlier than by the steady pace a frame may have been left out, beyond what is known."""
_LAST_NUMBER = 32767
"""Where the int16 of the frame number stays; from there on frames are counted by when the slot was given back."""


class ScanboxMicroscope:
    """Fulfils `interfaces.devices.Microscope`. Scanbox may be started before or after, and restarted.

    Scanbox never waits: it leaves a frame out while the one before is still in the slot, which is a gap in its numbers.
    Belongs to the acquisition thread; only one program may read the file.

    Parameters
    ----------
    config : ScanboxMicroscope
    clock : Clock

    Attributes
    ----------
    rejected : int
        Frames that were torn because another program reads the same file.
    why : str
        The last reason.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._slot: Slot | None = None
        self._first: SlotHeader | None = None
        self._geometry: FrameGeometry | None = None
        self._copy = np.zeros((0, 0, 0), np.uint16)
        self._info: FrameInfo | None = None
        self._next_part = len(config.channels)
        self._numbers, self._scan = ContinuedNumbers(), SteadyScan(NS_PER_S / config.frame_rate_hz)
        self._saturated, self._is_doubtful = 0, False
        self._freed_ns = self._scanned_ns = self._look_due_ns = 0
        self.rejected, self.why = 0, ""

    def open(self) -> FrameGeometry | None:
        """Map the file; the geometry once a frame has come (one that was left there by an earlier run is passed over).

        Raises
        ------
        DeviceError
            The file cannot be opened, or is too small.
        """
        if self._geometry is not None or not self._attach() or self._slot is None:
            return self._geometry
        end_ns = self._clock.now_ns() + 100 * NS_PER_MS
        while (header := self._slot.header()).number < 0:
            if self._clock.now_ns() >= end_ns:
                return None
            time.sleep(_POLL_S)
        if self._slot.holds_nothing(header):
            self._free()
            return None
        if not self._slot.holds(header, max(self._config.channels) + 1):
            if self._slot.is_replaced():  # Scanbox was still making it
                self.close()
                return None
            text = f"{self._config.mmap_file} is too small for {header.n_lines} x {header.n_pixels} px"
            raise DeviceError(_DEVICE, text, "is it the scanbox.mmap of this Scanbox? `channels` may ask for too many")
        self._geometry = self._geometry_of(header)
        self._first = header
        self._numbers = ContinuedNumbers(self._geometry.frames_per_volume)
        self._copy = np.zeros((len(self._config.channels), header.n_lines, header.n_pixels), np.uint16)
        return self._geometry

    def start(self) -> None:
        """Deliver from the next frame on."""
        if self._slot is not None and self._slot.number() >= 0:
            self._free()

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next channel of the next frame, if it comes in time. Raises DeviceError."""
        if self._next_part == len(self._config.channels) and not self._take(timeout_s):
            return None
        part, info = self._next_part, self._info
        if info is None:
            return None
        self._next_part += 1
        if self._config.inverted:
            np.subtract(_ADC_MAX, self._copy[part], out=buffer)
        else:
            np.copyto(buffer, self._copy[part])
        return replace(info, channel=self._config.channels[part])

    def stop(self) -> None:
        """Nothing to do: Scanbox decides when it scans."""

    def close(self) -> None:
        """Let go of the file."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.close()

    def _attach(self) -> bool:
        """Map the file, once it is there; a frame that lies in it is of an earlier run."""
        if self._slot is not None:
            return True
        path = Path(self._config.mmap_file)
        if not path.is_file() or not path.stat().st_size:
            self.why = f"there is no {path}"
            return False
        self.why = ""
        try:
            self._slot = Slot(path)
        except OSError as error:
            text = f"{path} cannot be mapped: {error.strerror}"
            raise DeviceError(_DEVICE, text, "may this account write to it?") from error
        self.start()
        return True

    def _take(self, timeout_s: float) -> bool:
        """Copy a frame of all channels out, and give the slot back at once."""
        end_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while self._slot is None or self._slot.number() < 0:
            now_ns = self._clock.now_ns()
            self._look_after(now_ns)
            if now_ns >= end_ns:
                return False
            time.sleep(_POLL_S)
        arrived_ns, slot = self._clock.now_ns(), self._slot
        header = slot.header()
        if slot.holds_nothing(header):
            self._free()
            return False
        if self._first is None or header[1:3] + header[4:6] != self._first[1:3] + self._first[4:6]:
            text = f"{header.n_lines} x {header.n_pixels} px, planes {header.period}: this run began otherwise"
            raise DeviceError(_DEVICE, text, "stop this run and begin another")
        for part, channel in enumerate(self._config.channels):
            slot.copy(header, channel, self._copy[part], column_major=self._config.column_major)
        if slot.number() != header.number:
            self.rejected += 1
            self.why = f"frame {header.number} was taken by another program: let only one read {slot.path}"
            return False
        freed_ns, self._freed_ns = self._freed_ns, self._free()
        self._info, self._next_part = self._described(header, arrived_ns, freed_ns), 0
        return True

    def _free(self) -> int:
        """Give the slot back; when."""
        if self._slot is not None:
            self._slot.set_number(FREE)
        self._look_due_ns = self._clock.now_ns() + _LOOK_NS
        return self._clock.now_ns()

    def _look_after(self, now_ns: int) -> None:
        """Note that there is nothing; after a while look whether Scanbox has made the file anew."""
        self._scan.see_nothing(now_ns)
        if now_ns < self._look_due_ns:
            return
        self._look_due_ns = now_ns + _LOOK_NS
        if self._slot is not None and self._slot.is_replaced():
            self.close()
        self._attach()

    def _described(self, header: SlotHeader, arrived_ns: int, freed_ns: int) -> FrameInfo:
        number, flags = self._number(header.number, freed_ns), FrameFlag(0)
        if self._saturated:
            flags |= FrameFlag.NO_COUNTER
        if self._is_doubtful:
            flags |= FrameFlag.LOST_BEFORE
        frame, is_anew = self._numbers.see(number)
        if is_anew:
            self._scan.forget()
            flags |= FrameFlag.LOST_BEFORE
        self._scanned_ns = self._scan.scanned_ns(frame, arrived_ns)
        period = self._geometry.frames_per_volume if self._geometry is not None else 1
        return FrameInfo(
            frame=frame,
            t_scan_ns=self._scanned_ns,
            plane=frame % period,
            volume=frame // period if period > 1 else None,
            t_scan_uncertainty_ns=self._scan.uncertainty_ns + NS_PER_MS,
            flags=int(flags),
        )

    def _number(self, number: int, freed_ns: int) -> int:
        """The frame's number, also where that of Scanbox can grow no more.

        The frame in the slot is the first that was scanned since the slot was given back. Where that was held so long
        that one more may have been left out than was counted, a loss is told: it cannot be excluded.
        """
        self._is_doubtful = False
        if number < _LAST_NUMBER:
            self._saturated = 0
        elif self._saturated:
            held = max(0.0, (freed_ns - self._scanned_ns) / self._scan.period_ns)
            margin = _MARGIN + self._scan.uncertainty_ns / self._scan.period_ns
            self._is_doubtful = math.floor(held + margin) > math.floor(held)
            self._saturated += 1 + math.floor(held)
        else:
            self._saturated = 1
        return number + max(0, self._saturated - 1)

    def _geometry_of(self, header: SlotHeader) -> FrameGeometry:
        return FrameGeometry(
            n_lines=header.n_lines,
            pixels_per_line=header.n_pixels,
            dtype="u2",
            frame_rate_hz=self._config.frame_rate_hz,
            adc_max=_ADC_MAX,
            um_per_px=self._config.um_per_px,
            frames_per_volume=max(1, header.period) if header.is_volume else 1,
            channels=self._config.channels,
        )

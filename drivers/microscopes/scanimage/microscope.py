"""ScanImage by TCP: a thread takes in what the user function sends, the acquisition takes it out."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.arrival_times import ArrivalTimes
from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.scanimage.wire import FrameNote, Unpacker
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MessageError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanImageMicroscope as Config

_KEPT_FRAMES = 64
_CHUNK_BYTES = 1 << 20
_ADC_MAX = 32767
_MROI = "ScanImage images multiple ROIs, and what it displays does not say where each lies"


class _Arrived(NamedTuple):
    note: FrameNote
    pixels: NDArray[np.int16]
    arrived_ns: int


class ScanImageMicroscope:
    """Fulfils `interfaces.devices.Microscope`. Either side may be started first, and either may be restarted.

    Frames are numbered as ScanImage does; where it begins again at 1, after a restart or a new acquisition, the numbers
    go on, one is left out, and the first frame is flagged as after a gap. The user function never waits for this side:
    what it leaves out is a gap in its frame numbers.

    Parameters
    ----------
    config : ScanImageMicroscope
    clock : Clock

    Attributes
    ----------
    connections : int
        How often the user function has connected.
    overrun : int
        Frames that came and were pushed out by later ones before they were read.
    skipped : int
        Frames that the user function says it has left out.
    rejected : int
        What came and could not be delivered: `overrun` and bad messages.
    why : str
        The last reason.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._peer: socket.socket | None = None
        self._news = threading.Condition()
        self._queue: deque[_Arrived] = deque()
        self._parts: deque[tuple[int, _Arrived]] = deque()
        self._times = ArrivalTimes()
        self._geometry: FrameGeometry | None = None
        self._delivers = False
        self._numbers: ContinuedNumbers | None = None
        self._boot, self._frame, self._last_t_s = "", 0, 0.0
        self.connections = self.overrun = self.skipped = 0
        self._bad, self.why = 0, ""

    @property
    def rejected(self) -> int:
        """What came and could not be delivered, so far."""
        return self.overrun + self._bad

    def open(self) -> FrameGeometry | None:
        """Listen; the geometry once the first frame has come.

        Raises
        ------
        DeviceError
            The port is taken, or ScanImage images multiple ROIs.
        """
        if self._listener is None:
            try:
                self._listener = socket.create_server((self._config.host, self._config.port))
            except OSError as error:
                text = f"{self._config.host}:{self._config.port} cannot be listened on: {error.strerror}"
                raise DeviceError("scanimage", text, "end the program that uses it, or set another `port`") from error
            self._thread = threading.Thread(target=self._listen, args=(self._listener,), name="scanimage")
            self._thread.start()
        with self._news:
            if not self._queue:
                self._news.wait(0.1)
            if self._geometry is None and self._queue:
                if self._queue[0].note.mroi:
                    raise DeviceError("scanimage", _MROI, "use driver scanimage_file, or switch mROI off")
                self._geometry = self._geometry_of(self._queue[0])
        return self._geometry

    def start(self) -> None:
        """Deliver from now on; what came before is thrown away."""
        with self._news:
            self._queue.clear()
            self._delivers = True

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next channel of the next frame."""
        if not self._parts:
            with self._news:
                if not self._queue:
                    self._news.wait(timeout_s)
                if not self._queue:
                    return None
                arrived = self._queue.popleft()
            if arrived.pixels.shape[1:][:: 1 if self._config.transposed else -1] != buffer.shape:
                self._refuse(f"frame {arrived.note.frame} has another size than this run began with")
                return None
            if arrived.note.mroi:
                self._refuse(_MROI)
                return None
            self._parts.extend((i, arrived) for i in range(len(arrived.note.channels)))
        index, arrived = self._parts.popleft()
        pixels = arrived.pixels[index]
        np.copyto(buffer, pixels if self._config.transposed else pixels.T)
        return self._described(index, arrived)

    def stop(self) -> None:
        """Deliver no more."""
        self._delivers = False

    def close(self) -> None:
        """Close the port."""
        listener, self._listener = self._listener, None
        for link in (listener, self._peer):
            if link is not None:
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                link.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _listen(self, listener: socket.socket) -> None:
        """One user function at a time; a new one takes the place of one that has gone."""
        while self._listener is not None:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self._peer = peer
            self.connections += 1
            with peer, suppress(OSError):
                self._take_in(peer)

    def _take_in(self, peer: socket.socket) -> None:
        unpacker = Unpacker()
        while data := peer.recv(_CHUNK_BYTES):
            arrived_ns = self._clock.now_ns()
            try:
                for note, pixels in unpacker.take(data):
                    self._put(_Arrived(note, pixels, arrived_ns))
            except MessageError as error:
                self._refuse(str(error))
                return

    def _put(self, arrived: _Arrived) -> None:
        with self._news:
            if len(self._queue) >= _KEPT_FRAMES or (self._queue and not self._delivers):
                self._queue.popleft()
                self.overrun += self._delivers
                self.why = "this side is too slow: the oldest frames were pushed out"
            self._queue.append(arrived)
            self.skipped = arrived.note.skipped
            self._news.notify()

    def _refuse(self, why: str) -> None:
        self._bad += 1
        self.why = why

    def _described(self, index: int, arrived: _Arrived) -> FrameInfo:
        note, flags = arrived.note, FrameFlag(0)
        per_volume = note.n_planes + note.n_flyback
        if index == 0:
            flags = self._number(note, per_volume)
        t_scan_ns = self._times.happened_ns(round(note.t_s * NS_PER_S), arrived.arrived_ns)
        if note.flyback:
            flags |= FrameFlag.DISCARD
        return FrameInfo(
            frame=self._frame,
            t_scan_ns=t_scan_ns,
            plane=note.plane,
            channel=note.channels[index] - 1,
            volume=None if note.volume is None else (self._frame - 1) // per_volume,
            t_scan_uncertainty_ns=self._times.uncertainty_ns + NS_PER_MS,
            t_device_s=note.t_s,
            flags=int(flags),
        )

    def _number(self, note: FrameNote, per_volume: int) -> FrameFlag:
        """Let the numbers go on where ScanImage begins anew."""
        if self._numbers is None:
            self._numbers = ContinuedNumbers(per_volume)
        self._frame, is_anew = self._numbers.see(note.frame, is_anew=note.boot != self._boot)
        if is_anew or note.t_s < self._last_t_s:
            self._times.forget()
        self._boot, self._last_t_s = note.boot, note.t_s
        return FrameFlag.LOST_BEFORE if is_anew else FrameFlag(0)

    def _geometry_of(self, arrived: _Arrived) -> FrameGeometry:
        note, turned = arrived.note, self._config.transposed
        return FrameGeometry(
            n_lines=note.n_pixels if turned else note.n_lines,
            pixels_per_line=note.n_lines if turned else note.n_pixels,
            dtype="i2",
            frame_rate_hz=note.frame_rate_hz,
            adc_max=_ADC_MAX,
            um_per_px=self._config.um_per_px,
            frames_per_volume=note.n_planes + note.n_flyback,
            channels=tuple(channel - 1 for channel in note.channels),
            zoom=note.zoom,
        )

"""Prairie View by its raw stream: a thread has the samples written into our memory and makes frames of them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.prairieview.link import DEVICE, PrairieLink
from drivers.microscopes.prairieview.samples import pixels_of
from drivers.microscopes.prairieview.stream import Picture, RawStream, Settings, settings_of
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import PrairieViewMicroscope as Config

_KEPT_FRAMES = 64
_RETRY_S = 1.0
_ADC_MAX = 8191


class _Waiting(NamedTuple):
    picture: Picture
    pixels: NDArray[np.int16]


class PrairieViewMicroscope:
    """Fulfils `interfaces.devices.Microscope`. Runs on the computer of Prairie View; either side may be restarted.

    A frame has no number of its own: it is counted from the beginning of the stream. What Prairie View says it has
    dropped, and what its ring could not hold, leaves a gap in the numbers.

    Parameters
    ----------
    config : PrairieViewMicroscope
    clock : Clock

    Attributes
    ----------
    connections : int
        How often Prairie View was reached.
    rejected : int
        Known losses: frames pushed out by later ones before they were read, parts of frames, dropped data.
    why : str
        The last reason.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._news = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._parts: deque[tuple[int, _Waiting]] = deque()
        self._settings: Settings | None = None
        self._failure: DeviceError | None = None
        self._stream = RawStream(clock, config.n_planes, config.n_flyback)
        self._delivers = False
        self._overrun = 0
        self.connections = 0
        self._why = ""

    @property
    def rejected(self) -> int:
        """Known losses so far."""
        return self._overrun + self._stream.losses

    @property
    def why(self) -> str:
        """The last reason why something was lost, or Prairie View is not reached."""
        return self._why or self._stream.why

    def open(self) -> FrameGeometry | None:
        """Look for Prairie View; the geometry once it has told it. Raises DeviceError."""
        if self._thread is None:
            self._closing.clear()
            self._thread = threading.Thread(target=self._run, name="prairieview")
            self._thread.start()
        with self._news:
            if self._settings is None and self._failure is None:
                self._news.wait(0.1)
            if self._failure is not None:
                raise self._failure
            return None if self._settings is None else self._geometry_of(self._settings)

    def start(self) -> None:
        """Deliver from now on; what came before is thrown away."""
        with self._news:
            self._queue.clear()
            self._delivers = True

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next channel of the next frame, if it comes in time. Raises DeviceError."""
        if not self._parts:
            with self._news:
                if not self._queue and self._failure is None:
                    self._news.wait(timeout_s)
                if not self._queue:
                    if self._failure is not None:
                        raise self._failure
                    return None
                waiting = self._queue.popleft()
            self._parts.extend((part, waiting) for part in range(len(waiting.pixels)))
        part, waiting = self._parts.popleft()
        np.copyto(buffer, waiting.pixels[part])
        return self._described(part, waiting.picture)

    def stop(self) -> None:
        """Deliver no more."""
        self._delivers = False

    def close(self) -> None:
        """Hang up, once Prairie View writes into our memory no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        """On a thread of its own: reach Prairie View again and again, and stream from it."""
        config = self._config
        while not self._closing.is_set():
            try:
                link = PrairieLink(config.host, config.port, config.password, self._closing.is_set)
            except OSError as error:
                self._why = f"Prairie View is not reached at {config.host}:{config.port}: {error}"
                self._closing.wait(_RETRY_S)
                continue
            self.connections += 1
            try:
                self._listen(link)
            except DeviceError as error:
                with self._news:
                    self._failure = error
                    self._news.notify()
                return
            except OSError as error:
                doubt = self._stream.conclude()
                self._why = f"the connection to Prairie View is lost: {error}" + (f"; {doubt}" if doubt else "")
            finally:
                link.close()
            self._closing.wait(_RETRY_S)

    def _listen(self, link: PrairieLink) -> None:
        settings = settings_of(link, self._config)
        if self._settings not in (None, settings):
            text = f"it now says {settings}, this run began with {self._settings}"
            raise DeviceError(DEVICE, text, "stop this run and begin another")
        self._why = ""
        self._stream.begin(link, settings, self._config.ring_frames, self._config.dma_buffer_ms or 0)
        with self._news:
            self._settings = settings
            self._news.notify()
        while not self._closing.is_set():
            pictures = self._stream.poll()
            for picture in pictures:
                self._put(picture, settings)
            if not pictures:
                self._closing.wait(self._config.poll_ms / 1000)
        self._stream.end()

    def _put(self, picture: Picture, settings: Settings) -> None:
        pixels = pixels_of(picture.samples, settings.layout, self._config.offset, self._config.reversed_lines)
        with self._news:
            if len(self._queue) >= _KEPT_FRAMES or (self._queue and not self._delivers):
                self._queue.popleft()
                if self._delivers:
                    self._overrun += 1
                    self._why = "this side is too slow: the oldest frames were pushed out"
            self._queue.append(_Waiting(picture, pixels))
            self._news.notify()

    def _described(self, part: int, picture: Picture) -> FrameInfo:
        n_planes, per_volume = self._config.n_planes, self._config.n_planes + self._config.n_flyback
        place, flags = picture.frame % per_volume, FrameFlag.NO_COUNTER
        if picture.is_after_gap:
            flags |= FrameFlag.LOST_BEFORE
        if place >= n_planes:
            flags |= FrameFlag.DISCARD
        return FrameInfo(
            frame=picture.frame,
            t_scan_ns=picture.scanned_ns,
            plane=min(place, n_planes - 1),
            channel=self._config.channels[part],
            volume=picture.frame // per_volume if per_volume > 1 else None,
            t_scan_uncertainty_ns=picture.uncertainty_ns + round(self._config.poll_ms * NS_PER_MS),
            flags=int(flags),
        )

    def _geometry_of(self, settings: Settings) -> FrameGeometry:
        return FrameGeometry(
            n_lines=settings.layout.n_lines,
            pixels_per_line=settings.layout.n_pixels,
            dtype="i2",
            frame_rate_hz=NS_PER_S / settings.period_ns,
            adc_max=_ADC_MAX,
            um_per_px=self._config.um_per_px or settings.um_per_px,
            frames_per_volume=self._config.n_planes + self._config.n_flyback,
            channels=self._config.channels,
        )

"""A Micro-Manager camera, by `pymmcore`: its sequence buffer is emptied into ours."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.arrival_times import ArrivalTimes
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import MicroManagerMicroscope as Config

_POLL_S = 0.0005
_RESTART_NS = NS_PER_S
_DEVICE = "micromanager"


class MicroManagerMicroscope:
    """Fulfils `interfaces.devices.Microscope`. Belongs to the acquisition thread; the constructor touches no hardware.

    A configuration takes seconds to load, so that happens on a thread of its own until `open` can tell the geometry.
    Frame numbers are the camera's image numbers; a buffer that ran over leaves a gap in them, which is counted as lost.

    Parameters
    ----------
    config : MicroManagerMicroscope
    clock : Clock

    Attributes
    ----------
    restarts : int
        How often the camera has stopped by itself and was started again.
    versions : dict of str to str
        Of Micro-Manager's core and device interface, and which camera; see `interfaces.devices.TellsVersions`.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._core: Any = None
        self._loading: threading.Thread | None = None
        self._failure: DeviceError | None = None
        self._geometry: FrameGeometry | None = None
        self._times = ArrivalTimes()
        self._metadata: Any = None
        self._running = self._after_restart = False
        self._first_number = self._next_frame = 0
        self._retry_ns = 0
        self.restarts = 0
        self.versions: dict[str, str] = {}

    def open(self) -> FrameGeometry | None:
        """Begin to load the configuration; the geometry once that is done. Raises DeviceError."""
        if self._loading is None:
            self._loading = threading.Thread(target=self._load, name="micromanager")
            self._loading.start()
        self._loading.join(0.1)
        if self._loading.is_alive():
            return None
        if self._failure is not None:
            raise self._failure
        return self._geometry

    def start(self) -> None:
        """Start the camera's sequence. Raises DeviceError."""
        if self._core is None or self._geometry is None:
            raise DeviceError(_DEVICE, "start before open")
        if not self._running:
            self._begin()

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """The next image. Raises DeviceError if the camera fails for good."""
        if not self._running:
            return None
        if not self._wait(timeout_s):
            self._look_after()
            return None
        try:
            image = self._core.popNextImageMD(self._metadata)
        except (RuntimeError, IndexError) as error:
            raise DeviceError(_DEVICE, f"the camera's buffer fails: {error}", "restart the run") from error
        arrived_ns = self._clock.now_ns()
        if image.shape != buffer.shape:
            text = f"the camera sends {image.shape[0]} x {image.shape[1]} px, this run began with {buffer.shape}"
            raise DeviceError(_DEVICE, text, "do not change binning or ROI during a run")
        np.copyto(buffer, image, casting="unsafe")
        return self._described(arrived_ns)

    def stop(self) -> None:
        """Stop the sequence."""
        self._running = False
        if self._core is not None:
            try:
                self._core.stopSequenceAcquisition()
            except RuntimeError as error:
                self._failure = DeviceError(_DEVICE, str(error))

    def close(self) -> None:
        """Release the camera."""
        if self._loading is not None:
            self._loading.join()
        core, self._core, self._loading = self._core, None, None
        if core is not None:
            try:
                core.reset()
            except RuntimeError as error:
                self._failure = DeviceError(_DEVICE, str(error))

    def _load(self) -> None:
        """On a thread of its own: load the configuration, set the camera up, learn its geometry."""
        try:
            self._geometry = self._opened()
        except ImportError:
            self._failure = DeviceError(_DEVICE, "the package pymmcore is missing", 'pip install "spikeloop[hardware]"')
        except (RuntimeError, OSError) as error:
            what = " ".join(str(error).split())
            remedy = (
                "load the same file in Micro-Manager first, and close it there; `adapters` is the folder it stands in"
            )
            self._failure = DeviceError(_DEVICE, f"{self._config.config_file}: {what}", remedy)
        except DeviceError as error:
            self._failure = error

    def _opened(self) -> FrameGeometry:
        import pymmcore

        config, file = self._config, _config_file(self._config)
        core = pymmcore.CMMCore()
        core.setDeviceAdapterSearchPaths([config.adapters or str(file.parent)])
        core.loadSystemConfiguration(str(file))
        camera = core.getCameraDevice()
        if not camera:
            raise DeviceError(_DEVICE, f"{file} has no camera", "name one in Micro-Manager's hardware wizard")
        for name, value in config.properties.items():
            core.setProperty(camera, name, value)
        core.setExposure(config.exposure_ms)
        core.setCircularBufferMemoryFootprint(config.buffer_mb)
        bits, n_bytes = core.getImageBitDepth(), core.getBytesPerPixel()
        if core.getNumberOfComponents() != 1 or n_bytes > 2:
            text = f"{camera} sends {core.getNumberOfComponents()} components of {n_bytes} bytes"
            raise DeviceError(_DEVICE, text, "set its pixel type to 16 bit grey, in `properties`")
        um_per_px = config.um_per_px or core.getPixelSizeUm() or None
        self._core, self._metadata = core, pymmcore.Metadata()
        self.versions = {
            "MMCore": f"{core.getVersionInfo()}, {core.getAPIVersionInfo()}",
            "camera": f"{camera}: {core.getDeviceLibrary(camera)} {core.getDeviceName(camera)}",
        }
        return FrameGeometry(
            n_lines=core.getImageHeight(),
            pixels_per_line=core.getImageWidth(),
            dtype="u2",
            frame_rate_hz=config.frame_rate_hz,
            adc_max=2**bits - 1,
            um_per_px=um_per_px,
        )

    def _begin(self) -> None:
        try:
            self._core.startSequenceAcquisition(2**31 - 1, 0.0, False)
        except RuntimeError as error:
            raise DeviceError(
                _DEVICE, f"the camera does not start: {error}", "close other programs that use it"
            ) from error
        self._times.forget()
        self._running, self._first_number = True, self._next_frame

    def _wait(self, timeout_s: float) -> bool:
        end_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while self._core.getRemainingImageCount() == 0:
            if self._clock.now_ns() >= end_ns:
                return False
            time.sleep(_POLL_S)
        return True

    def _look_after(self) -> None:
        """Start a camera again that has stopped by itself; frames since then are lost, and it is not known how many."""
        now_ns = self._clock.now_ns()
        if self._core.isSequenceRunning() or now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + _RESTART_NS
        self._begin()
        self.restarts += 1
        self._after_restart = True

    def _described(self, arrived_ns: int) -> FrameInfo:
        tag = self._metadata.GetSingleTag
        frame = self._first_number + int(tag("ImageNumber").GetValue())
        elapsed_s = float(tag("ElapsedTime-ms").GetValue()) / 1e3
        t_scan_ns = self._times.happened_ns(round(elapsed_s * NS_PER_S), arrived_ns)
        flags, self._after_restart = (FrameFlag.LOST_BEFORE if self._after_restart else 0), False
        self._next_frame = frame + 1
        return FrameInfo(
            frame=frame,
            t_scan_ns=t_scan_ns,
            t_scan_uncertainty_ns=self._times.uncertainty_ns + NS_PER_MS,
            t_device_s=elapsed_s,
            flags=int(flags),
        )


def _config_file(config: Config) -> Path:
    """The configuration; ``demo`` is that of the package `mm-test-adapters`.

    Raises
    ------
    DeviceError
        There is no such file, or the package is missing.
    """
    if config.config_file == "demo":
        try:
            import mm_test_adapters
        except ImportError as error:
            raise DeviceError(_DEVICE, "the demo camera is missing", "pip install mm-test-adapters") from error
        return Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg"
    path = Path(config.config_file)
    if not path.is_file():
        raise DeviceError(_DEVICE, f"there is no file {path}", "give the .cfg that Micro-Manager starts with")
    return path

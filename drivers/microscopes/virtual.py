"""The virtual sample as a microscope: frames in real time or as fast as they are consumed, and their truth.

A volume is scanned plane by plane; see `drivers.virtual_rig.volume`. With a structural channel the same lines come
twice, those of channel 1 first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_rig.truth import FrameTruth
from drivers.virtual_rig.volume import VirtualVolume
from rt_engine.interfaces.clock import NS_PER_S, NS_PER_US, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.rig_config import STRUCTURAL_CHANNEL
from rt_engine.interfaces.rig_config import VirtualMicroscope as VirtualConfig

FIRST_RENDER_NS = 20_000_000
"""Guess of how long a frame takes to draw, before one has been drawn."""
RENDER_MARGIN = 1.3
_ROUNDED = 1e-6
"""Of a frame: times are whole nanoseconds."""
PAUSE_NS = NS_PER_S
"""Reads later than this count as a pause of the scan, not as lateness to be made up for."""


class VirtualMicroscope:
    """Fulfils `interfaces.devices.Microscope` and `AnswersLight`.

    Parameters
    ----------
    config : rig_config.VirtualMicroscope
    clock : Clock
    sleep : callable
        Waits that many seconds; a test hands in one that moves its clock.

    Notes
    -----
    Pace ``real_time``: frame k is scanned until t0 + (k + 1)/rate, absolute, and never handed out before; its drawing
    begins just early enough to be ready then, so light that arrives until shortly before still shows in it. Frames
    begin when `LineClock` says, so that light that is held to some lines knows when they are scanned. When nobody
    has read for more than a second the scan counts as paused: numbering and sample time go on where they stopped.
    Pace ``max``: a frame is drawn when it is read; light acts at the end of the last frame drawn.
    """

    def __init__(self, config: VirtualConfig, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._real_time = config.pace == "real_time"
        self._volume: VirtualVolume | None = None
        self._frame: NDArray[np.uint16] = np.zeros((0, 0), dtype=np.uint16)
        self._structural: NDArray[np.uint16] | None = None
        self._structural_told = False
        self._drawn: tuple[FrameTruth, int] | None = None
        self._delivered: tuple[FrameTruth, int] | None = None
        self._running = False
        self._strip_lines = min(config.strip_lines or config.n_lines, config.n_lines)
        self._line0 = 0
        self._t0_ns = 0
        self._render_ns = FIRST_RENDER_NS
        self._frames = LineClock(config.frame_rate_hz)

    def open(self) -> FrameGeometry:
        """Plant the sample (once) and tell its geometry."""
        config = self._config
        if self._volume is None:
            self._volume = VirtualVolume(config)
            self._frame = np.zeros((config.n_lines, config.pixels_per_line), dtype=np.uint16)
            if config.structural_photons is not None:
                self._structural = np.zeros_like(self._frame)
        return FrameGeometry(
            n_lines=config.n_lines,
            pixels_per_line=config.pixels_per_line,
            dtype="u2",
            frame_rate_hz=config.frame_rate_hz,
            adc_max=self._volume.planes[0].adc_max_counts,
            offset=config.sample.detector.offset_counts,
            um_per_px=config.um_per_px,
            frames_per_volume=config.frames_per_volume,
            line_period_ns=round(NS_PER_S * (1 - config.flyback_part) / config.frame_rate_hz / config.n_lines),
            strip_lines=config.strip_lines,
        )

    def start(self) -> None:
        """Begin to scan, or go on where `stop` left off."""
        volume = self._opened()
        if not self._running:
            self._running = True
            self._begin_at(self._clock.now_ns(), volume)

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Fill `buffer` (uint16, shape (n_lines, pixels_per_line), overwritten) with the next frame, or strip of one.

        Returns None when its scan has not ended within `timeout_s`. Waits asleep.

        Raises
        ------
        DeviceError
            The microscope has not been opened and started.
        """
        volume = self._opened()
        if not self._running:
            raise DeviceError("virtual microscope", "read before start")
        give_up_ns = self._clock.now_ns() + int(timeout_s * NS_PER_S)
        if self._drawn is None:
            self._skip_pause(volume)
            if self._real_time and not self._wait(
                self._scan_end_ns(volume.next_frame, self._strip_lines) - int(RENDER_MARGIN * self._render_ns),
                give_up_ns,
            ):
                return None
            self._drawn = self._draw(volume)
        truth, drawn_ns = self._drawn
        first, end = self._line0, min(self._line0 + self._strip_lines, self._config.n_lines)
        scanned_ns = drawn_ns
        if self._real_time:
            scanned_ns = max(self._scan_end_ns(truth.frame, end), drawn_ns)
            if not self._wait(scanned_ns, give_up_ns):
                return None
        if self._structural is not None and not self._structural_told and not volume.is_flyback(truth.frame):
            self._structural_told = True
            buffer[first:end] = self._structural[first:end]
            return replace(self._info(volume, truth, scanned_ns, (first, end)), channel=STRUCTURAL_CHANNEL)
        self._structural_told = False
        buffer[first:end] = self._frame[first:end]
        self._line0 = end
        if end == self._config.n_lines:
            self._line0, self._drawn, self._delivered = 0, None, (truth, scanned_ns)
        return self._info(volume, truth, scanned_ns, (first, end))

    def _info(self, volume: VirtualVolume, truth: FrameTruth, scanned_ns: int, lines: tuple[int, int]) -> FrameInfo:
        first, end = lines
        lit = truth.blanked if self._config.sample.opsin.says_artefact else ()
        cut = ((max(line0, first), min(line0 + n_lines, end)) for line0, n_lines in lit)
        blanked = tuple((line0, stop - line0) for line0, stop in cut if stop > line0)
        number, plane = volume.place(truth.frame)
        artefact = FrameFlag.ARTEFACT if blanked else FrameFlag(0)
        return FrameInfo(
            frame=truth.frame,
            t_scan_ns=scanned_ns,
            plane=plane,
            volume=number if volume.frames_per_volume > 1 else None,
            line0=first,
            n_lines=end - first,
            t_scan_uncertainty_ns=0,
            t_device_s=(truth.frame + self._part(end)) / self._config.frame_rate_hz,
            flags=int(FrameFlag.DISCARD if volume.is_flyback(truth.frame) else artefact),
            blanked=blanked,
        )

    def stop(self) -> None:
        """Stop scanning."""
        self._running = False

    def close(self) -> None:
        """Forget the sample."""
        self._running = False
        self._volume = self._drawn = self._delivered = None

    def receive_light(
        self,
        t_on_ns: int,
        width_us: int,
        power_uw: list[int],
        targets_yx_px: list[list[float]],
        target_planes: Sequence[int] = (),
        after_frame_start_ms: float | None = None,
    ) -> None:
        """One pulse on all targets; acts at the end of the last frame drawn where it comes later than that.

        With `after_frame_start_ms` it falls in the same lines of every frame: what is too late for its own acts there
        in the next one.
        """
        volume, rate_hz = self._opened(), self._config.frame_rate_hz
        horizon_s = volume.next_frame / rate_hz
        t_s = (t_on_ns - self._t0_ns) / NS_PER_S if self._real_time else horizon_s
        if after_frame_start_ms is not None:
            drawn_s = horizon_s - self._config.frame_flyback_ms / 1000
            t_s = t_s if self._real_time else horizon_s + after_frame_start_ms / 1000
            t_s += max(0, math.ceil((drawn_s - t_s) * rate_hz - _ROUNDED)) / rate_hz
        power_mw = np.array(power_uw, dtype=np.float64) / 1000
        targets = np.array(targets_yx_px, dtype=np.float64).reshape(-1, 2)
        volume.receive_light(t_s, width_us * NS_PER_US / NS_PER_S, power_mw, targets, target_planes)

    def describe_sample(self, plane: int = 0) -> dict[str, Any]:
        """Planted cells of a plane: lists of equal length, see `messages.TruthHeader`; `p50_mw` besides."""
        sample = self._opened().planes[plane]
        somata = sample.somata
        rate_hz = sample.spikes.rate_hz if self._config.sample.spontaneous else np.zeros(len(somata.y_px))
        return {
            "cell": list(range(len(somata.y_px))),
            "y_px": somata.y_px.tolist(),
            "x_px": somata.x_px.tolist(),
            "radius_px": somata.radius_px.tolist(),
            "a_over_sigma": sample.a_over_sigma.tolist(),
            "rate_hz": rate_hz.tolist(),
            "opsin": [True] * len(somata.y_px),
            "p50_mw": sample.opsin.p50_mw.tolist(),
        }

    def take_truth(self) -> dict[str, Any]:
        """What happened in the frame just read.

        Raises
        ------
        DeviceError
            No frame has been read.
        """
        if self._delivered is None:
            raise DeviceError("virtual microscope", "no frame has been read yet")
        truth, scanned_ns = self._delivered
        flyback_ns = self._sample_ns(self._config.flyback_part)
        end_ns = flyback_ns + (self._scan_end_ns(truth.frame) if self._real_time else scanned_ns)
        return {
            "shift_y_px": truth.shift_y_px,
            "shift_x_px": truth.shift_x_px,
            "spike_cell": truth.spike_cell.tolist(),
            "t_spike_ns": self._host_ns(truth, truth.spike_frame, end_ns),
            "spike_frame": truth.spike_frame.tolist(),
            "evoked": truth.evoked.tolist(),
            "t_light_ns": self._host_ns(truth, truth.light_frame, end_ns),
        }

    def _opened(self) -> VirtualVolume:
        if self._volume is None:
            raise DeviceError("virtual microscope", "is not open")
        return self._volume

    def _sample_ns(self, frame: float) -> int:
        return round(frame * NS_PER_S / self._config.frame_rate_hz)

    def _scan_end_ns(self, frame: int, end_line: int | None = None) -> int:
        """When the lines up to `end_line` of a frame, or all of them, have been scanned."""
        part = self._part(self._config.n_lines if end_line is None else end_line)
        return self._t0_ns + self._sample_ns(frame + part)

    def _part(self, end_line: int) -> float:
        """The part of a frame's time that has passed when the lines up to `end_line` have been scanned."""
        return end_line / self._config.n_lines * (1 - self._config.flyback_part)

    def _host_ns(self, truth: FrameTruth, frames: NDArray[np.float64], end_ns: int) -> list[int]:
        return [max(0, end_ns + self._sample_ns(float(f) - truth.frame - 1)) for f in frames]

    def _skip_pause(self, volume: VirtualVolume) -> None:
        now_ns = self._clock.now_ns()
        if self._real_time and now_ns - self._scan_end_ns(volume.next_frame) > PAUSE_NS:
            self._begin_at(now_ns, volume)

    def _begin_at(self, t_ns: int, volume: VirtualVolume) -> None:
        """The next frame begins at `t_ns`, or with the scanner's next one."""
        begin_ns = self._frames.next_edge_ns(t_ns) if self._real_time else t_ns
        self._t0_ns = begin_ns - self._sample_ns(volume.next_frame)

    def _wait(self, until_ns: int, give_up_ns: int) -> bool:
        """Sleep until `until_ns`, or until `give_up_ns` if that is earlier; True if `until_ns` has come."""
        while (now_ns := self._clock.now_ns()) < until_ns:
            if now_ns >= give_up_ns:
                return False
            self._sleep((min(until_ns, give_up_ns) - now_ns) / NS_PER_S)
        return True

    def _draw(self, volume: VirtualVolume) -> tuple[FrameTruth, int]:
        begin_ns = self._clock.now_ns()
        truth = volume.render(volume.next_frame, self._frame)
        photons = self._config.structural_photons
        if self._structural is not None and photons is not None and not volume.is_flyback(truth.frame):
            volume.render_structural(truth.frame, photons, self._structural)
        end_ns = self._clock.now_ns()
        took_ns = end_ns - begin_ns
        if not volume.is_flyback(truth.frame):
            self._render_ns = max(took_ns, (7 * self._render_ns + took_ns) // 8)
        return truth, end_ns

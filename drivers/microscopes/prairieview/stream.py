"""The raw data stream: asked for again and again, cut into frames, counted, and watched for what was dropped."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.continued_numbers import ContinuedNumbers
from drivers.microscopes.prairieview.link import DEVICE, PrairieLink
from drivers.microscopes.prairieview.pace import Doubt, PaceWatch
from drivers.microscopes.prairieview.samples import FrameCutter, Layout
from drivers.microscopes.steady_scan import SteadyScan
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.microscope_config import PrairieViewMicroscope as Config

_DROPPED_NS = 500 * NS_PER_MS
"""How often Prairie View is asked whether it has dropped data."""
_SILENCE_NS, _SILENCE_FRAMES = 300 * NS_PER_MS, 4
"""Silence after which the next sample is the first of an acquisition."""
_PORTION_FRAMES = 8
_LENT: list[NDArray[np.int16]] = []
"""Memory that an unanswered request may still write into: kept for the life of the process."""


class Settings(NamedTuple):
    """What Prairie View says of the scan."""

    layout: Layout
    period_ns: float
    um_per_px: float | None


class Picture(NamedTuple):
    """Samples of one frame, with its number and time."""

    frame: int
    is_after_gap: bool
    scanned_ns: int
    uncertainty_ns: int
    samples: NDArray[np.int16]


def settings_of(link: PrairieLink, config: Config) -> Settings:
    """Set Prairie View up to stream, and ask how.

    Raises
    ------
    DeviceError
        An answer is no number.
    OSError
        The connection is lost.
    """
    link.ask("-dw")
    if config.dma_buffer_ms is not None:
        link.ask("-lbs", "true", str(config.dma_buffer_ms))
    link.ask("-fa", "1")
    layout = Layout(
        round(_number(link, "-gts", "linesPerFrame")),
        round(_number(link, "-gts", "pixelsPerLine")),
        round(_number(link, "-spp")),
        len(config.channels),
    )
    period_s = 1 / config.frame_rate_hz if config.frame_rate_hz else _number(link, "-gts", "framePeriod")
    try:
        um_per_px = float(link.ask("-gts", "micronsPerPixel", "XAxis"))
    except ValueError:
        um_per_px = 0.0
    return Settings(layout, period_s * NS_PER_S, um_per_px if um_per_px > 0 else None)


def _number(link: PrairieLink, *words: str) -> float:
    said = link.ask(*words)
    try:
        value = float(said)
    except ValueError:
        value = 0.0
    if not value > 0:
        remedy = "is a scan mode with frames chosen? The rate can be given by `frame_rate_hz`"
        raise DeviceError(DEVICE, f"{' '.join(words)} was answered by {said!r}", remedy)
    return value


def _doubted(doubt: Doubt) -> str:
    return (
        f"fewer frames came than a steady scanner scans: losses between frames {doubt.first} and {doubt.last} "
        "cannot be excluded"
    )


class RawStream:
    """Frames of one connection after another, numbered through.

    Parameters
    ----------
    clock : Clock
    n_planes, n_flyback : int
        Frames of a volume.

    Attributes
    ----------
    losses : int
        How often something was lost.
    why : str
        The last reason.
    """

    def __init__(self, clock: Clock, n_planes: int, n_flyback: int) -> None:
        self._clock = clock
        self._per_volume = n_planes + n_flyback
        self._numbers = ContinuedNumbers(self._per_volume)
        self._position = 0
        self._is_anew = self._is_adrift = False
        self._last_ns = self._dropped_due_ns = 0
        self._has_dropped = False
        self._pace: PaceWatch | None = None
        self._since_ns = self._taken = 0
        self.losses, self.why = 0, ""

    def begin(self, link: PrairieLink, settings: Settings, ring_frames: int, portion_ms: int) -> None:
        """Let Prairie View stream into memory of ours from its next acquisition on. Raises OSError, DeviceError."""
        self._link = link
        self._memory = np.zeros(_PORTION_FRAMES * settings.layout.n_samples, np.int16)
        self._words = (str(os.getpid()), str(self._memory.ctypes.data), str(len(self._memory)))
        self._cutter, self._scan = FrameCutter(settings.layout), SteadyScan(settings.period_ns)
        self._ring_frames = ring_frames
        self._ring_ns, self._period_ns = 0.9 * ring_frames * settings.period_ns, settings.period_ns
        self._pace = PaceWatch(settings.period_ns, self._ring_ns, portion_ms * NS_PER_MS)
        self._rounds = 1 + ring_frames // _PORTION_FRAMES
        self._silence_ns = max(_SILENCE_NS, _SILENCE_FRAMES * settings.period_ns)
        self._has_dropped = False
        self._last_ns = self._since_ns = self._taken = 0
        self._start_anew()
        link.ask("-srd", "true", str(ring_frames))

    def end(self) -> None:
        """Let Prairie View stream no more. Raises OSError, DeviceError."""
        self._link.ask("-srd", "false", timeout_s=1.0)

    def poll(self) -> list[Picture]:
        """Frames that are whole now. Raises OSError, DeviceError."""
        asked_ns = self._clock.now_ns()
        samples = self._samples()
        arrived_ns = self._clock.now_ns()
        found = self._cutter.take(samples)
        is_emptied = len(samples) < len(self._memory)
        if self._is_behind(arrived_ns) or self._taken + len(found) > 0.5 * self._ring_frames:
            self._skip(len(found) + (0 if is_emptied else self._drain()))
            found, is_emptied, asked_ns = [], True, self._clock.now_ns()
        self._taken += len(found)
        if is_emptied or not self._since_ns:
            self._since_ns, self._taken = asked_ns, 0
        if not len(samples):
            self._see_nothing(arrived_ns)
            return []
        self._last_ns = arrived_ns
        if arrived_ns >= self._dropped_due_ns:
            self._dropped_due_ns = arrived_ns + _DROPPED_NS
            self._look_for_dropped()
        if self._is_adrift:
            self.losses += len(found)
            return []
        pictures = [self._picture(frame, arrived_ns) for frame in found]
        doubt = None
        if pictures and self._pace is not None:
            doubt = self._pace.see(len(found), pictures[-1].frame, arrived_ns)
        if doubt is not None:
            self._lose(_doubted(doubt))
        return pictures

    def conclude(self) -> str:
        """The acquisition, or the connection, has ended: what of it is in doubt; empty where nothing is."""
        doubt = None if self._pace is None else self._pace.end()
        if doubt is None:
            return ""
        self.losses += 1
        self.why = _doubted(doubt)
        return self.why

    def _is_behind(self, arrived_ns: int) -> bool:
        """Whether more waits in the ring than is of use; Prairie View does not tell when it has run over."""
        if not self._last_ns or not self._since_ns:
            return False
        waiting_ns = arrived_ns - self._since_ns - self._taken * self._period_ns
        if waiting_ns > self._ring_ns:
            self._lose("Prairie View's ring has run over: this side slept, or `ring_frames` is too small")
        return waiting_ns > 0.5 * self._ring_ns

    def _drain(self) -> int:
        """Take what is in the ring, but once around it at most; how many frames that were."""
        n_frames = 0
        for _ in range(self._rounds):
            samples = self._samples()
            n_frames += len(self._cutter.take(samples))
            if len(samples) < len(self._memory):
                return n_frames
        self._lose("Prairie View scans faster than this computer takes frames: its ring runs over")
        return n_frames

    def _skip(self, n_frames: int) -> None:
        """Leave out frames that are too old to be of use: a gap in the numbers, of exactly as many."""
        self.losses += n_frames
        self._position += n_frames
        if self._pace is not None:
            self._pace.pass_over(n_frames)
        if self._taken + n_frames > 0.9 * self._ring_frames:
            self._lose("Prairie View's ring was full: it may have run over while this side or Prairie View was held up")
        elif not self._is_anew:
            self.why = f"this side is too slow: {n_frames} frames that waited were passed over"

    def _samples(self) -> NDArray[np.int16]:
        try:
            said = self._link.ask("-rrd", *self._words)
        finally:
            if self._link.owes:
                _LENT.append(self._memory)
        if not said.isdigit() or int(said) > len(self._memory):
            raise DeviceError(DEVICE, f"-rrd was answered by {said!r}", "Prairie View has to run on this computer")
        return self._memory[: int(said)]

    def _picture(self, samples: NDArray[np.int16], now_ns: int) -> Picture:
        frame, is_anew = self._numbers.see(self._position, is_anew=self._is_anew)
        if is_anew:
            self._scan.forget()
        self._is_anew = False
        self._position += 1
        scanned_ns = self._scan.scanned_ns(frame, now_ns)
        return Picture(frame, is_anew, scanned_ns, self._scan.uncertainty_ns, samples)

    def _see_nothing(self, now_ns: int) -> None:
        """After a silence an acquisition begins: with the first line of the first plane."""
        self._scan.see_nothing(now_ns)
        if not self._last_ns or now_ns - self._last_ns < self._silence_ns:
            return
        self._last_ns = 0
        doubt = self.conclude()
        if self._cutter.drop():
            self.losses += 1
            self.why = "; ".join(["an acquisition ended within a frame", doubt][: 1 + bool(doubt)])
        self._start_anew()

    def _start_anew(self) -> None:
        self._position, self._is_anew, self._is_adrift = 0, True, False

    def _look_for_dropped(self) -> None:
        has_dropped = self._link.ask("-dd").lower() == "true"
        if has_dropped and not self._has_dropped:
            self._lose("Prairie View says that it has dropped data: close other programs, or set `dma_buffer_ms: null`")
        self._has_dropped = has_dropped

    def _lose(self, why: str) -> None:
        """Nobody knows how many frames are lost: one number is left out; of a volume the planes are not known again."""
        self.losses += 1
        self.why = why
        self._is_anew = True
        if self._per_volume > 1:
            self._is_adrift = True
            self.why += "; which plane a frame is of is not known until the acquisition is begun anew"

"""Which lines are scanned while stimulation light is on, and how much of it the detector sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pulse(NamedTuple):
    """Light from `begin_s` to `end_s` (sample time) of `power_mw` on all targets together."""

    begin_s: float
    end_s: float
    power_mw: float


class Exposure(NamedTuple):
    """Artefact in one frame: spans of lines ``(line0, n_lines)``, and the pulses begun since the frame before (s)."""

    blanked: tuple[tuple[int, int], ...]
    onsets_s: NDArray[np.float64]


class LightRecord:
    """Pulses that have not been scanned over yet.

    Parameters
    ----------
    n_lines : int
    frame_rate_hz : float
        Line i of frame k is scanned in [k + i/n_lines, k + (i + 1)/n_lines)/frame_rate_hz where lines fill the frame.
    photons_per_mw : float
        Light that a whole line receives from 1 mW, photons per pixel.
    scan_fraction : float
        The lines fill only this last part of the frame period,
    flyback_fraction : float
        without this part at its very end, in which the mirror returns.

    Attributes
    ----------
    line_photons : float32 ndarray, shape (n_lines,)
        Artefact of the last frame exposed; overwritten by `expose`.
    """

    def __init__(
        self,
        n_lines: int,
        frame_rate_hz: float,
        photons_per_mw: float,
        scan_fraction: float = 1.0,
        flyback_fraction: float = 0.0,
    ) -> None:
        self._scan_fraction, self._line_fraction = scan_fraction, scan_fraction - flyback_fraction
        self._n_lines = n_lines
        self._frame_rate_hz = frame_rate_hz
        self._photons_per_mw = photons_per_mw
        self._pulses: list[Pulse] = []
        self._untold_s: list[float] = []
        self.line_photons = np.zeros(n_lines, dtype=np.float32)

    def add(self, begin_s: float, width_s: float, power_mw: float) -> None:
        """Note a pulse; it must not begin before the last line exposed has been scanned."""
        self._pulses.append(Pulse(begin_s, begin_s + width_s, power_mw))
        self._untold_s.append(begin_s)

    def expose(self, frame: int) -> Exposure:
        """Fill `line_photons` for a frame, and forget pulses that end within it."""
        self.line_photons[:] = 0
        lit = np.zeros(self._n_lines, dtype=bool)
        part = self._line_fraction
        edges = frame + (1 - self._scan_fraction) + part * (np.arange(self._n_lines + 1) / self._n_lines)
        end_s = (frame + 1) / self._frame_rate_hz
        for pulse in self._pulses:
            begin, end = pulse.begin_s * self._frame_rate_hz, pulse.end_s * self._frame_rate_hz
            overlap = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin), 0, None)
            overlap *= self._n_lines / part
            self.line_photons += (self._photons_per_mw * pulse.power_mw * overlap).astype(np.float32)
            lit |= overlap > 0
        onsets = [begin_s for begin_s in self._untold_s if begin_s * self._frame_rate_hz < frame + 1]
        self._untold_s = [begin_s for begin_s in self._untold_s if begin_s * self._frame_rate_hz >= frame + 1]
        self._pulses = [p for p in self._pulses if p.end_s > end_s]
        change = np.flatnonzero(np.diff(np.concatenate([[False], lit, [False]]).astype(np.int8)))
        spans = tuple((int(a), int(b - a)) for a, b in change.reshape(-1, 2))
        return Exposure(spans, np.array(sorted(onsets)))

"""Registration while a frame is scanned: every strip of lines has its own shift, error, quality and hold-off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.pipeline.registration import HOLD_OFF_FRAMES, JUMP_PX, MIN_BINNED_LINES, RigidRegistration

RAMP_PX = 8
"""Lines beyond a strip and the search that a window is longer by: there the template fades in and out."""
WANDER_PX = 0.3
"""Assumed RMS of what the sample moves during one frame, per axis; the errors of the strips are weighed against it."""
SURPRISE = 4.0
"""Standard deviations beyond which a strip is not averaged with those before it but believed as it stands."""
AGREE_PX = 1.0
"""A jump is followed when the next strip confirms it to within this; until then the cells are only muted."""


class StripRegistration:
    """Shift of the sample as it was when the last strip was scanned.

    Parameters
    ----------
    template : float32 ndarray, shape (n_lines, n_pixels), counts
        Mean of registered frames; read once.
    max_shift_px : float
        Limit of the search on each axis, pixels.
    strip_lines : int
        Lines of a strip.
    line_phase_px : float
        As in `RigidRegistration`.

    Attributes
    ----------
    shift_y_px, shift_x_px : float
        As in `RigidRegistration`, after the last strip: its own estimate and those before it, weighed by their errors.
    quality, contrast : float
        Of the last strip; see `RigidRegistration`.
    jumped : bool
        The last strip moved by more than 2 px from what was expected, or it is dim, or the template does not fit; true
        for the strips of 2 more frames after that.
    strip_shift_px : float64 ndarray, shape (n_strips, 2)
        (y, x) shift of every strip when it was scanned last.
    strip_quality : float64 ndarray, shape (n_strips,)

    Notes
    -----
    A strip is registered in a window of the frame that ends with it and reaches back over lines of strips before it, so
    that no shift within the limits reads lines that are not there yet. Near the top of the frame a window can be too
    short to hold more than the search and its ramps: such a strip has the shift and quality of the one before. Shifts
    follow a random walk of `WANDER_PX` a frame, whose Kalman filter this is; the error of a strip is that of its own
    noise.
    """

    def __init__(
        self, template: NDArray[np.float32], max_shift_px: float, strip_lines: int, line_phase_px: float = 0.0
    ) -> None:
        n_lines = template.shape[0]
        self.max_shift_px = float(max_shift_px)
        self.ends = np.array([*range(strip_lines, n_lines, strip_lines), n_lines])
        searched = 2 * (int(np.ceil(max_shift_px)) + 1)
        height = strip_lines + searched + 2 * RAMP_PX
        height += height % 2
        self.starts = np.maximum(self.ends - height, 0) // 2 * 2
        bin_px = 2 if min(template.shape) >= MIN_BINNED_LINES else 1
        self._windows = [
            RigidRegistration(np.ascontiguousarray(template[first:end]), max_shift_px, line_phase_px, bin_px)
            if end - first >= searched + RAMP_PX or end == n_lines
            else None
            for first, end in zip(self.starts, self.ends, strict=True)
        ]
        n_strips = len(self.ends)
        self._wander = WANDER_PX**2 / n_strips
        self._variance = np.full(2, self.max_shift_px**2)
        self._shift = np.zeros(2)
        self._away = np.full(2, np.inf)
        self._hold_off = 0
        self._n_seen = 0
        self.strip_shift_px = np.zeros((n_strips, 2))
        self.strip_quality = np.zeros(n_strips)
        self.shift_y_px = self.shift_x_px = 0.0
        self.quality = self.contrast = 0.0
        self.jumped = False

    def follow(self, other: StripRegistration) -> None:
        """Go on where another registration of the same field and strips stopped."""
        for window, before in zip(self._windows, other._windows, strict=True):
            if window is not None and before is not None:
                window.follow(before)
        for name in ("_variance", "_shift", "_away", "_hold_off", "_n_seen", "strip_shift_px", "strip_quality"):
            setattr(self, name, getattr(other, name))
        self.shift_y_px, self.shift_x_px = other.shift_y_px, other.shift_x_px
        self.quality, self.contrast, self.jumped = other.quality, other.contrast, other.jumped

    def process(self, frame: NDArray[Any], strip: int) -> None:
        """Register one strip; strips come in the order in which they are scanned.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
            Lines up to the end of the strip are of this frame.
        strip : int
            Position in `ends`.
        """
        self._variance += self._wander
        window = self._windows[strip]
        jumped = window is not None and self._look(window, frame[self.starts[strip] : self.ends[strip]])
        self._hold_off = HOLD_OFF_FRAMES * len(self.ends) + 1 if jumped else max(self._hold_off - 1, 0)
        self.jumped = self._hold_off > 0
        self.shift_y_px, self.shift_x_px = float(self._shift[0]), float(self._shift[1])
        self.strip_shift_px[strip] = self._shift
        self.strip_quality[strip] = self.quality

    def _look(self, window: RigidRegistration, lines: NDArray[Any]) -> bool:
        """Register the lines of a window; true if they have jumped, are dim or do not fit."""
        window.process(lines)
        seen = np.array([window.shift_y_px, window.shift_x_px])
        error = np.array([window.error_y_px, window.error_x_px])
        moved = self._follow(seen, error) if window.quality > 0.0 else False
        jumped = (self._n_seen > 0 and moved) or window.dim or not window.fits
        self._n_seen += 1
        self.quality, self.contrast = window.quality, window.contrast
        return jumped

    def _follow(self, seen: NDArray[np.float64], error: NDArray[np.float64]) -> bool:
        """Weigh one strip's shift with what was expected; true if it is a jump."""
        noise = error**2
        surprise = seen - self._shift
        unexpected = np.abs(surprise) > SURPRISE * np.sqrt(self._variance + noise)
        if np.abs(surprise).max() > JUMP_PX and unexpected.any():
            confirmed = np.abs(seen - self._away).max() < AGREE_PX or self._n_seen == 0
            self._away[:] = seen
            if confirmed:
                self._shift[:] = seen
                self._variance[:] = noise
            return True
        self._away.fill(np.inf)
        gain = np.where(unexpected, 1.0, self._variance / (self._variance + noise))
        self._shift += gain * surprise
        self._variance = np.where(unexpected, noise, (1.0 - gain) * self._variance)
        return False

"""Slow adaptation of the template: the field may change its look, never its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.resample import add_registered
from rt_engine.pipeline.line_phase import straightened
from rt_engine.pipeline.registration import RigidRegistration

SAMPLE_PERIOD_S = 1.0
"""One frame a second is looked at: neighbours show the same."""
N_SAMPLES = 40
HANDOVER_S = 2.0
"""From the last sample to the frame that is registered by the new template: always the same, so that a replay does the
same; the work takes a tenth of it."""
MEMORY = 0.7
"""Part of the recent look that stays when a new mean joins it."""
LARGEST_WEIGHT = 0.5
"""Of the recent look in the template; the rest is the calibration's, always."""
MAX_RESIDUAL_PX = 1.0
"""A mean that lies farther off the calibration's template is no sharper look at the same place."""
MIN_LIKENESS = 0.3
"""Correlation with the calibration's template, band-passed, below which it shows something else."""
_COUNTS = 8.0
"""Counts of a mean are kept to an eighth when it is registered."""


class TemplateAdaptation:
    """Gathers the field's present look and makes a new template of it now and then, in a thread of its own.

    Parameters
    ----------
    template : float32 ndarray, shape (n_lines, n_pixels), counts
        Of the calibration: the anchor.
    max_shift_px : float
    frame_rate_hz : float
    line_phase_px : float
        As in `RigidRegistration`.
    build : callable
        Makes the registration of a template; called in the thread.

    Attributes
    ----------
    template : float32 ndarray, shape (n_lines, n_pixels), counts
        The one in use.
    n_adapted, n_refused : int
        Templates handed over, and means that were of no use.

    Notes
    -----
    Frames enter at their own shift, so that a sample that drifts leaves the mean where it is. What the shifts err by is
    taken out again: every mean is registered to the calibration's template itself, not to the one in use, so errors do
    not add up, however long it runs. Brightness is scaled to the anchor's (bleaching is no change of look), and the
    calibration's template keeps half of the weight.
    """

    def __init__(
        self,
        template: NDArray[np.float32],
        max_shift_px: float,
        frame_rate_hz: float,
        line_phase_px: float,
        build: Callable[[NDArray[np.float32]], Any],
    ) -> None:
        self._anchor = np.asarray(template, np.float32)
        self.template = self._anchor
        self._look = self._anchor.copy()
        self._max_shift_px = max_shift_px
        self._line_phase_px = line_phase_px
        self._build = build
        self._sample_period = max(1, round(SAMPLE_PERIOD_S * frame_rate_hz))
        self._handover = max(2, round(HANDOVER_S * frame_rate_hz))
        self._sum = np.zeros(template.shape, np.float32)
        self._n = 0
        self._next_frame = -1
        self._due_frame: int | None = None
        self._thread: threading.Thread | None = None
        self._made: tuple[Any, NDArray[np.float32], NDArray[np.float32]] | None = None
        self.n_adapted = self.n_refused = 0

    def look(self, frame: NDArray[Any], number: int, shift_y_px: float, shift_x_px: float) -> None:
        """Take in a good frame, if it is time for one. Call after its decisions are out.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, counts, read
        number : int
            The source's counter.
        shift_y_px, shift_x_px : float
            As it was registered.
        """
        if number < self._next_frame or self._due_frame is not None:
            return
        self._next_frame = number + self._sample_period
        straight = next(straightened(lambda: iter((frame,)), self._line_phase_px)())
        add_registered(straight, shift_y_px, shift_x_px, self._sum)
        self._n += 1
        if self._n == N_SAMPLES:
            mean = self._sum / np.float32(self._n)
            self._sum.fill(0.0)
            self._n = 0
            self._due_frame = number + self._handover
            self._thread = threading.Thread(target=self._work, args=(mean,), name="template")
            self._thread.start()

    def take(self, number: int) -> Any | None:
        """The new registration, once, if it is due at this frame; call before the frame is registered."""
        if self._due_frame is None or number < self._due_frame:
            return None
        self.finish()
        self._due_frame = None
        if self._made is None:
            self.n_refused += 1
            return None
        registration, self._look, self.template = self._made
        self._made = None
        self.n_adapted += 1
        return registration

    def finish(self) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self, mean: NDArray[np.float32]) -> None:
        placed = in_place(mean, self._anchor, self._max_shift_px)
        if placed is None:
            self._made = None
            return
        look = np.asarray(MEMORY * self._look + (1 - MEMORY) * placed, np.float32)
        template = np.asarray((1 - LARGEST_WEIGHT) * self._anchor + LARGEST_WEIGHT * look, np.float32)
        self._made = self._build(template), look, template


def in_place(mean: NDArray[np.float32], anchor: NDArray[np.float32], max_shift_px: float) -> NDArray[np.float32] | None:
    """A mean of frames where the anchor is, at its brightness; None if it shows another place, or nothing.

    Parameters
    ----------
    mean, anchor : float32 ndarray, shape (n_lines, n_pixels), counts, read
    max_shift_px : float
    """
    registration = RigidRegistration(anchor, max_shift_px)
    low = float(mean.min())
    scale = min(_COUNTS, 65_000.0 / max(float(mean.max()) - low, 1e-6))
    whole = np.rint((mean - low) * scale).astype(np.uint16)
    registration.process(whole)
    residual = registration.shift_y_px, registration.shift_x_px
    if registration.quality < MIN_LIKENESS or max(abs(residual[0]), abs(residual[1])) > MAX_RESIDUAL_PX:
        return None
    placed = np.zeros(mean.shape, np.float32)
    add_registered(whole, *residual, placed)
    a, b = placed - placed.mean(), anchor - anchor.mean()
    gain = float(np.sum(a * b, dtype=np.float64)) / max(float(np.sum(a * a, dtype=np.float64)), 1e-12)
    return np.asarray(gain * a + anchor.mean(), np.float32)

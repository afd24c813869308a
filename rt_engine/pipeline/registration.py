"""Rigid registration: where the content of the template is in a frame, to a fraction of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.line_phase import bin_lines_apart
from rt_engine.kernels.registration import (
    bin_and_centre,
    bin_in_fours,
    block_contrast,
    capped_mean,
    find_peak,
    weighted_median,
)
from rt_engine.kernels.running_median import push_running_median
from rt_engine.pipeline.all_lags import PARTS, AllLags
from rt_engine.pipeline.near_search import NearSearch
from rt_engine.pipeline.registration_images import block_sums

JUMP_PX = 2.0
HOLD_OFF_FRAMES = 2
CONTRAST_SPREADS = 6.0
"""Four standard deviations of a Gaussian; what is capped above has a longer tail below, slow as neuropil is."""
CONTRAST_WINDOW_FRAMES = 256
RECENT_FRAMES = 31
"""Slow changes of neuropil and focus are not told apart; a step within a second is, against the frames just before."""
CONTRAST_MIN_FRAMES = 30
MIN_RELATIVE_SPREAD = 0.01
"""Least spread, relative to the median: nobody's optics hold focus and power better than to 6 %."""
BLOCK_PX = 32
"""Side of a block: a few somata, so that one that fires speaks for few blocks; a quarter of a field below 128 px."""
MAX_BLOCKS_PER_AXIS = 16
MAX_BLOCK_WEIGHT = 4.0
"""Relative to the mean weight: what one bright block does is not what the field does."""
FIT_FRAMES = 32
MIN_FIT = 0.5
"""Least ratio of the median to the mean size of the slopes of all blocks, averaged over 32 frames: 1 where every block
looks as in the template, near 0 where it is of another field or session."""
LAGS_APART = 1.5
"""Peaks farther apart than this are not the same; less is what noise and the fraction of a lag make."""
MIN_BINNED_LINES = 256
"""Fields smaller than this are not binned: they have few pixels and time enough."""


class _RunningMedian:
    """Median of the last values, and how far they scatter below it."""

    def __init__(self, n_window: int) -> None:
        self.n_seen = 0
        self._statistics = np.zeros(2)
        self._ring = np.zeros(n_window)
        self._ordered = np.zeros(n_window)

    @property
    def median(self) -> float:
        return float(self._statistics[0])

    @property
    def spread(self) -> float:
        """MAD, or the distance of the lower quartile where that is larger."""
        n_held = min(self.n_seen, len(self._ring))
        quartile = float(self._ordered[(n_held - 1) // 4])
        return max(float(self._statistics[1]), self.median - quartile)

    def push(self, value: float) -> None:
        self.n_seen = push_running_median(value, self.n_seen, self._ring, self._ordered, self._statistics)


class RigidRegistration:
    """Cross-correlation with a band-passed template, 2 x 2 binned where the field is large.

    Parameters
    ----------
    template : float32 ndarray, shape (n_lines, n_pixels), counts
        Mean of registered frames; read once.
    max_shift_px : float
        Limit of the search on each axis, pixels.
    line_phase_px : float
        Shift of odd lines along x by bidirectional scanning; the template is free of it.
    bin_px : int, optional
        Pixels summed along each axis, 1 or 2; by default 2 for fields of 256 lines and pixels or more.
    verifies_coarsely : bool
        Where frames are binned, `verify` looks at bins twice as large: a quarter of the time is enough to tell whether
        the sample is elsewhere, where is then looked up closely. `quality` and errors are of those bins.

    Attributes
    ----------
    max_shift_px : float
    shift_y_px, shift_x_px : float
        Where the content of the template has moved: ``frame[y + shift_y_px, x + shift_x_px]`` shows `template[y, x]`.
    quality : float
        Correlation coefficient of the band-passed frame and template at that shift.
    contrast : float
        How strongly the template's structure stands in the frame: slope of the regression on it, block by block, each
        capped at the level of late, weighted mean relative to that level. About 1 as usual, 0 if another image is seen.
    dim : bool
        The contrast fell below its median over the last 256 or the last 31 frames by 6 times what it scatters around
        that.
    fits : bool
        The template is of this field, as told every 32 frames; until the first time true.
    jumped : bool
        The shift moved more than 2 px since the last frame, or the frame is dim, or the template does not fit; true
        for 2 more frames after that.
    error_y_px, error_x_px : float
        Standard error of the shift, from the template's structure and the noise in the frame.

    Notes
    -----
    The template side carries the band-pass twice, divided by its radial power spectrum plus a floor: noise whose
    spectrum follows the template (cells that change their brightness) is weighed down, which is the maximum likelihood
    estimate for a known template in coloured noise. It is zero near the border, wide enough that no shift within the
    limits reads beyond the field or around its edge: the frame needs no taper, and the estimate is not drawn to zero.
    Cells that fire lower the correlation coefficient without any motion. But they only ever raise slopes, and what is
    raised above the running median of the blocks' median does not count: activity cannot lower the contrast, loss of
    focus, which dims structure, must.
    Thread-bound: the buffers are reused by every call.
    """

    def __init__(
        self,
        template: NDArray[np.float32],
        max_shift_px: float,
        line_phase_px: float = 0.0,
        bin_px: int | None = None,
        *,
        verifies_coarsely: bool = False,
    ) -> None:
        self.max_shift_px = float(max_shift_px)
        self._line_phase_px = float(line_phase_px)
        self._bin_px = bin_px or (2 if min(template.shape) >= MIN_BINNED_LINES else 1)
        template = np.asarray(template, np.float32)
        self._all = AllLags(template, self._bin_px, max_shift_px)
        self._tops = [self._all.tops(template, axis) for axis in (0, 1)]
        self._near = NearSearch(self._all.held_reference, self._all.max_lag_y, self._all.max_lag_x)
        self._searched_all = False
        coarse = verifies_coarsely and self._bin_px > 1
        self._check = AllLags(template, 2 * self._bin_px, max_shift_px) if coarse else self._all
        self._columns = np.zeros(self._all.reference.shape[1], np.float32)
        self._peak = np.zeros(3)
        self._prepare_blocks(self._all.template, self._all.reference)
        self._level = _RunningMedian(CONTRAST_WINDOW_FRAMES)
        self._usual = _RunningMedian(CONTRAST_WINDOW_FRAMES)
        self._recent = _RunningMedian(RECENT_FRAMES)
        self._departure = _RunningMedian(CONTRAST_WINDOW_FRAMES)
        self._hold_off = 0
        self.shift_y_px = 0.0
        self.shift_x_px = 0.0
        self.quality = 0.0
        self.contrast = 0.0
        self.dim = False
        self.fits = True
        self._slope_sum = np.zeros(self._block_contrast.size)
        self.jumped = False
        self.error_y_px = self.error_x_px = max_shift_px

    def _prepare_blocks(self, binned: NDArray[np.float32], reference: NDArray[np.float32]) -> None:
        side = min(BLOCK_PX // self._bin_px, max(min(binned.shape) // 4, 1))
        side = max(side, -(-max(binned.shape) // MAX_BLOCKS_PER_AXIS))
        self._block_rows = side
        inside = (reference != 0.0).astype(np.float32)
        mean = block_sums(reference, side) / np.maximum(block_sums(inside, side), 1.0)
        rows, columns = (side * n for n in mean.shape)
        self._weights = np.zeros_like(reference)
        self._weights[:rows, :columns] = reference[:rows, :columns] - inside[:rows, :columns] * np.kron(
            mean, np.ones((side, side))
        )
        curved = np.zeros((2, *binned.shape), np.float32)
        curved[0, 1:-1] = binned[2:] - 2 * binned[1:-1] + binned[:-2]
        curved[1, :, 1:-1] = binned[:, 2:] - 2 * binned[:, 1:-1] + binned[:, :-2]
        images = (binned, curved[0], curved[1])
        self._expected = np.stack([block_sums(self._weights * image, side) for image in images])
        noise = block_sums(self._weights**2, side)
        signal = np.maximum(self._expected[0], 0.0)
        weight = np.divide(signal**2, noise, out=np.zeros_like(signal), where=noise > 0.0).ravel()
        self._block_weight = np.minimum(weight, MAX_BLOCK_WEIGHT * weight.mean())
        self._block_contrast = np.zeros(signal.shape)

    def _measure_contrast(self, lag_y: float, lag_x: float) -> float:
        block_contrast(
            self._all.binned,
            self._weights,
            self._expected,
            self._block_rows,
            lag_y,
            lag_x,
            self._columns,
            self._block_contrast,
        )
        slopes = self._block_contrast.reshape(-1)
        self._level.push(float(weighted_median(slopes, self._block_weight)))
        level = self._level.median
        self._slope_sum += slopes
        if self._level.n_seen % FIT_FRAMES == 0:
            size = float(np.average(np.abs(self._slope_sum), weights=self._block_weight))
            self.fits = float(weighted_median(self._slope_sum, self._block_weight)) >= MIN_FIT * size
            self._slope_sum.fill(0.0)
        return float(capped_mean(slopes, self._block_weight, level) / level) if level > 0.0 else 0.0

    def _is_dim(self) -> bool:
        """Contrast against that of the last 256 and of the last 31 frames, which this one then joins."""
        least = MIN_RELATIVE_SPREAD * abs(self._usual.median)
        departure = self.contrast - self._recent.median if self._recent.n_seen else 0.0
        dim = False
        if self._usual.n_seen >= CONTRAST_MIN_FRAMES:
            from_usual = self.contrast - self._usual.median
            dim = from_usual < -CONTRAST_SPREADS * max(self._usual.spread, least)
            dim = dim or departure < -CONTRAST_SPREADS * max(self._departure.spread, least)
        self._usual.push(self.contrast)
        self._recent.push(self.contrast)
        self._departure.push(departure)
        return dim

    def _find_lag(self) -> tuple[float, float]:
        """Lag of the peak, free of what draws tops to whole lags."""
        self._searched_all = not self._near.find(self._all.binned)
        if self._searched_all:
            self._all.look()
            np.copyto(self._peak, self._all.peak)
        else:
            find_peak(self._near.correlation, 0, 0, self._peak)
            self._peak[:2] += self._near.lag_yx
        return self._lag_of_peak()

    @property
    def searched_near(self) -> bool:
        """True if the last frame was found near the shift of the one before."""
        return not self._searched_all

    def forget_last_shift(self) -> None:
        """Look everywhere for the next frames, until the peak has stayed for a while."""
        self._near.forget()

    def _lag_of_peak(self) -> tuple[float, float]:
        lag = [0.0, 0.0]
        for axis, tops in enumerate(self._tops):
            place = float(self._peak[axis])
            lag[axis] = round(place) + float(np.interp(place - round(place), tops, PARTS))
        return lag[0], lag[1]

    def follow(self, other: RigidRegistration) -> None:
        """Go on where another registration of the same field stopped: its shift, hold-off and usual contrast."""
        for name in ("_level", "_usual", "_recent", "_departure", "_hold_off", "fits", "dim", "jumped"):
            setattr(self, name, getattr(other, name))
        self.shift_y_px, self.shift_x_px = other.shift_y_px, other.shift_x_px
        self.quality, self.contrast = other.quality, other.contrast
        self.error_y_px, self.error_x_px = other.error_y_px, other.error_x_px

    def process(self, frame: NDArray[Any]) -> None:
        """Estimate shift and quality of one frame: `locate`, then `verify`.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
        """
        self.locate(frame)
        self.verify()

    def locate(self, frame: NDArray[Any]) -> None:
        """Estimate the shift of one frame, near that of the last one where the peak is still there; else everywhere.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
        """
        if self._line_phase_px == 0.0:
            bin_and_centre(frame, self._bin_px, self._all.binned)
        else:
            bin_lines_apart(frame, self._bin_px, self._line_phase_px, self._all.binned)
        lag_y, lag_x = self._find_lag()
        seen = not self._searched_all or self._all.energy > 0.0
        shift_y_px = lag_y * self._bin_px if seen else 0.0
        shift_x_px = lag_x * self._bin_px if seen else 0.0
        self.contrast = self._measure_contrast(lag_y, lag_x) if seen else 0.0
        moved_px = max(abs(shift_y_px - self.shift_y_px), abs(shift_x_px - self.shift_x_px))
        jumped = self._usual.n_seen > 0 and moved_px > JUMP_PX
        self.dim = self._is_dim()
        jumped = jumped or self.dim or not self.fits
        self._hold_off = HOLD_OFF_FRAMES + 1 if jumped else max(self._hold_off - 1, 0)
        self.jumped = self._hold_off > 0
        self.shift_y_px = shift_y_px
        self.shift_x_px = shift_x_px

    def verify(self) -> None:
        """Look at all lags of the frame that `locate` was given: for its quality, and whether the near peak was true.

        Not needed for a decision; to be called before the next frame. If the true peak was elsewhere, the shift is
        corrected and the frames that follow count as after a jump.
        """
        check = self._check
        if check is not self._all:
            n_rows, n_columns = check.reference.shape
            bin_in_fours(self._all.binned, n_rows, n_columns, check.binned)
        if check is not self._all or not self._searched_all:
            check.look()
        if not self._searched_all and self._is_elsewhere(check):
            if check is not self._all:
                self._all.look()
            if self._is_elsewhere(self._all):
                np.copyto(self._peak, self._all.peak)
                lag_y, lag_x = self._lag_of_peak()
                self.shift_y_px, self.shift_x_px = lag_y * self._bin_px, lag_x * self._bin_px
                self._hold_off = HOLD_OFF_FRAMES + 1
        self.quality = check.quality
        seen = check.energy > 0.0
        if seen:
            self._near.learn(round(float(self._peak[0])), round(float(self._peak[1])), float(self._peak[2]))
        contrast = self._level.median
        errors = check.errors_px(contrast) if seen and contrast > 0.0 else [self.max_shift_px] * 2
        self.error_y_px, self.error_x_px = (min(error, self.max_shift_px) for error in errors)

    def _is_elsewhere(self, check: AllLags) -> bool:
        """True if the peak that was found near the last one is not the highest of all."""
        scale = check.bin_px / self._bin_px
        apart = (abs(float(check.peak[axis]) * scale - self._near.lag_yx[axis]) for axis in (0, 1))
        return max(apart) > LAGS_APART

"""Where the template is in a frame, looked for everywhere: correlation at all lags within the limits, through FFTs."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rt_engine.kernels.registration import correlate_spectrum, find_peak
from rt_engine.pipeline.plain_functions import turned
from rt_engine.pipeline.registration_images import (
    band_pass,
    bins,
    energy_weight,
    interior,
    power_of,
    whiten,
)

FINE_SIGMA_PX = 1.15
"""Gaussian low-pass of the band-pass, full-resolution pixels."""
COARSE_SIGMA_PX = 12.0
"""Gaussian whose result is subtracted: haze and shading do not steer the shift."""
WAVES_HELD = 0.99
"""Part of the template's energy in the waves along x that are looked at; the shorter ones are noise."""
PARTS = np.linspace(-0.6, 0.6, 13)
"""Shifts, lags, for which the top of the parabola is tabulated."""


class AllLags:
    """Correlates bins of a frame with the band-passed, whitened template; owns its arrays, which `look` overwrites.

    Parameters
    ----------
    template : float32 ndarray, shape (n_lines, n_pixels), counts
        Read once.
    bin_px : int
        Pixels summed along each axis.
    max_shift_px : float
        Limit of the search on each axis, pixels.

    Attributes
    ----------
    binned : float32 ndarray, shape (>= n_lines // bin_px, >= n_pixels // bin_px), counts
        The frame, to be filled before `look`; what lies beyond its rows and columns stays 0.
    bin_px, max_lag_y, max_lag_x : int
    template, reference : float32 ndarray, shape (n_rows, n_columns)
        The template's bins, and the template side of the correlation.
    held_reference : float32 ndarray, shape of `binned`
        The reference without the waves that are not looked at.
    peak : float64 ndarray, shape (3,)
        Of the last look: lag along y, lag along x, height.
    energy : float
        Of the band-passed bins of the last look.
    """

    def __init__(self, template: NDArray[np.float32], bin_px: int, max_shift_px: float) -> None:
        self.bin_px = bin_px
        rows, columns = template.shape[0] // bin_px, template.shape[1] // bin_px
        shape = scipy.fft.next_fast_len(rows, real=True), scipy.fft.next_fast_len(columns, real=True)
        self.binned = np.zeros(shape, np.float32)
        wanted = int(np.ceil(max_shift_px / bin_px))
        self.max_lag_y, self.max_lag_x = min(wanted, (rows - 3) // 2), min(wanted, (columns - 3) // 2)
        self.peak = np.zeros(3)
        self.energy = 0.0
        self.template = bins(template, bin_px)
        fine, coarse = FINE_SIGMA_PX / bin_px, COARSE_SIGMA_PX / bin_px
        inside = interior(rows, self.max_lag_y)[:, None] * interior(columns, self.max_lag_x)[None, :]
        reference = inside * whiten(band_pass(band_pass(self.template, fine, coarse), fine, coarse), self.template)
        reference -= inside * (reference.sum() / inside.sum())
        slopes = [(np.gradient(reference, axis=axis), np.gradient(self.template, axis=axis)) for axis in (0, 1)]
        self._error_of_noise = [
            float(np.sqrt(np.sum(ours**2)) / max(abs(np.sum(ours * theirs)), 1e-30)) * bin_px for ours, theirs in slopes
        ]
        self._reference_norm = float(np.sqrt(np.sum(reference**2)))
        self.reference = np.ascontiguousarray(reference, np.float32)
        self.binned[:rows, :columns] = reference
        self._n_waves = shape[1] // 2 + 1
        whole = np.conj(self._spectrum())
        self.binned[:] = 0.0
        held = np.cumsum(np.sum(power_of(whole), axis=0, dtype=np.float64))
        self._n_waves = int(np.searchsorted(held, WAVES_HELD * held[-1])) + 1
        self._lag_rows = np.zeros((2 * self.max_lag_y + 3, self._n_waves), np.complex64)
        self._waves_of_template = np.ascontiguousarray(whole[:, : self._n_waves])
        weight = energy_weight(shape, fine, coarse)
        self._energy_weight = np.ascontiguousarray(weight[:, : self._n_waves])
        self._waves = np.zeros(self._n_waves, np.float32)
        self._white_energy = rows * columns * float(self._energy_weight.sum())
        held_waves = np.arange(whole.shape[1]) < self._n_waves
        self.held_reference = np.ascontiguousarray(
            scipy.fft.irfft2(np.conj(whole) * held_waves, s=shape, workers=1), np.float32
        )

    def look(self) -> None:
        """Correlate `binned` at all lags, and find the peak."""
        self._correlate()
        find_peak(self._correlation, self.max_lag_y, self.max_lag_x, self.peak)

    @property
    def quality(self) -> float:
        """Correlation coefficient of the band-passed frame and template at the peak; 0 without structure."""
        norm = self._reference_norm * np.sqrt(self.energy / self.binned.size)
        return float(self.peak[2] / norm) if norm > 0.0 else 0.0

    def errors_px(self, contrast: float) -> list[float]:
        """Standard errors of the last peak along y and x, from the template's slopes and the noise in the frame.

        `contrast` is how strongly the template stands in the frame, above 0.
        """
        noise = np.sqrt(max(1.0 - self.quality**2, 0.0) * self.energy / self._white_energy)
        return [float(noise * error / contrast) for error in self._error_of_noise]

    def tops(self, template: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
        """Where the parabola's top lies if the template is moved by each of `PARTS` lags along one axis.

        A parabola is not the shape of the peak, and binning aliases: tops are drawn to whole lags by 0.1 px.
        """
        b = self.bin_px
        rows, columns = self.reference.shape
        spectrum = scipy.fft.fft(template, axis=axis, workers=1)
        turns = -scipy.fft.fftfreq(template.shape[axis])
        turns = turns[:, None] if axis == 0 else turns[None, :]
        tops = np.zeros(len(PARTS))
        for i, part in enumerate(PARTS):
            moved = scipy.fft.ifft(spectrum * turned(turns * (part * b)), axis=axis, workers=1).real
            self.binned[:rows, :columns] = bins(moved, b)
            self._correlate()
            correlation = self._correlation
            before, here, after = (float(correlation[(k, 0) if axis == 0 else (0, k)]) for k in (-1, 0, 1))
            curvature = 2.0 * here - before - after
            tops[i] = 0.5 * (after - before) / curvature if curvature > 0.0 else part
        self.binned[:] = 0.0
        return np.asarray(np.maximum.accumulate(tops + 1e-9 * np.arange(len(tops))))

    def _correlate(self) -> None:
        spectrum = self._spectrum()
        self.energy = float(correlate_spectrum(spectrum, self._waves_of_template, self._energy_weight, self._waves))
        rows = scipy.fft.ifft(spectrum, axis=0, workers=1, overwrite_x=True)
        # Negative lags stand at the end, as in the whole correlation, of which only these rows are looked at.
        n_after, n_before = self.max_lag_y + 2, self.max_lag_y + 1
        self._lag_rows[:n_after] = rows[:n_after]
        self._lag_rows[n_after:] = rows[-n_before:]
        self._correlation = scipy.fft.irfft(self._lag_rows, self.binned.shape[1], axis=1, workers=1)

    def _spectrum(self) -> NDArray[np.complex64]:
        """Half spectrum of `binned` up to the last wave along x that the template has."""
        along_x = scipy.fft.rfft(self.binned, axis=1, workers=1)
        spectrum: NDArray[np.complex64] = scipy.fft.fft(along_x[:, : self._n_waves], axis=0, workers=1)
        return spectrum

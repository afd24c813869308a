"""Line phase of bidirectional scanning: by how much odd lines lie beside even ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

MAX_PHASE_PX = 8
FINE_SIGMA_PX, COARSE_SIGMA_PX = 1.0, 12.0
UPSAMPLING = 20
N_PARTS = 8
MIN_PHASE_PX = 0.05
"""A smaller phase is left alone: it blurs less than the shift's own error."""
MIN_ERRORS = 5.0
MAX_ERROR_PX = 0.25
"""A phase must be so many standard errors large, and known to a fraction of a pixel, to be believed."""


def estimate_line_phase(image: NDArray[Any]) -> tuple[float, float]:
    """Line phase and its standard error.

    Parameters
    ----------
    image : ndarray, shape (n_lines, n_pixels), counts, read
        Mean of frames as they came, not registered: movement blurs odd and even lines alike.

    Returns
    -------
    line_phase_px : float
        ``image[y, x + line_phase_px]`` of odd lines y shows what the lines around show at x; 0 where it is below
        0.05 px or 5 standard errors, or not known to 0.25 px.
    error_px : float
        From eight parts of the field.
    """
    lines = image.astype(np.float64)
    lines = gaussian_filter1d(lines, FINE_SIGMA_PX, axis=1) - gaussian_filter1d(lines, COARSE_SIGMA_PX, axis=1)
    n_odd = (len(lines) - 1) // 2
    odd = lines[1 : 2 * n_odd : 2]
    around = 0.5 * (lines[0 : 2 * n_odd - 1 : 2] + lines[2 : 2 * n_odd + 1 : 2])
    window = np.hanning(image.shape[1] + 2)[1:-1]
    n_fft = scipy.fft.next_fast_len(image.shape[1] + MAX_PHASE_PX, real=True)
    cross = np.conj(scipy.fft.rfft(around * window, n_fft, axis=1)) * scipy.fft.rfft(odd * window, n_fft, axis=1)
    whole = _peak_px(cross.sum(axis=0), n_fft)
    parts = [_peak_px(part.sum(axis=0), n_fft) for part in np.array_split(cross, N_PARTS)]
    error_px = float(np.std(parts, ddof=1) / np.sqrt(N_PARTS))
    believed = error_px <= MAX_ERROR_PX and abs(whole) >= max(MIN_PHASE_PX, MIN_ERRORS * error_px)
    return (whole if believed else 0.0), error_px


def straightened(
    open_frames: Callable[[], Iterator[NDArray[Any]]], line_phase_px: float
) -> Callable[[], Iterator[NDArray[Any]]]:
    """Frames whose odd lines are resampled where they belong: for images of a calibration, never for traces.

    Parameters
    ----------
    open_frames : callable
        Gives the frames from the first on.
    line_phase_px : float
        With 0 the frames are given as they are.
    """
    if line_phase_px == 0.0:
        return open_frames
    whole = int(np.floor(line_phase_px))
    part = line_phase_px - whole

    def frames() -> Iterator[NDArray[Any]]:
        for frame in open_frames():
            out = frame.copy()
            columns = np.arange(frame.shape[1]) + whole
            left, right = (np.clip(columns + step, 0, frame.shape[1] - 1) for step in (0, 1))
            odd = frame[1::2].astype(np.float32)
            out[1::2] = np.rint((1 - part) * odd[:, left] + part * odd[:, right]).astype(frame.dtype)
            yield out

    return frames


def _peak_px(cross: NDArray[np.complex128], n_fft: int) -> float:
    """Lag of the largest correlation, in steps of a twentieth of a pixel, refined by a parabola; 0 without a peak."""
    fine = scipy.fft.irfft(cross, n_fft * UPSAMPLING)
    reach = MAX_PHASE_PX * UPSAMPLING
    lags = np.arange(-reach, reach + 1)
    values = fine[lags]
    best = int(np.argmax(values))
    if values[best] <= 0.0 or best in (0, len(lags) - 1):
        return 0.0
    before, here, after = values[best - 1 : best + 2]
    top = 0.5 * (after - before) / (2 * here - before - after)
    return float(lags[best] + top) / UPSAMPLING

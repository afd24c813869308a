"""What registration makes of a template once: images of one spatial band, whitened, tapered, in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from rt_engine.pipeline.plain_functions import exp, turned

WHITENING_FLOOR = 0.1
"""Noise and flicker relative to the largest radial power: between cross-correlation (large) and phase (0)."""
_REACH = 4.0
"""Standard deviations at which a Gaussian ends."""


def bins(image: NDArray[Any], bin_px: int) -> NDArray[np.float32]:
    """Sums of blocks of pixels, less their mean."""
    rows, columns = image.shape[0] // bin_px, image.shape[1] // bin_px
    blocks = image[: rows * bin_px, : columns * bin_px].reshape(rows, bin_px, columns, bin_px)
    sums: NDArray[np.float32] = blocks.sum(axis=(1, 3), dtype=np.float32)
    sums -= sums.mean()
    return sums


def block_sums(image: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Sums over square blocks that begin at [0, 0]; what fills no block is left out."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64))


def band_pass(image: NDArray[np.float32], fine: float, coarse: float) -> NDArray[np.float32]:
    """Difference of two Gaussians, of `fine` and `coarse` standard deviations in pixels."""
    return _blurred(image, fine) - _blurred(image, coarse)


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """As `scipy.ndimage.gaussian_filter`, whose weights are another exponential's on another processor."""
    reach = int(_REACH * sigma + 0.5)
    weights = exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    along_y = correlate1d(image, weights, axis=0)
    blurred: NDArray[np.float32] = correlate1d(along_y, weights, axis=1)
    return blurred


def power_of(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Squared size. That of numpy's `abs` depends on the vectors of the processor."""
    return spectrum.real * spectrum.real + spectrum.imag * spectrum.imag


def whiten(image: NDArray[np.float32], binned: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide an image's spectrum by the radial mean power of the template plus a floor."""
    rows, columns = binned.shape
    ky, kx = scipy.fft.fftfreq(rows)[:, None], scipy.fft.rfftfreq(columns)[None, :]
    radius = np.rint(np.sqrt(ky * ky + kx * kx) * max(rows, columns)).astype(np.int64)
    window = interior(rows, 1)[:, None] * interior(columns, 1)[None, :]
    power = power_of(scipy.fft.rfft2(binned * window, workers=1))
    radial = np.bincount(radius.ravel(), power.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    floor = WHITENING_FLOOR * radial.max()
    if floor <= 0.0:
        return image
    spectrum = scipy.fft.rfft2(image, workers=1) * (radial.max() / (radial[radius] + floor))
    whitened: NDArray[np.float32] = scipy.fft.irfft2(spectrum, s=binned.shape, workers=1).astype(np.float32)
    return whitened


def interior(length: int, margin: int) -> NDArray[np.float32]:
    """Window of one axis: zero within `margin` of the ends, then a raised cosine, then one."""
    margin = min(margin + 1, length // 4)
    ramp = max(min(length // 16, length // 2 - margin), 1)
    rise = 0.5 - 0.5 * turned((np.arange(ramp) + 0.5) / (2 * ramp)).real
    window = np.ones(length, np.float32)
    window[:margin] = 0.0
    window[length - margin :] = 0.0
    window[margin : margin + ramp] = rise
    window[length - margin - ramp : length - margin] = rise[::-1]
    return window


def energy_weight(shape: tuple[int, int], fine: float, coarse: float) -> NDArray[np.float32]:
    """Squared transfer function of the band-pass on the half spectrum, times how often each term stands in the full."""
    ky = scipy.fft.fftfreq(shape[0])[:, None]
    kx = scipy.fft.rfftfreq(shape[1])[None, :]
    k2 = (2 * np.pi) ** 2 * (ky**2 + kx**2)
    transfer = exp(-0.5 * fine**2 * k2) - exp(-0.5 * coarse**2 * k2)
    multiplicity = np.full((1, shape[1] // 2 + 1), 2.0)
    multiplicity[0, 0] = 1.0
    if shape[1] % 2 == 0:
        multiplicity[0, -1] = 1.0
    return np.ascontiguousarray(transfer**2 * multiplicity, np.float32)

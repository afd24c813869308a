"""A field that moves while it is scanned: every line is read where the sample was at its time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

MARGIN_PX = 32


def field(n_lines: int, n_pixels: int, seed: int = 0) -> np.ndarray:
    """Rings of somata and puncta on haze; larger than the frame by 32 px on each side; mean 1."""
    rng = np.random.default_rng(seed)
    shape = (n_lines + 2 * MARGIN_PX, n_pixels + 2 * MARGIN_PX)
    image = np.zeros(shape)
    y, x = np.indices(shape)
    for _ in range(round(np.prod(shape) / 650)):
        centre = rng.uniform(0, shape)
        near = tuple(slice(max(int(middle) - 14, 0), int(middle) + 15) for middle in centre)
        distance = np.hypot(y[near] - centre[0], x[near] - centre[1])
        image[near] += rng.lognormal(0, 0.5) * np.exp(-0.5 * ((distance - 5.0) / 1.5) ** 2)
    puncta = np.zeros(shape)
    places = rng.integers(0, shape, (round(np.prod(shape) / 175), 2))
    puncta[places[:, 0], places[:, 1]] = rng.lognormal(1.8, 0.5, len(places))
    image += gaussian_filter(puncta, 1.0) + 0.3
    return image / image.mean()


class MovingField:
    """Photon-limited frames of a field, 20 counts per photon on an offset of 100.

    Parameters
    ----------
    size_px : int
    photons_per_px : float
        Mean of the field.
    seed : int
    """

    def __init__(self, size_px: int, photons_per_px: float, seed: int = 0) -> None:
        self.size_px = size_px
        self._light = photons_per_px * field(size_px, size_px, seed)
        self._spline = spline_filter(self._light, order=3)
        self._rng = np.random.default_rng(seed + 1)
        inner = slice(MARGIN_PX, -MARGIN_PX)
        self.template = (20.0 * self._light[inner, inner] + 100.0).astype(np.float32)

    def frame(self, shift_px: np.ndarray, line_phase_px: float = 0.0) -> np.ndarray:
        """One frame; `shift_px` (y, x) of the whole frame, or of every line, shape (n_lines, 2)."""
        shift = np.broadcast_to(shift_px, (self.size_px, 2))
        lines = np.arange(self.size_px)
        y = (lines + MARGIN_PX - shift[:, 0])[:, None] + np.zeros(self.size_px)
        x = (MARGIN_PX - shift[:, 1] - line_phase_px * (lines % 2))[:, None] + lines
        photons = np.maximum(map_coordinates(self._spline, [y, x], order=3, prefilter=False), 0.0)
        counts = 20.0 * self._rng.poisson(photons) + self._rng.normal(100.0, 5.0, photons.shape)
        return np.rint(counts).clip(0, 65535).astype(np.uint16)


def breathing_px(n_frames: int, size_px: int) -> np.ndarray:
    """Movement of every line, (n_frames, n_lines, 2): a breath of 2 um at 3 Hz, a lick of 1 um at 8 Hz."""
    t_s = np.arange(n_frames * size_px) / size_px / 30.0
    y = 1.25 * np.sin(2 * np.pi * 3 * t_s) + 0.6 * np.sin(2 * np.pi * 8 * t_s)
    x = 1.2 * np.sin(2 * np.pi * 3 * t_s + 1.0)
    return np.stack([y, x], axis=1).reshape(n_frames, size_px, 2)


def jitter_px(n_frames: int, size_px: int, rng: np.random.Generator) -> np.ndarray:
    """One displacement a frame, 0.3 um RMS with a memory of 0.2 s at 0.8 um per pixel; (n_frames, n_lines, 2)."""
    keep = np.exp(-1 / 6.0)
    place = np.zeros((n_frames, 2))
    for index in range(1, n_frames):
        place[index] = keep * place[index - 1] + 0.375 * np.sqrt(1 - keep**2) * rng.standard_normal(2)
    return np.repeat(place[:, None], size_px, axis=1)

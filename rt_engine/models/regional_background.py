"""Light that many pixels share: the neuropil around, as non-negative weights times traces of overlapping regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

WEIGHT_SMOOTHING_PX = 1.0
"""Weights of single pixels are noisy; the fine structure of neuropil is about as coarse."""
MAX_WEIGHT = 1.5
"""Largest weight, relative to the mean around: a bright active cell is no background, though its own trace would
explain it best."""
RIDGE = 1e-3
"""Part of the mean diagonal added to the normal equations: regions behind a vessel show nothing."""


class RegionalBackground:
    """Background of a movie, ``sum_g weight(y, x) hat_g(y, x) trace_g(t)``: two components or more.

    Parameters
    ----------
    shape : (int, int)
        Lines and pixels.
    spacing_px : float
        Between the centres of neighbouring regions; wider than a cell, narrower than neuropil is correlated.

    Attributes
    ----------
    weight : float32 ndarray, shape (n_lines, n_pixels)
        Non-negative.
    traces : float32 ndarray, shape (n_bins, n_regions_y, n_regions_x)
        Of both signs: the mean over time is not in it.

    Notes
    -----
    The hats are bilinear and sum to 1 at every pixel, so that the regions blend. A weight for every pixel lets the
    background follow vessels and bright spots, which a local mean cannot; and as the cells' own light is taken out
    when it is fitted anew, active cells do not lend their traces to their surroundings.
    """

    def __init__(self, shape: tuple[int, int], spacing_px: float) -> None:
        self._spacing_px = spacing_px
        self._hat_y = _hats(shape[0], spacing_px)
        self._hat_x = _hats(shape[1], spacing_px)
        self.weight = np.ones(shape, np.float32)
        self.traces = np.zeros((0, self._hat_y.shape[1], self._hat_x.shape[1]), np.float32)

    def fit_traces(self, movie: NDArray[np.float32], of_cells: NDArray[np.float32] | None = None) -> None:
        """Least squares of the movie on ``weight * hats``.

        Parameters
        ----------
        movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), read
            Without its mean over time, background in it.
        of_cells : float32 ndarray, shape (n_bins, n_regions_y, n_regions_x), optional
            What `project` gives for the light of the cells, which is no background.
        """
        right = np.stack([self.project(image) for image in movie])
        if of_cells is not None:
            right -= of_cells
        flat = right.reshape(len(movie), -1).T
        solved = np.linalg.solve(self._normal_matrix(), flat.astype(np.float64))
        self.traces = np.ascontiguousarray(solved.T.reshape(right.shape), np.float32)

    def fit_weight(self, movie: NDArray[np.float32], of_cells: NDArray[np.float32] | None = None) -> None:
        """Non-negative weight of every pixel from the traces.

        Parameters
        ----------
        movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), read
        of_cells : float32 ndarray, shape (n_lines, n_pixels), optional
            Sum over time of the cells' light times the blended traces.
        """
        numerator = np.zeros(self.weight.shape, np.float32)
        power = np.zeros(self.weight.shape, np.float32)
        for image, trace in zip(movie, self.traces, strict=True):
            blended = self.blend(trace)
            numerator += image * blended
            power += blended * blended
        if of_cells is not None:
            numerator -= of_cells
        floor = 1e-6 * float(power.mean()) + 1e-30
        smooth = gaussian_filter(numerator, WEIGHT_SMOOTHING_PX) / (gaussian_filter(power, WEIGHT_SMOOTHING_PX) + floor)
        self.set_weight(smooth)

    def set_weight(self, image: NDArray[np.float32]) -> None:
        """Take an image for the weight: negative values become 0, what stands out of its surroundings is cut."""
        weight = np.maximum(image, 0.0)
        self.weight = np.minimum(weight, MAX_WEIGHT * gaussian_filter(weight, 0.5 * self._spacing_px)).astype(
            np.float32
        )

    def remove_from(self, movie: NDArray[np.float32]) -> None:
        """Take the background out of a movie, in place."""
        for image, trace in zip(movie, self.traces, strict=True):
            image -= self.weight * self.blend(trace)

    def add_to(self, movie: NDArray[np.float32]) -> None:
        """Put it back."""
        for image, trace in zip(movie, self.traces, strict=True):
            image += self.weight * self.blend(trace)

    def blend(self, trace: NDArray[np.float32]) -> NDArray[np.float32]:
        """Image, shape (n_lines, n_pixels), of region values, shape (n_regions_y, n_regions_x)."""
        return np.asarray(self._hat_y @ trace @ self._hat_x.T, np.float32)

    def project(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum over pixels of the image times the weight times every hat, shape (n_regions_y, n_regions_x)."""
        return np.asarray(self._hat_y.T @ (self.weight * image) @ self._hat_x, np.float32)

    def project_window(self, window: NDArray[np.float32], y: int, x: int) -> NDArray[np.float32]:
        """As `project`, of an image that is zero but for a window whose first pixel is at line y, pixel x."""
        lines, pixels = slice(y, y + window.shape[0]), slice(x, x + window.shape[1])
        weighted = self.weight[lines, pixels] * window
        return np.asarray(self._hat_y[lines].T @ weighted @ self._hat_x[pixels], np.float32)

    def blend_window(self, trace: NDArray[np.float32], y: int, x: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """As `blend`, only of a window."""
        return np.asarray(self._hat_y[y : y + size[0]] @ trace @ self._hat_x[x : x + size[1]].T, np.float32)

    def _normal_matrix(self) -> NDArray[np.float64]:
        square = self.weight.astype(np.float64) ** 2
        y, x = self._hat_y.astype(np.float64), self._hat_x.astype(np.float64)
        pairs_y = (y[:, :, None] * y[:, None, :]).reshape(len(y), -1)
        pairs_x = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        n_y, n_x = y.shape[1], x.shape[1]
        matrix = (pairs_y.T @ square @ pairs_x).reshape(n_y, n_y, n_x, n_x).transpose(0, 2, 1, 3).reshape(n_y * n_x, -1)
        return matrix + (RIDGE * float(np.trace(matrix)) / len(matrix) + 1e-30) * np.eye(len(matrix))


def _hats(n: int, spacing_px: float) -> NDArray[np.float32]:
    """Triangles that sum to 1 at every one of n pixels, shape (n, n_regions), two at least."""
    n_regions = max(2, round((n - 1) / spacing_px) + 1)
    position = np.arange(n) / max(n - 1, 1) * (n_regions - 1)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(n_regions))).astype(np.float32)

"""Where the field of one day is in the field of another: shift, a small rotation, and whether the zoom is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates, zoom
from scipy.optimize import minimize

MAX_ROTATION_DEG = 5.0
MAX_SCALE = 0.06
"""Searched for on both sides of 1, so that another zoom is told from another field."""
_ROTATION_STEP_DEG = 1.0
_SCALE_STEP = 0.02
_COARSE_PX = 128
"""Larger fields are binned for the search."""
_FINE_SIGMA_PX, _COARSE_SIGMA_PX, _LEVEL_SIGMA_PX = 1.5, 10.0, 20.0
SAME_SCALE = 0.02
_RIM = 0.06
"""Part of the field at its border that is not compared: the filters mirror it, and a mirror does not move."""
_SAMPLES_PER_AXIS = 120
_MIN_OVERLAP = 0.5
"""Part of the field that both must show."""


@dataclass(frozen=True, slots=True)
class FieldTransform:
    """From a point of the old template to the same place of the sample in the new one.

    Attributes
    ----------
    shift_y_px, shift_x_px : float
        Of the middle of the field.
    rotation_deg : float
        Positive turns the y axis towards the x axis.
    scale : float
        Above 1 where the new field is magnified.
    correlation : float
        Of the two templates, band-passed and levelled, where both see the sample; 1 if alike.
    centre_y_px, centre_x_px : float
        The point that is rotated about.
    """

    shift_y_px: float
    shift_x_px: float
    rotation_deg: float
    scale: float
    correlation: float
    centre_y_px: float
    centre_x_px: float

    def forward(self, yx_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Old to new; shape (..., 2), pixels."""
        centre, shift = self._centre(), np.array([self.shift_y_px, self.shift_x_px])
        moved: NDArray[np.float64] = (yx_px - centre) @ self._matrix().T + centre + shift
        return moved

    def backward(self, yx_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """New to old; shape (..., 2), pixels."""
        centre, shift = self._centre(), np.array([self.shift_y_px, self.shift_x_px])
        moved: NDArray[np.float64] = (yx_px - centre - shift) @ np.linalg.inv(self._matrix()).T + centre
        return moved

    def _centre(self) -> NDArray[np.float64]:
        return np.array([self.centre_y_px, self.centre_x_px])

    def _matrix(self) -> NDArray[np.float64]:
        return _matrix(self.rotation_deg, self.scale)


def align_fields(old: NDArray[np.float32], new: NDArray[np.float32]) -> FieldTransform:
    """Find the old field in the new one.

    Parameters
    ----------
    old, new : float32 ndarray, shape (n_lines, n_pixels), counts, read
        Mean images of the same size.

    Notes
    -----
    Both images are band-passed to the size of somata and divided by their local standard deviation, so that a few
    bright cells do not decide. Cross-correlation over a grid of rotations and scales finds the neighbourhood, the
    correlation coefficient over the common part is then maximised by the simplex method at full resolution. A scale
    within `SAME_SCALE` of 1 is taken for 1 and the rest fitted again: it is the microscope's setting, not the animal's.
    """
    whole_old, whole_new = _levelled(old), _levelled(new)
    factor = max(1, round(min(old.shape) / _COARSE_PX))
    small_old, small_new = (
        (image if factor == 1 else zoom(image, 1.0 / factor, order=1)).astype(np.float64)
        for image in (whole_old, whole_new)
    )
    start = _search(small_old, small_new)
    return _refine(whole_old, whole_new, start * np.array([factor, factor, 1.0, 1.0]))


def warp_to_new(old: NDArray[np.float32], transform: FieldTransform) -> NDArray[np.float32]:
    """The old image as the new field would show it, NaN beyond it; shape of `old`."""
    grid = np.moveaxis(np.indices(old.shape).astype(np.float64), 0, -1)
    at = np.moveaxis(transform.backward(grid), -1, 0)
    out: NDArray[np.float32] = map_coordinates(old, at, order=1, cval=np.nan).astype(np.float32)
    return out


def _matrix(rotation_deg: float, scale: float) -> NDArray[np.float64]:
    angle = np.deg2rad(rotation_deg)
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _levelled(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Structure of the size of somata, of equal strength all over the field."""
    counts = np.nan_to_num(image.astype(np.float64))
    band = gaussian_filter(counts, _FINE_SIGMA_PX) - gaussian_filter(counts, _COARSE_SIGMA_PX)
    level = np.sqrt(gaussian_filter(band**2, _LEVEL_SIGMA_PX))
    out: NDArray[np.float64] = np.clip(band / np.maximum(level, 0.1 * level.mean() + 1e-12), -4.0, 4.0)
    return out


def _search(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift (y, x), rotation and scale with the highest cross-correlation, on a grid."""
    lines, pixels = old.shape
    shape = (scipy.fft.next_fast_len(lines * 3 // 2, real=True), scipy.fft.next_fast_len(pixels * 3 // 2, real=True))
    spectrum = scipy.fft.rfft2(new - new.mean(), shape)
    centre = np.array([(lines - 1) / 2, (pixels - 1) / 2])
    reach_y, reach_x = lines // 2 - 1, pixels // 2 - 1
    rotations = np.arange(-MAX_ROTATION_DEG, MAX_ROTATION_DEG + 1e-9, _ROTATION_STEP_DEG)
    scales = 1.0 + np.arange(-MAX_SCALE, MAX_SCALE + 1e-9, _SCALE_STEP)
    best = (-np.inf, np.zeros(4))
    for rotation_deg, scale in product(rotations, scales):
        inverse = np.linalg.inv(_matrix(rotation_deg, scale))
        turned = affine_transform(old, inverse, centre - inverse @ centre, order=1)
        turned -= turned.mean()
        surface = scipy.fft.irfft2(spectrum * np.conj(scipy.fft.rfft2(turned, shape)), shape)
        surface[reach_y + 1 : shape[0] - reach_y] = -np.inf
        surface[:, reach_x + 1 : shape[1] - reach_x] = -np.inf
        at = np.unravel_index(int(np.argmax(surface)), shape)
        peak = float(surface[at]) / max(float(np.linalg.norm(turned)), 1e-12)
        if peak > best[0]:
            shift = [int(i) - n if i > n // 2 else int(i) for i, n in zip(at, shape, strict=True)]
            best = (peak, np.array([*shift, rotation_deg, scale], np.float64))
    return best[1]


def _refine(old: NDArray[np.float64], new: NDArray[np.float64], start: NDArray[np.float64]) -> FieldTransform:
    lines, pixels = old.shape
    centre = np.array([(lines - 1) / 2, (pixels - 1) / 2])
    step = max(1, min(lines, pixels) // _SAMPLES_PER_AXIS)
    rim = round(min(_COARSE_SIGMA_PX, _RIM * min(lines, pixels)))
    inner = np.s_[rim : lines - rim : step, rim : pixels - rim : step]
    grid = np.stack([part.ravel() for part in np.mgrid[inner]], axis=-1).astype(np.float64)
    values = old[inner].ravel()

    def correlation(parameters: NDArray[np.float64]) -> float:
        at = (grid - centre) @ _matrix(parameters[2], parameters[3]).T + centre + parameters[:2]
        seen = ((at >= rim) & (at <= (lines - 1 - rim, pixels - 1 - rim))).all(axis=1)
        beyond = abs(parameters[2]) > MAX_ROTATION_DEG + 1.0 or abs(parameters[3] - 1.0) > MAX_SCALE + 0.02
        if beyond or seen.mean() < _MIN_OVERLAP:
            return 0.0
        theirs = map_coordinates(new, at[seen].T, order=1)
        mine = values[seen] - values[seen].mean()
        theirs = theirs - theirs.mean()
        norm = np.sqrt((mine @ mine) * (theirs @ theirs))
        return float(mine @ theirs / norm) if norm > 0 else 0.0

    best = _climb(correlation, start, np.array([1.5 * step, 1.5 * step, 0.5, 0.01]))
    if abs(best[3] - 1.0) <= SAME_SCALE:
        rigid = _climb(lambda three: correlation(np.append(three, 1.0)), best[:3], np.array([1.0, 1.0, 0.25]))
        best = np.append(rigid, 1.0)
    y, x, rotation_deg, scale = (float(value) for value in best)
    return FieldTransform(y, x, rotation_deg, scale, correlation(best), float(centre[0]), float(centre[1]))


def _climb(
    correlation: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    corners = start + np.vstack((np.zeros(len(start)), np.diag(steps)))
    options = {"initial_simplex": corners, "xatol": 1e-3, "fatol": 1e-5, "maxiter": 300}
    found = minimize(lambda parameters: -correlation(parameters), start, method="Nelder-Mead", options=options)
    return np.asarray(found.x, np.float64)

"""Slow twins of the pixel kernels: one pixel at a time, no numba, no tricks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bin_and_centre(frame: NDArray, bin_px: int) -> tuple[NDArray, float]:
    """Block sums minus their mean, and the mean."""
    rows, columns = frame.shape[0] // bin_px, frame.shape[1] // bin_px
    out = np.zeros((rows, columns))
    for y in range(rows):
        for x in range(columns):
            out[y, x] = frame[y * bin_px : (y + 1) * bin_px, x * bin_px : (x + 1) * bin_px].astype(np.int64).sum()
    mean = out.mean()
    return out - mean, mean


def find_peak(correlation: NDArray, max_lag_y: int, max_lag_x: int) -> tuple[float, float, float]:
    """Largest lag within the limits, refined by a parabola on each axis; height of the parabolas' top."""
    lags = [(y, x) for y in range(-max_lag_y, max_lag_y + 1) for x in range(-max_lag_x, max_lag_x + 1)]
    y, x = max(lags, key=lambda lag: correlation[lag])
    n_rows, n_columns = correlation.shape

    def top(before: float, here: float, after: float) -> tuple[float, float]:
        coefficients = np.polyfit([-1.0, 0.0, 1.0], [before, here, after], 2)
        if coefficients[0] >= 0:
            return 0.0, 0.0
        place = float(np.clip(-coefficients[1] / (2 * coefficients[0]), -0.5, 0.5))
        return place, float(coefficients[1]) * place / 2

    def at(row: int, column: int) -> float:
        return float(correlation[row % n_rows, column % n_columns])

    part_y, more_y = top(at(y - 1, x), at(y, x), at(y + 1, x))
    part_x, more_x = top(at(y, x - 1), at(y, x), at(y, x + 1))
    return y + part_y, x + part_x, at(y, x) + more_y + more_x


def block_contrast(binned: NDArray, reference: NDArray, expected: NDArray, side: int, lag: tuple) -> NDArray:
    """Sum of weights times the resampled frame over each block, divided by what the template gives when blurred so."""
    part = [axis - np.floor(axis) for axis in lag]
    out = np.zeros(expected.shape[1:])
    for block in np.ndindex(*out.shape):
        total = 0.0
        for y in range(block[0] * side, (block[0] + 1) * side):
            for x in range(block[1] * side, (block[1] + 1) * side):
                y0, x0 = int(np.floor(y + lag[0])), int(np.floor(x + lag[1]))
                if not (0 <= y0 < reference.shape[0] - 1 and 0 <= x0 < reference.shape[1] - 1):
                    continue
                near = binned[y0 : y0 + 2, x0 : x0 + 2]
                weights = np.outer([1 - part[0], part[0]], [1 - part[1], part[1]])
                total += reference[y, x] * (near * weights).sum()
        blur = [0.5 * fraction * (1 - fraction) for fraction in part]
        wanted = expected[0][block] + blur[0] * expected[1][block] + blur[1] * expected[2][block]
        out[block] = total / wanted if wanted > 0 else 0.0
    return out


def weighted_median(values: NDArray, weights: NDArray) -> float:
    """Smallest value up to which half of the weight lies."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, 0.5 * reached[-1])]) if reached[-1] > 0 else 0.0


def bilinear(frame: NDArray, y: float, x: float) -> float | None:
    """Value between pixels; None where a neighbour with weight lies outside."""
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for dy, weight_y in ((0, 1 - (y - y0)), (1, y - y0)):
        for dx, weight_x in ((0, 1 - (x - x0)), (1, x - x0)):
            if weight_y * weight_x == 0:
                continue
            if not (0 <= y0 + dy < frame.shape[0] and 0 <= x0 + dx < frame.shape[1]):
                return None
            total += weight_y * weight_x * float(frame[y0 + dy, x0 + dx])
    return total


def mean_over_mask(
    frame: NDArray, pixels: NDArray, shift_y_px: float, shift_x_px: float, offset_counts: float
) -> tuple[float, int]:
    """Resample every pixel of the mask at its shifted position, then average those inside; how many there were."""
    values = []
    for flat in pixels.tolist():
        value = bilinear(frame, flat // frame.shape[1] + shift_y_px, flat % frame.shape[1] + shift_x_px)
        if value is not None:
            values.append(value)
    return (float(np.mean(values)) - offset_counts, len(values)) if values else (0.0, 0)


def median_and_mad(values: list[float], n_window: int) -> tuple[float, float]:
    """Lower median and lower median absolute deviation of the last `n_window` values."""
    last = sorted(values[-n_window:])
    median = last[(len(last) - 1) // 2]
    deviations = sorted(abs(value - median) for value in last)
    return median, deviations[(len(last) - 1) // 2]


def add_registered(frame: NDArray, shift_y_px: float, shift_x_px: float) -> NDArray:
    """The frame at the template's position, the border repeated beyond the field."""
    out = np.zeros(frame.shape)
    padded = np.pad(frame.astype(float), 80, mode="edge")
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            value = bilinear(padded, y + 80 + shift_y_px, x + 80 + shift_x_px)
            assert value is not None
            out[y, x] = value
    return out

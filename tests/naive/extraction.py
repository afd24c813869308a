"""Slow twins of the extraction kernels: one pixel at a time."""

from __future__ import annotations

import numpy as np
from naive.pixels import bilinear
from numpy.typing import NDArray


def reads(y: float, x: float) -> list[tuple[int, int, float]]:
    """The frame pixels that a position between pixels is made of, and their parts."""
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    return [
        (y0 + dy, x0 + dx, float(part_y * part_x))
        for dy, part_y in ((0, 1 - (y - y0)), (1, y - y0))
        for dx, part_x in ((0, 1 - (x - x0)), (1, x - x0))
        if part_y * part_x > 0
    ]


def weighted_mean(
    frame: NDArray, pixels: NDArray, weights: NDArray, shift: tuple[float, float], offset_counts: float
) -> tuple[float, int]:
    """Resample every pixel, then average with weights those inside; the sum of their weights."""
    total, inside = 0.0, 0
    for flat, weight in zip(pixels.tolist(), weights.tolist(), strict=True):
        value = bilinear(frame, flat // frame.shape[1] + shift[0], flat % frame.shape[1] + shift[1])
        if value is not None:
            total += weight * value
            inside += weight
    return (total / inside - offset_counts, inside) if inside else (0.0, 0)


def saturated_weight(frame: NDArray, pixels: NDArray, shift: tuple[float, float], limit: int) -> float:
    """Parts of the pixels read that are at or above the limit, summed over a mask."""
    total = 0.0
    for flat in pixels.tolist():
        y, x = flat // frame.shape[1] + shift[0], flat % frame.shape[1] + shift[1]
        if bilinear(frame, y, x) is not None:
            total += sum(part for row, column, part in reads(y, x) if frame[row, column] >= limit)
    return total


def mean_unsaturated(
    frame: NDArray, pixels: NDArray, shift: tuple[float, float], limit: int, offset_counts: float
) -> tuple[float, int]:
    """Mean over the mask pixels inside the field that read no saturated pixel, and their number."""
    values = []
    for flat in pixels.tolist():
        y, x = flat // frame.shape[1] + shift[0], flat % frame.shape[1] + shift[1]
        value = bilinear(frame, y, x)
        if value is not None and all(frame[row, column] < limit for row, column, _ in reads(y, x)):
            values.append(value)
    return (float(np.mean(values)) - offset_counts, len(values)) if values else (0.0, 0)

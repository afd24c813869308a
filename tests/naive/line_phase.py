"""Slow twins of the line phase kernels: one pixel at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bin_lines_apart(frame: NDArray, bin_px: int, phase: float) -> tuple[NDArray, float]:
    """Odd lines interpolated at their phase, then summed in blocks, less the mean."""
    straight = frame.astype(float)
    columns = np.arange(frame.shape[1])
    for y in range(1, frame.shape[0], 2):
        straight[y] = np.interp(columns + phase, columns, frame[y].astype(float))
    rows, n_columns = frame.shape[0] // bin_px, frame.shape[1] // bin_px
    out = np.zeros((rows, n_columns))
    for y in range(rows):
        for x in range(n_columns):
            out[y, x] = straight[y * bin_px : (y + 1) * bin_px, x * bin_px : (x + 1) * bin_px].sum()
    return out - out.mean(), out.mean()


def mean_over_lines_apart(
    frame: NDArray, pixels: NDArray, weights: NDArray, shift: tuple[float, float], phase: float, offset: float
) -> tuple[float, int]:
    """Every pixel of the mask from the two lines around it, each read at its own place along x; weight inside."""
    total, inside = 0.0, 0
    for flat, weight in zip(pixels.tolist(), weights.tolist(), strict=True):
        y, x = flat // frame.shape[1] + shift[0], flat % frame.shape[1] + shift[1]
        y0 = int(np.floor(y))
        value: float | None = 0.0
        for line, part in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
            if part == 0:
                continue
            at = x + (phase if line % 2 else 0.0)
            x0 = int(np.floor(at))
            last = x0 if at == x0 else x0 + 1
            if not (0 <= line < frame.shape[0] and x0 >= 0 and last < frame.shape[1]):
                value = None
                break
            value += part * ((1 - (at - x0)) * float(frame[line, x0]) + (at - x0) * float(frame[line, last]))
        if value is not None:
            total += weight * value
            inside += weight
    return (total / inside - offset if inside else 0.0), inside

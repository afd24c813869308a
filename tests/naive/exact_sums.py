"""Sums in the order that the kernels promise, in float32 arithmetic without any compiler: bit for bit.

Each product and each sum is a numpy operation of its own, so that nothing can be reordered or rounded once for two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F4 = np.float32
Image = NDArray[np.float32]
N_LANES, ROWS_AT_ONCE = 8, 16


def halved(lanes: Image) -> np.float32:
    """Sum of lanes: second half onto the first, until one is left."""
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return F4(lanes[0])


def one_by_one(values: Image, total: np.floating) -> np.floating:
    """Add to a total from left to right, in its own precision."""
    for value in values:
        total = total + type(total)(value)
    return total


def lag(binned: Image, reference: Image, lag_y: int, lag_x: int, middle_x: int) -> float:
    """Correlation at one lag of the three by three around a middle one."""
    n = reference.shape[1]
    begin = max(0, 1 - middle_x)
    end = begin + max(min(n, n - middle_x - 1) - begin, 0) // N_LANES * N_LANES
    moved = np.roll(binned, (-lag_y, -lag_x), (0, 1))
    products = reference * moved
    total = np.float64(0.0)
    for strip in range(0, len(reference), ROWS_AT_ONCE):
        lanes = np.zeros(N_LANES, F4)
        for row in products[strip : strip + ROWS_AT_ONCE]:
            for x in range(begin, end, N_LANES):
                lanes = lanes + row[x : x + N_LANES]
        total += np.float64(halved(lanes))
    for row in products:
        total += np.float64(one_by_one(np.concatenate([row[:begin], row[end:]]), F4(0.0)))
    return float(total)


def energy(spectrum: NDArray[np.complex64], weight: Image) -> float:
    """Weighted energy: down every wave along x, then along the waves in float64."""
    real, imag = spectrum.real, spectrum.imag
    terms = weight * (real * real + imag * imag)
    columns = np.zeros(weight.shape[1], F4)
    for row in terms:
        columns = columns + row
    return float(one_by_one(columns, np.float64(0.0)))


def product(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Complex product from four real ones."""
    out = np.empty_like(a)
    out.real = a.real * b.real - a.imag * b.imag
    out.imag = a.real * b.imag + a.imag * b.real
    return out


def block_totals(binned: Image, weights: Image, side: int, lag_y: float, lag_x: float) -> NDArray[np.float64]:
    """Sums of weights times the frame read between pixels, over square blocks; lags that stay within the field."""
    whole_y, whole_x = int(np.floor(lag_y)), int(np.floor(lag_x))
    part_y, part_x = F4(lag_y - whole_y), F4(lag_x - whole_x)
    rest_y, rest_x = F4(1.0) - part_y, F4(1.0) - part_x
    n_rows, n_columns = weights.shape
    out = np.zeros((n_rows // side, n_columns // side))
    for block_y in range(len(out)):
        columns = np.zeros(n_columns, F4)
        for row in range(block_y * side, (block_y + 1) * side):
            if not 0 <= row + whole_y < n_rows - 1:
                continue
            x = np.arange(max(0, -whole_x), min(out.shape[1] * side, n_columns - 1 - whole_x))
            upper, lower = binned[row + whole_y], binned[row + whole_y + 1]
            above = rest_x * upper[x + whole_x] + part_x * upper[x + whole_x + 1]
            below = rest_x * lower[x + whole_x] + part_x * lower[x + whole_x + 1]
            columns[x] = columns[x] + weights[row, x] * (rest_y * above + part_y * below)
        for block_x in range(out.shape[1]):
            out[block_y, block_x] = one_by_one(columns[block_x * side : (block_x + 1) * side], np.float64(0.0))
    return out


def add_product(weights: Image, vector: Image, start: Image) -> Image:
    """Start plus weights times vector, shape (n_rows, n_cells): four columns a sum in pairs, what is left one by one.

    The last row of an odd number adds all its columns one by one.
    """
    out = start.copy()
    n_rows, n_columns = weights.shape
    for row in range(n_rows):
        w = weights[row]
        fours = 0 if row == n_rows - n_rows % 2 else n_columns - n_columns % 4
        for k in range(0, fours, 4):
            a, b, c, d = (w[k + i] * vector[k + i] for i in range(4))
            out[row] = out[row] + ((a + b) + (c + d))
        for k in range(fours, n_columns):
            out[row] = out[row] + w[k] * vector[k]
    return out

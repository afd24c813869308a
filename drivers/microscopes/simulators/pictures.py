"""Pictures that tell which they are: number and channel stand in the first pixels, the rest cannot be turned unseen."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_BASE = 4096
"""Of the digits of the number; every pixel stays below, as the smallest converter of a vendor has it."""


@cache
def _ground(shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Unlike itself when turned, mirrored or cut at another place; values from 100 to 1,099."""
    line, pixel = np.indices(shape)
    picture: NDArray[np.uint16] = ((7 * line + 3 * pixel + line * pixel) % 1000 + 100).astype(np.uint16)
    return picture


def stamped(shape: tuple[int, int], number: int, channel: int = 0) -> NDArray[np.uint16]:
    """Picture of a frame and channel; uint16, shape (n_lines, n_pixels), at least 4 pixels a line, below 4,096."""
    picture = _ground(shape).copy()
    picture[0, :4] = (number % _BASE, number // _BASE, channel + 1, (number + channel) % _BASE)
    return picture


def stamp_of(picture: NDArray[np.integer]) -> tuple[int, int] | None:
    """Number and channel of a picture; None if it is none of these, or not as it was made."""
    low, high, channel, check = (int(pixel) for pixel in picture[0, :4])
    number = high * _BASE + low
    if channel < 1 or check != (number + channel - 1) % _BASE or not 0 <= low < _BASE:
        return None
    lines, pixels = picture.shape
    if not np.array_equal(picture, stamped((lines, pixels), number, channel - 1)):
        return None
    return number, channel - 1

"""The raw stream of Prairie View: samples in the order of the scan become pixels of frames."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Layout(NamedTuple):
    """How a frame lies in the stream: lines, pixels, samples of a pixel, and channels sample by sample."""

    n_lines: int
    n_pixels: int
    samples_per_pixel: int
    n_channels: int

    @property
    def n_samples(self) -> int:
        """Of one frame."""
        return self.n_lines * self.n_pixels * self.samples_per_pixel * self.n_channels


def pixels_of(
    samples: NDArray[np.int16], layout: Layout, offset: int, reversed_lines: Literal["none", "even", "odd"]
) -> NDArray[np.int16]:
    """Mean of the samples of each pixel, less the converter's offset.

    Parameters
    ----------
    samples : int16 ndarray, shape (n_samples,), read
    layout : Layout
    offset : int
        Counts of darkness: 8,192 of the cards of resonant scanners.
    reversed_lines : {"none", "even", "odd"}
        Lines that were scanned backwards, counted from 0.

    Returns
    -------
    int16 ndarray, shape (n_channels, n_lines, n_pixels)
        Detector counts, rounded down.
    """
    shape = (layout.n_lines, layout.n_pixels, layout.samples_per_pixel, layout.n_channels)
    parts = samples.reshape(shape)
    sums = parts[:, :, 0].astype(np.int32)
    for part in range(1, layout.samples_per_pixel):  # many times faster than a sum over so short an axis
        sums += parts[:, :, part]
    if layout.samples_per_pixel & (layout.samples_per_pixel - 1):
        sums //= layout.samples_per_pixel
    else:
        sums >>= layout.samples_per_pixel.bit_length() - 1
    pixels = (sums - offset).astype(np.int16)
    if reversed_lines != "none":
        first = int(reversed_lines == "odd")
        pixels[first::2] = pixels[first::2, ::-1].copy()
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class FrameCutter:
    """Cuts a stream that comes in any portions into frames; what is left waits for the next portion."""

    def __init__(self, layout: Layout) -> None:
        self._n_samples = layout.n_samples
        self._rest = np.zeros(0, np.int16)

    def take(self, samples: NDArray[np.int16]) -> list[NDArray[np.int16]]:
        """Frames that are whole with these samples (int16, shape (n,), copied), each of shape (n_samples,)."""
        stream = np.concatenate([self._rest, samples]) if len(self._rest) else samples.copy()
        n_whole = len(stream) // self._n_samples
        end = n_whole * self._n_samples
        self._rest = stream[end:].copy()
        return list(stream[:end].reshape(n_whole, self._n_samples))

    def drop(self) -> bool:
        """Throw away a part of a frame whose rest will not come; True if there was one."""
        was, self._rest = bool(len(self._rest)), np.zeros(0, np.int16)
        return was

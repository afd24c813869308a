"""What a train looks like, sample by sample."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 1_000_000


class Shape(NamedTuple):
    """What a train looks like; `level` is volts of an analogue output, 1 of all others; `delay_us` before the first,
    beyond what the shutter and the scanner ask for."""

    pulses: int
    width_us: int
    period_us: int
    level: float
    delay_us: int = 0


def pulse_samples(shape: Shape, sample_rate_hz: float) -> NDArray[np.float64]:
    """Samples of a train; never longer than commanded, and zero at the end.

    Parameters
    ----------
    shape : Shape
    sample_rate_hz : float

    Returns
    -------
    float64 ndarray, shape (n_samples,)
        `shape.level` while there is light, else 0; the last one is 0. Widths are cut to whole samples.

    Raises
    ------
    ValueError
        A pulse is shorter than a sample, pulses touch, or the train has too many samples.
    """
    width = int(shape.width_us * sample_rate_hz / 1e6)
    if width < 1:
        raise ValueError(f"width_us {shape.width_us} is shorter than a sample at {sample_rate_hz:g} Hz")
    delay = math.ceil(shape.delay_us * sample_rate_hz / 1e6)
    starts = [delay + round(i * shape.period_us * sample_rate_hz / 1e6) for i in range(shape.pulses)]
    if any(later - earlier <= width for earlier, later in pairwise(starts)):
        raise ValueError(f"pulses of {shape.width_us} us every {shape.period_us} us touch at {sample_rate_hz:g} Hz")
    n_samples = starts[-1] + width + 1
    if n_samples > MAX_SAMPLES:
        raise ValueError(f"a train of {n_samples} samples is more than {MAX_SAMPLES}; use a counter")
    samples = np.zeros(n_samples)
    for start in starts:
        samples[start : start + width] = shape.level
    return samples

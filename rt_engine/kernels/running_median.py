"""Kernels of a running median and median absolute deviation over the last values, without allocation."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(
    [numba.int64(numba.float64, numba.int64, numba.float64[::1], numba.float64[::1], numba.float64[::1])],
    cache=True,
    nogil=True,
)
def push_running_median(value, n_seen, ring, ordered, statistics_out):
    """Replace the oldest of the last values by a new one; median and MAD of those now held.

    Parameters
    ----------
    value : float
        Must not be NaN.
    n_seen : int
        Values pushed before this one.
    ring : float64 ndarray, shape (n_window,), read and overwritten
        Values in order of arrival.
    ordered : float64 ndarray, shape (n_window,), read and overwritten
        The same, ascending.
    statistics_out : float64 ndarray, shape (2,), overwritten
        Lower median, and lower median of the absolute deviations from it (not scaled to a standard deviation).

    Returns
    -------
    int
        ``n_seen + 1``.
    """
    n_window = ring.shape[0]
    slot = np.uint64(n_seen % n_window)
    n = n_seen if n_seen < n_window else n_window
    if n_seen >= n_window:
        oldest = ring[slot]
        place = 0
        while ordered[place] != oldest:
            place += 1
        for i in range(place, n - 1):
            ordered[i] = ordered[i + 1]
        n -= 1
    place = n
    while place > 0 and ordered[place - 1] > value:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = value
    ring[slot] = value
    n += 1
    middle = (n - 1) // 2
    median = ordered[middle]
    below = middle
    above = middle + 1
    deviation = 0.0
    for _ in range(middle + 1):
        if below >= 0 and (above >= n or median - ordered[below] <= ordered[above] - median):
            deviation = median - ordered[below]
            below -= 1
        else:
            deviation = ordered[above] - median
            above += 1
    statistics_out[0] = median
    statistics_out[1] = deviation
    return n_seen + 1

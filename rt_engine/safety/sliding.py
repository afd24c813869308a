"""Sums over a sliding window in fixed memory, never below the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_BUCKETS = 64


class SlidingSums:
    """For each row the sum of what was added in the last `window_ns`.

    Time is cut into buckets of 1/64 of the window; what was added leaves the sum only when its whole bucket has left
    the window, so the sum is never too small, and what is in it stays at most one bucket too long.

    Parameters
    ----------
    totals : int64 ndarray, shape (n_rows,), C order
        The sums; kept by reference and overwritten. What it holds at the start counts as added at `t_ns`.
    window_ns : int
        Length of the window.
    t_ns : int
        Now.

    Attributes
    ----------
    n_used : int
        Rows that hold anything; later ones are passed over.

    Notes
    -----
    A clock that goes backwards expires nothing.
    """

    def __init__(self, totals: NDArray[np.int64], window_ns: int, t_ns: int) -> None:
        self._totals = totals
        self._bucket_ns = -(-window_ns // N_BUCKETS)
        self.n_used = len(totals)
        self._buckets = np.zeros((N_BUCKETS + 1, len(totals)), np.int64)
        self._newest = t_ns // self._bucket_ns
        self._buckets[self._newest % (N_BUCKETS + 1)] = totals

    def advance(self, t_ns: int) -> None:
        """Forget what had left the window at `t_ns`."""
        now = t_ns // self._bucket_ns
        used, totals = self.n_used, self._totals[: self.n_used]
        elapsed = now - self._newest
        if elapsed <= 0:
            return
        for index in range(now - min(elapsed, N_BUCKETS + 1) + 1, now + 1):
            bucket = self._buckets[index % (N_BUCKETS + 1), :used]
            totals -= bucket
            bucket[:] = 0
        self._newest = now

    def add(self, rows: NDArray[np.intp], amounts: NDArray[np.int64]) -> None:
        """Add to the newest bucket; call `advance` to the time of the amounts first.

        Parameters
        ----------
        rows : intp ndarray, shape (n,), read
            Each at most once.
        amounts : int64 ndarray, shape (n,), read
        """
        self._buckets[self._newest % (N_BUCKETS + 1)][rows] += amounts
        self._totals[rows] += amounts

    def move_to(self, rows: NDArray[np.intp], amounts: NDArray[np.int64], t_ns: int) -> None:
        """Put what was added last into the later bucket of `t_ns`; the sums do not change.

        Parameters
        ----------
        rows, amounts : ndarray, shape (n,), read
            What was given to `add` since the last `advance`.
        t_ns : int
            When it really happened.
        """
        if t_ns // self._bucket_ns <= self._newest:
            return
        self._buckets[self._newest % (N_BUCKETS + 1)][rows] -= amounts
        self.advance(t_ns)
        self._buckets[self._newest % (N_BUCKETS + 1)][rows] += amounts

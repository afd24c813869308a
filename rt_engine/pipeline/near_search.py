"""Where the sample is, looked for near where it was: a few lags now, instead of all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.near_correlation import N_NEAR, correlate_near

MAX_STEPS = 3
"""Lags, of two pixels in a large field, that the peak is followed before all lags are looked at."""
MIN_SHARE_OF_USUAL = 0.6
"""A peak lower than this part of what is usual is not believed: the sample may be somewhere else."""
SURE_FRAMES = 16
"""So many frames in a row must have shown their peak near that of the one before, until that is relied on."""
_MEMORY = 1.0 / 16.0
_STEPS = (0, 1, -1)


class NearSearch:
    """Follows the correlation peak from the lag of the last frame.

    Parameters
    ----------
    reference : float32 ndarray, shape (n_rows, n_columns), C order
        Template side of the correlation.
    max_lag_y, max_lag_x : int
        Limits of the search.

    Attributes
    ----------
    correlation : float32 ndarray, shape (3, 3)
        Around `lag_yx`, which stands at [0, 0], if the search has ended at a peak; circular.
    lag_yx : list of int
        Lag of the last peak.
    """

    def __init__(self, reference: NDArray[np.float32], max_lag_y: int, max_lag_x: int) -> None:
        self._reference = reference
        self._max_lag_yx = (max_lag_y, max_lag_x)
        self.correlation = np.zeros((N_NEAR, N_NEAR), np.float32)
        self._sums = np.zeros((N_NEAR, N_NEAR))
        self.lag_yx = [0, 0]
        self._usual = 0.0
        self._n_sure = 0

    def find(self, binned: NDArray[np.float32]) -> bool:
        """True if there is a peak near the last one, as high as usual; it is left in `correlation` and `lag_yx`.

        Parameters
        ----------
        binned : float32 ndarray, shape (n_rows, n_columns), C order, counts, read
        """
        if self._n_sure < SURE_FRAMES:
            return False
        lag_y, lag_x = self.lag_yx
        for _ in range(MAX_STEPS):
            if abs(lag_y) >= self._max_lag_yx[0] or abs(lag_x) >= self._max_lag_yx[1]:
                return False
            correlate_near(binned, self._reference, lag_y, lag_x, self._sums)
            highest = int(self._sums.argmax())
            if highest == 0:
                self.lag_yx[:] = lag_y, lag_x
                np.copyto(self.correlation, self._sums, casting="same_kind")
                return bool(self._sums[0, 0] >= MIN_SHARE_OF_USUAL * self._usual)
            step_y, step_x = divmod(highest, N_NEAR)
            lag_y, lag_x = lag_y + _STEPS[step_y], lag_x + _STEPS[step_x]
        return False

    def forget(self) -> None:
        """Rely on nothing until the peak has stayed for `SURE_FRAMES`."""
        self._n_sure = 0

    def learn(self, lag_y: int, lag_x: int, height: float) -> None:
        """Take the true peak of a frame, as the whole correlation told it."""
        moved = max(abs(lag_y - self.lag_yx[0]), abs(lag_x - self.lag_yx[1]))
        self._n_sure = self._n_sure + 1 if moved <= MAX_STEPS and height > 0.0 else 0
        self.lag_yx[:] = lag_y, lag_x
        self._usual = height if self._n_sure <= 1 else self._usual + _MEMORY * (height - self._usual)

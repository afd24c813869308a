"""Rings of fixed size whose newest part is always one contiguous block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowRing:
    """The last `capacity` rows of `n_columns` numbers. Every row is written twice, so that any window is a plain slice.

    Parameters
    ----------
    capacity, n_columns : int
        Rows kept, numbers in a row.
    dtype : numpy dtype
    """

    def __init__(self, capacity: int, n_columns: int, dtype: Any = np.float32) -> None:
        self._rows = np.zeros((2 * capacity, n_columns), dtype)
        self._capacity = capacity
        self.n_seen = 0

    def append(self, row: Any) -> None:
        """Write one row over the oldest."""
        at = self.n_seen % self._capacity
        self._rows[at] = row
        self._rows[at + self._capacity] = row
        self.n_seen += 1

    def __len__(self) -> int:
        """Rows held."""
        return min(self.n_seen, self._capacity)

    def newest(self, n_rows: int | None = None) -> NDArray[Any]:
        """The last rows, oldest first; a read-only view, shape (n, n_columns)."""
        held = len(self)
        n = held if n_rows is None else min(n_rows, held)
        end = (self.n_seen - 1) % self._capacity + 1 + (self._capacity if self.n_seen > 0 else 0)
        end = min(end, 2 * self._capacity)
        view = self._rows[end - n : end]
        view.flags.writeable = False
        return view

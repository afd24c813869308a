"""Interleaved rounds: every contestant once a round, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Contestant(NamedTuple):
    """Something that is timed.

    Attributes
    ----------
    name : str
    n_units : int
        What one call of `run` does, counted in samples or frames; the time is given per unit.
    run : Callable
    """

    name: str
    n_units: int
    run: Callable[[], None]


class Spread(NamedTuple):
    """Median of all rounds, and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        """Of one value a round."""
        return cls(float(np.median(values)), float(values.min()), float(values.max()))


def measure(contestants: Sequence[Contestant], n_rounds: int) -> dict[str, NDArray[np.float64]]:
    """Time all contestants in turn; a first round, in which caches fill, is not counted.

    Processor time of this thread: that other programs had their turn is nobody's cost.

    Returns
    -------
    dict
        Name to float64 ndarray, shape (n_rounds,), nanoseconds per unit.
    """
    times_ns = {one.name: np.zeros(n_rounds + 1) for one in contestants}
    for k in range(n_rounds + 1):
        for one in contestants:
            t_start_ns = time.thread_time_ns()
            one.run()
            times_ns[one.name][k] = (time.thread_time_ns() - t_start_ns) / one.n_units
    return {name: values[1:] for name, values in times_ns.items()}


class Row(NamedTuple):
    """One line of a table: a value with its range over the rounds, and its bound.

    Attributes
    ----------
    name, unit : str
    value : Spread
    bound : tuple of (str, float), optional
        Sense and limit, as ``(">=", 8.0)``; None where nothing was promised.
    """

    name: str
    unit: str
    value: Spread
    bound: tuple[str, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None without one."""
        if self.bound is None:
            return None
        sense, limit = self.bound
        return self.value.median >= limit if sense == ">=" else self.value.median <= limit

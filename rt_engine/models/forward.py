"""Forward model: spikes to calcium to dF/F, streaming, O(cells) a step. One model for the rig and `simulate`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.calcium import advance_cells
from rt_engine.models.indicator_physics import IndicatorPhysics

SUBSTEP_S = 0.0005
"""Longest step of the binding equation: a fourteenth of the fastest half-rise in the library (7 ms)."""


class CalciumPopulation:
    """State of all cells; owns its arrays.

    Parameters
    ----------
    physics : IndicatorPhysics
    n_cells : int
    step_s : float
        Length of one `advance`, seconds.

    Attributes
    ----------
    dff : float64 ndarray, shape (n_cells,)
        dF/F after the last `advance`; overwritten by the next.
    """

    def __init__(self, physics: IndicatorPhysics, n_cells: int, step_s: float) -> None:
        self.step_s = step_s
        self.n_substeps = max(1, math.ceil(step_s / SUBSTEP_S - 1e-9))
        self._params = physics.as_array()
        self._calcium_nm = np.zeros(n_cells)
        self._bound = np.full(n_cells, physics.rest_bound())
        self.dff = np.zeros(n_cells)

    def advance(self, spike_start: NDArray[np.int64], spike_s: NDArray[np.float64]) -> None:
        """Advance by `step_s`.

        Parameters
        ----------
        spike_start : int64 ndarray, shape (n_cells + 1,), read
            Spikes of cell i are ``spike_s[spike_start[i]:spike_start[i + 1]]``.
        spike_s : float64 ndarray, read
            Seconds since the beginning of this step, ascending within a cell, in [0, step_s).
        """
        advance_cells(
            spike_start, spike_s, self.step_s, self.n_substeps, self._params, self._calcium_nm, self._bound, self.dff
        )


def response(physics: IndicatorPhysics, spike_s: NDArray[np.float64], duration_s: float) -> NDArray[np.float64]:
    """dF/F of one cell that fires at `spike_s`, sampled every `SUBSTEP_S`; sample i is at ``(i + 1) * SUBSTEP_S``.

    Parameters
    ----------
    physics : IndicatorPhysics
    spike_s : float64 ndarray, ascending, seconds, read
    duration_s : float

    Returns
    -------
    float64 ndarray, shape (ceil(duration_s / SUBSTEP_S),)
    """
    cell = CalciumPopulation(physics, 1, SUBSTEP_S)
    out = np.zeros(math.ceil(duration_s / SUBSTEP_S - 1e-9))
    first = np.searchsorted(spike_s, np.arange(len(out) + 1) * SUBSTEP_S)
    start = np.zeros(2, dtype=np.int64)
    for i in range(len(out)):
        own = np.ascontiguousarray(spike_s[first[i] : first[i + 1]] - i * SUBSTEP_S)
        start[1] = len(own)
        cell.advance(start, own)
        out[i] = cell.dff[0]
    return out

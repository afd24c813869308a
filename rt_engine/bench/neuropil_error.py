"""Row of the pixel benchmark: the neuropil coefficient where cells and neuropil share their drive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from rt_engine.bench.rounds import Row, Spread
from rt_engine.models.neuropil_fit import fit_neuropil

RATE_HZ, N_FRAMES, N_CELLS = 30.0, 3000, 40
PLANTED = 0.7
RING_NOISE = 0.05


def neuropil_rows(n_rounds: int) -> list[Row]:
    """Mean error of the coefficient over cells, of one field a round."""
    errors = np.array([abs(float(np.mean(_fitted(seed))) - PLANTED) for seed in range(n_rounds)])
    return [Row("neuropil coefficient, error at shared drive", "", Spread.of(errors), ("<=", 0.06))]


def _fitted(seed: int) -> NDArray[np.float64]:
    """Coefficients of cells whose rate of spikes follows the neuropil around them (time constant 1 s)."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-1 / RATE_HZ)
    steps = rng.normal(size=(N_FRAMES, N_CELLS)) * np.sqrt(1 - keep**2)
    drive = lfilter([1], [1, -keep], steps, axis=0)
    spikes = rng.poisson(0.03 * np.exp(1.1 * drive - 0.6))
    calcium = 0.5 * lfilter([1], [1, -np.exp(-1 / (0.3 * RATE_HZ))], spikes, axis=0)
    neuropil = 2.0 + 0.25 * drive
    f_np = (neuropil + RING_NOISE * rng.normal(size=drive.shape)).astype(np.float32)
    f_roi = (1.5 + calcium + PLANTED * neuropil + 0.08 * rng.normal(size=drive.shape)).astype(np.float32)
    good = np.ones(drive.shape, np.bool_)
    return fit_neuropil(f_roi, f_np, good, np.full(N_CELLS, 350), RATE_HZ).coefficient

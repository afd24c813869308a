"""Bank of matched filters on the window of one cell: how many spikes, and how many frames ago."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.matched_filter import RING_TYPE
from rt_engine.kernels.power_of_e import power_of_e
from rt_engine.kernels.sample_codes import CENSORED, GOOD

SMALLEST_DETERMINANT = 1e-9  # of the nuisances' Gram matrix, of its diagonal's product: below, they are one
SMALLEST_ENERGY = 1e-6  # of s'M s: below, the samples that are there say nothing of a lag
SAMPLES, THERE, SEEN, ENERGY, ODDS = 0, 1, 2, 3, 4  # rows of the scratch; one of odds for each count
NEGLIGIBLE = -40.0  # logarithm of odds, against the largest


class TemplateBank(NamedTuple):
    """Templates, whose time ascends along taps, the newest sample last, and what the cells make of them; float64, read.

    ``template`` : shape (n_shapes, n_lags, n_taps): s_j, a spike of unit peak j frames ago. ``filter`` : shape
    (n_shapes, n_taps, n_lags): M s_j. ``energy`` : (n_shapes, n_lags): s_j'M s_j. ``tail`` : (n_shapes, n_taps):
    gamma^k, which with a constant is what a filter may not see. ``shape`` : int64, (n_rois,), row of the others.
    ``amplitude_dff`` : (n_rois,), peak of one spike. ``log_prior`` : (n_rois, 1 + n_counts): logarithm of the
    probability of none in all frames, and of 1, 2, ... spikes in a frame. ``scratch`` : (4 + n_counts, n_taps).
    """

    template: NDArray[np.float64]
    filter: NDArray[np.float64]
    energy: NDArray[np.float64]
    tail: NDArray[np.float64]
    shape: NDArray[np.int64]
    amplitude_dff: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    scratch: NDArray[np.float64]


_F8 = types.Array(types.float64, 1, "C")
_F8_MATRIX = types.Array(types.float64, 2, "C")
_F8_CUBE = types.Array(types.float64, 3, "C")
_I8 = types.Array(types.int64, 1, "C")
BANK_TYPE = types.NamedTuple(
    (_F8_CUBE, _F8_CUBE, _F8_MATRIX, _F8_MATRIX, _I8, _F8, _F8_MATRIX, _F8_MATRIX), TemplateBank
)


@njit(**NO_ALLOCATION)
def _lags_whole(n, row, ring, bank):
    """s_j'M x and s_j'M s_j of all lags, no sample missing."""
    n_taps, n_lags = bank.template.shape[2], bank.energy.shape[1]
    taps = bank.filter[bank.shape[n]]
    for j in range(n_lags):
        bank.scratch[SEEN, j], bank.scratch[ENERGY, j] = 0.0, bank.energy[bank.shape[n], j]
    for k in range(n_taps):
        x = np.float64(ring.dff[row + k if row + k < n_taps else row + k - n_taps, n])
        for j in range(n_lags):
            bank.scratch[SEEN, j] += taps[k, j] * x


@njit(**NO_ALLOCATION)
def _lags_incomplete(n, row, ring, bank):
    """The same from the samples that are there; 0 where they say nothing."""
    n_taps = bank.template.shape[2]
    shape = bank.shape[n]
    x, there, tail = bank.scratch[SAMPLES], bank.scratch[THERE], bank.tail[shape]
    g00 = g01 = g11 = a0 = a1 = 0.0
    for k in range(n_taps):
        code = ring.code[(row + k) % n_taps, n]
        there[k] = 1.0 if k >= n_taps - ring.age[n] and code in (GOOD, CENSORED) else 0.0
        x[k] = there[k] * np.float64(ring.dff[(row + k) % n_taps, n])
        g00 += there[k]
        g01 += there[k] * tail[k]
        g11 += there[k] * tail[k] * tail[k]
        a0 += x[k]
        a1 += x[k] * tail[k]
    bank.scratch[SEEN : ENERGY + 1] = 0.0
    determinant = g00 * g11 - g01 * g01
    if g00 < 3.0 or determinant <= SMALLEST_DETERMINANT * g00 * g11:
        return
    b0, b1 = (g11 * a0 - g01 * a1) / determinant, (g00 * a1 - g01 * a0) / determinant
    for j in range(bank.template.shape[1]):
        template = bank.template[shape, j]
        seen = full = c0 = c1 = 0.0
        for k in range(n_taps):
            s = template[k] * there[k]
            seen += s * (x[k] - b0 - b1 * tail[k])
            full += s * s
            c0 += s
            c1 += s * tail[k]
        lost = (g11 * c0 * c0 - 2.0 * g01 * c0 * c1 + g00 * c1 * c1) / determinant
        if full - lost > SMALLEST_ENERGY * bank.energy[shape, j]:
            bank.scratch[SEEN, j], bank.scratch[ENERGY, j] = seen, full - lost


@njit(**NO_ALLOCATION)
def _weigh(n, noise, bank):
    """Odds of all hypotheses, relative to the largest, into the scratch; those of none are returned."""
    n_lags, n_counts = bank.energy.shape[1], bank.log_prior.shape[1] - 1
    unit = bank.amplitude_dff[n] / noise
    largest = bank.log_prior[n, 0]
    for j in range(n_lags):
        seen, half = bank.scratch[SEEN, j] / noise, 0.5 * bank.scratch[ENERGY, j]
        for m in range(n_counts):
            size = (m + 1) * unit
            bank.scratch[ODDS + m, j] = bank.log_prior[n, m + 1] + size * (seen - size * half)
            largest = max(largest, bank.scratch[ODDS + m, j])
    for j in range(n_lags):
        for m in range(n_counts):
            below = bank.scratch[ODDS + m, j] - largest
            bank.scratch[ODDS + m, j] = power_of_e(below) if below > NEGLIGIBLE else 0.0
    return power_of_e(bank.log_prior[n, 0] - largest)


@njit(types.UniTuple(types.float64, 4)(types.int64, types.int64, types.float64, RING_TYPE, BANK_TYPE), **NO_ALLOCATION)
def ask_bank(n, row, z, ring, bank):
    """Posterior of the number of spikes and of their frame, of one cell.

    Parameters
    ----------
    n : int
        The cell.
    row : int
        Row of the oldest sample of the ring.
    z : float
        Output of the filter of the oldest lag, in noise standard deviations.
    ring : SampleRing, read
        Its window is that of the templates.
    bank : TemplateBank, read
        But for its scratch.

    Returns
    -------
    n_spikes : float
        Expected spikes, given that there was one.
    lag : float
        Frames since the likeliest frame of the spikes.
    probability : float
        Of a spike in any frame of the bank.
    amplitude_dff : float
        Height of the spikes in that frame, by least squares; 0 where nothing can be told.

    Notes
    -----
    One window x, hypotheses n spikes j frames ago: l_jn = n A s_j'M x - n^2 A^2 s_j'M s_j / 2 in units of the noise,
    M = 1 - N (N'N)^-1 N', N = [1, gamma^k]; P_jn = pi_n e^l_jn / (1 - sum pi + sum pi e^l). With samples lost, M is
    that of the others. The oldest lag has the filter that z is of: so z tells the noise, s'M x / (sqrt(s'M s) z).
    """
    n_lags = bank.energy.shape[1]
    if ring.n_missing[n] == 0 and ring.age[n] >= ring.dff.shape[0]:
        _lags_whole(n, row, ring, bank)
    else:
        _lags_incomplete(n, row, ring, bank)
    noise = bank.scratch[SEEN, n_lags - 1] / (np.sqrt(bank.scratch[ENERGY, n_lags - 1]) * z)
    none = _weigh(n, noise if noise > 0.0 else np.inf, bank)
    total = count = 0.0
    likeliest, lag = -1.0, 0
    for j in range(n_lags):
        here = 0.0
        for m in range(bank.log_prior.shape[1] - 1):
            here += bank.scratch[ODDS + m, j]
            count += (m + 1) * bank.scratch[ODDS + m, j]
        total += here
        if here > likeliest:
            likeliest, lag = here, j
    height = bank.scratch[SEEN, lag] / bank.scratch[ENERGY, lag] if bank.scratch[ENERGY, lag] > 0.0 else 0.0
    n_spikes = count / total if total > 0.0 else 1.0
    return n_spikes, np.float64(lag), total / (total + none), height

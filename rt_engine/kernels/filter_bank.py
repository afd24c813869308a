"""Bank of matched filters on one window: how many spikes, and how many frames ago, for the cells that pass a gate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.matched_filter import RING_TYPE
from rt_engine.kernels.sample_codes import CENSORED, GOOD

SMALLEST_ENERGY = 0.5  # share of s'M s that lost samples must leave
SMALLEST_DETERMINANT = 1e-9  # of the nuisances' Gram matrix, of its diagonal's product: below, they are one
OPEN, MUTE = 1, 0  # codes of `BankResult.told`


class BankShapes(NamedTuple):
    """What cells of the same kernel share, float64, read; time ascends along taps, the newest sample is the last.

    ``template`` : shape (n_shapes, n_lags, n_taps): s_j, a spike of unit peak j frames ago. ``filter`` : same shape:
    M s_j. ``energy`` : (n_shapes, n_lags): s_j'M s_j. ``nuisance`` : (n_shapes, 2, n_taps): what a filter may not
    see. ``phi`` : (n_shapes,): correlation of the noise of neighbouring frames, AR(1).
    """

    template: NDArray[np.float64]
    filter: NDArray[np.float64]
    energy: NDArray[np.float64]
    nuisance: NDArray[np.float64]
    phi: NDArray[np.float64]


class BankCells(NamedTuple):
    """Constants of every cell, read.

    ``shape`` : int64 ndarray, shape (n_rois,), row of `BankShapes`. float64: ``gate``, shape (n_rois,): z from which
    the bank is worth its time. ``noise_dff``, ``amplitude_dff`` : (n_rois,): noise of a frame, peak of one spike.
    ``log_prior`` : (n_rois, n_counts): logarithm of the probability of 1, 2, ... spikes in a frame.
    """

    shape: NDArray[np.int64]
    gate: NDArray[np.float64]
    noise_dff: NDArray[np.float64]
    amplitude_dff: NDArray[np.float64]
    log_prior: NDArray[np.float64]


class BankResult(NamedTuple):
    """Of every cell, overwritten; ``told`` : uint8 ndarray, shape (n_rois,), 1 where the bank was asked and can tell.

    Only there: ``n_spikes`` : float32, (n_rois,), expected spikes in all frames of the bank; ``lag`` : int64, frames
    since the likeliest frame; ``probability`` : float32, of a spike in the frame `hold` ago; ``log_evidence`` :
    float32, logarithm of the odds of a spike anywhere in the bank.
    """

    told: NDArray[np.uint8]
    n_spikes: NDArray[np.float32]
    lag: NDArray[np.int64]
    probability: NDArray[np.float32]
    log_evidence: NDArray[np.float32]


_F4 = types.Array(types.float32, 1, "C")
_F8 = types.Array(types.float64, 1, "C")
_F8_MATRIX = types.Array(types.float64, 2, "C")
_F8_CUBE = types.Array(types.float64, 3, "C")
_I8 = types.Array(types.int64, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
SHAPES_TYPE = types.NamedTuple((_F8_CUBE, _F8_CUBE, _F8_MATRIX, _F8_CUBE, _F8), BankShapes)
CELLS_TYPE = types.NamedTuple((_I8, _F8, _F8, _F8, _F8_MATRIX), BankCells)
RESULT_TYPE = types.NamedTuple((_U1, _F4, _I8, _F4, _F4), BankResult)


def empty_result(n_rois: int) -> BankResult:
    """Result before the first frame."""
    return BankResult(
        told=np.zeros(n_rois, np.uint8),
        n_spikes=np.zeros(n_rois, np.float32),
        lag=np.zeros(n_rois, np.int64),
        probability=np.zeros(n_rois, np.float32),
        log_evidence=np.zeros(n_rois, np.float32),
    )


@njit(**NO_ALLOCATION)
def _whiten_window(n, row, shape, shapes, ring, work):
    """Whitened samples and nuisances of the window, the samples projected; inverse Gram matrix, or all 0 if singular.

    AR(1) noise is a Markov chain: given the last sample that is there, d frames before, x - phi^d x_before is
    independent of all earlier ones and has variance 1 - phi^(2 d). So lost samples are left out exactly. Rows of
    ``work``: samples, two nuisances, 1 / standard deviation, weight of the sample before, its tap (-1: none).
    """
    n_taps = shapes.template.shape[2]
    phi = shapes.phi[shape]
    before = -1
    g00 = g01 = g11 = a0 = a1 = 0.0
    for k in range(n_taps):
        at = (row + k) % n_taps
        work[3, k] = 0.0
        work[4, k] = 0.0
        work[5, k] = before
        if ring.code[at, n] != GOOD and ring.code[at, n] != CENSORED:
            continue
        weight, scale = 0.0, 1.0
        x, n0, n1 = np.float64(ring.dff[at, n]), shapes.nuisance[shape, 0, k], shapes.nuisance[shape, 1, k]
        if before >= 0 and phi != 0.0:
            weight = phi ** (k - before)
            scale = 1.0 / np.sqrt(1.0 - weight * weight)
            x -= weight * np.float64(ring.dff[(row + before) % n_taps, n])
            n0 -= weight * shapes.nuisance[shape, 0, before]
            n1 -= weight * shapes.nuisance[shape, 1, before]
        x, n0, n1 = x * scale, n0 * scale, n1 * scale
        work[0, k], work[1, k], work[2, k] = x, n0, n1
        work[3, k], work[4, k] = scale, weight
        g00 += n0 * n0
        g01 += n0 * n1
        g11 += n1 * n1
        a0 += n0 * x
        a1 += n1 * x
        before = k
    determinant = g00 * g11 - g01 * g01
    if determinant <= SMALLEST_DETERMINANT * g00 * g11:
        return 0.0, 0.0, 0.0
    i00, i01, i11 = g11 / determinant, -g01 / determinant, g00 / determinant
    b0, b1 = i00 * a0 + i01 * a1, i01 * a0 + i11 * a1
    for k in range(n_taps):
        if work[3, k] > 0.0:
            work[0, k] -= b0 * work[1, k] + b1 * work[2, k]
    return i00, i01, i11


@njit(**NO_ALLOCATION)
def _lag_incomplete(template, i00, i01, i11, work):
    """s'M x and s'M s of one lag from the samples that are there."""
    seen = energy = a0 = a1 = 0.0
    for k in range(template.shape[0]):
        if work[3, k] == 0.0:
            continue
        s = template[k]
        if work[4, k] != 0.0:
            s -= work[4, k] * template[np.int64(work[5, k])]
        s *= work[3, k]
        seen += s * work[0, k]
        energy += s * s
        a0 += s * work[1, k]
        a1 += s * work[2, k]
    return seen, energy - (i00 * a0 * a0 + 2.0 * i01 * a0 * a1 + i11 * a1 * a1)


@njit(**NO_ALLOCATION)
def _filter_lags(n, row, shape, shapes, ring, work, lags):
    """s_j'M x and s_j'M s of all lags into ``lags``, energy 0 where less than half of it is left."""
    n_lags, n_taps = shapes.template.shape[1], shapes.template.shape[2]
    if ring.n_missing[n] == 0:
        for j in range(n_lags):
            seen = 0.0
            taps = shapes.filter[shape, j]
            for k in range(n_taps - row):
                seen += taps[k] * np.float64(ring.dff[row + k, n])
            for k in range(n_taps - row, n_taps):
                seen += taps[k] * np.float64(ring.dff[row + k - n_taps, n])
            lags[0, j], lags[1, j] = seen, shapes.energy[shape, j]
        return
    i00, i01, i11 = _whiten_window(n, row, shape, shapes, ring, work)
    for j in range(n_lags):
        seen, energy = _lag_incomplete(shapes.template[shape, j], i00, i01, i11, work)
        enough = i00 > 0.0 and energy >= SMALLEST_ENERGY * shapes.energy[shape, j]
        lags[0, j], lags[1, j] = seen, energy if enough else 0.0


@njit(**NO_ALLOCATION)
def _posterior(n, hold, cells, lags, result):
    """Counts and lag of one cell from the log likelihoods of all hypotheses."""
    n_lags, n_counts = lags.shape[1], cells.log_prior.shape[1]
    unit = cells.amplitude_dff[n] / cells.noise_dff[n]
    none = 1.0
    for m in range(n_counts):
        none -= n_lags * np.exp(cells.log_prior[n, m])
    log_none = np.log(max(none, 1e-3))
    largest = log_none
    for j in range(n_lags):
        for m in range(n_counts):
            size = (m + 1) * unit
            log_odds = cells.log_prior[n, m] + size * (lags[0, j] / cells.noise_dff[n] - 0.5 * size * lags[1, j])
            if lags[1, j] > 0.0:
                largest = max(largest, log_odds)
    total, count, best, at_hold = 0.0, 0.0, -1.0, 0.0
    for j in range(n_lags):
        here = 0.0
        for m in range(n_counts):
            size = (m + 1) * unit
            log_odds = cells.log_prior[n, m] + size * (lags[0, j] / cells.noise_dff[n] - 0.5 * size * lags[1, j])
            weight = np.exp(log_odds - largest) if lags[1, j] > 0.0 else 0.0
            here += weight
            count += (m + 1) * weight
        total += here
        if here > best:
            best = here
            result.lag[n] = j
        if j == hold:
            at_hold = here
    odds_none = np.exp(log_none - largest)
    result.n_spikes[n] = count / (total + odds_none)
    result.probability[n] = at_hold / (total + odds_none)
    result.log_evidence[n] = np.log(max(total, 1e-300)) + largest - log_none


@njit(
    types.void(types.int64, types.int64, _F4, SHAPES_TYPE, CELLS_TYPE, RING_TYPE, _F8_MATRIX, _F8_MATRIX, RESULT_TYPE),
    **NO_ALLOCATION,
)
def ask_bank(row, hold, z, shapes, cells, ring, work, lags, result_out):
    """Posterior of the number of spikes and of their frame, of the cells whose z reaches the gate.

    Parameters
    ----------
    row : int
        Row of the oldest sample of the ring.
    hold : int
        Frames between a spike and the decision; below the number of lags.
    z : float32 ndarray, shape (n_rois,), read
    shapes : BankShapes, read
    cells : BankCells, read
    ring : SampleRing, read
        Its window is that of the templates.
    work : float64 ndarray, shape (6, n_taps), scratch
    lags : float64 ndarray, shape (2, n_lags), scratch
    result_out : BankResult, overwritten

    Notes
    -----
    One window x, hypotheses n spikes j frames ago: l_jn = n A s_j'M x - n^2 A^2 s_j'M s_j / 2 in units of the noise,
    M = C^-1 - C^-1 N (N'C^-1 N)^-1 N'C^-1; P_jn = pi_n e^l_jn / (1 - sum pi + sum pi e^l). With samples lost, M is that
    of the others; a lag that keeps less than half of its s'M s is no hypothesis, and without that of `hold` nothing is
    told.
    """
    for n in range(z.shape[0]):
        result_out.told[n] = MUTE
        if not z[n] >= cells.gate[n]:
            continue
        _filter_lags(n, row, cells.shape[n], shapes, ring, work, lags)
        if lags[1, hold] <= 0.0:
            continue
        result_out.told[n] = OPEN
        _posterior(n, hold, cells, lags, result_out)

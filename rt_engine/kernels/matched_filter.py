"""Matched filter over the last samples of all cells, exact also where samples are missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.sample_codes import CENSORED, EXPECTED_MISSING, GOOD, MISSING


class SampleRing(NamedTuple):
    """Last samples of every cell.

    ``dff`` : float32 ndarray, shape (n_taps, n_rois), 0 where there is no sample. ``code`` : uint8, same shape.
    ``n_missing``, ``n_unexplained`` : int32, shape (n_rois,): samples in the ring that are not there, and those of
    them that nobody announced. ``age`` : int32: samples since the window of the cell was opened; older ones belong to
    an event already told and are not used.
    """

    dff: NDArray[np.float32]
    code: NDArray[np.uint8]
    n_missing: NDArray[np.int32]
    n_unexplained: NDArray[np.int32]
    age: NDArray[np.int32]


def empty_ring(n_taps: int, n_rois: int) -> SampleRing:
    """Ring before the first sample: everything is missing, as expected."""
    return SampleRing(
        dff=np.zeros((n_taps, n_rois), np.float32),
        code=np.full((n_taps, n_rois), EXPECTED_MISSING, np.uint8),
        n_missing=np.full(n_rois, n_taps, np.int32),
        n_unexplained=np.zeros(n_rois, np.int32),
        age=np.zeros(n_rois, np.int32),
    )


_F4 = types.Array(types.float32, 1, "C")
_F4_MATRIX = types.Array(types.float32, 2, "C")
_U1 = types.Array(types.uint8, 1, "C")
_I4 = types.Array(types.int32, 1, "C")
RING_TYPE = types.NamedTuple((_F4_MATRIX, types.Array(types.uint8, 2, "C"), _I4, _I4, _I4), SampleRing)


@njit(types.void(_F4, _U1, types.int64, RING_TYPE), **NO_ALLOCATION)
def push_samples(dff, code, row, ring):
    """Replace the oldest sample of every cell, which stands in `row`, by the newest.

    Parameters
    ----------
    dff : float32 ndarray, shape (n_rois,), read
    code : uint8 ndarray, shape (n_rois,), read
        Codes of `sample_codes`.
    row : int
    ring : SampleRing, overwritten
    """
    samples, codes, n_missing, n_unexplained, age = ring
    n_taps = samples.shape[0]
    for n in range(dff.shape[0]):
        old = codes[row, n]
        new = code[n]
        n_missing[n] += np.int32(new in (MISSING, EXPECTED_MISSING))
        n_missing[n] -= np.int32(old in (MISSING, EXPECTED_MISSING))
        n_unexplained[n] += np.int32(new == MISSING) - np.int32(old == MISSING)
        codes[row, n] = new
        samples[row, n] = dff[n] if new in (GOOD, CENSORED) else np.float32(0.0)
        age[n] = min(age[n] + 1, n_taps)


@njit(**NO_ALLOCATION)
def _filter_incomplete(n, row, n_before, gamma, taps, samples, codes, age):
    """Z, share of the template's energy that is left, and mean before the event, from the samples that are there.

    The filter is M s, M the projection away from N = [1, gamma^k]. On fewer samples M_V (M s)_V = M_V s_V, because the
    two differ by a combination of N_V: so projecting the filter again gives the exact filter of what is left.
    """
    n_taps = samples.shape[0]
    g00 = g01 = g11 = a0 = a1 = full = 0.0
    decay = 1.0
    for k in range(n_taps):
        tap = np.float64(taps[k, n])
        full += tap * tap
        code = codes[(row + k) % n_taps, n]
        if k >= n_taps - age[n] and code in (GOOD, CENSORED):
            g00 += 1.0
            g01 += decay
            g11 += decay * decay
            a0 += tap
            a1 += tap * decay
        decay *= gamma
    determinant = g00 * g11 - g01 * g01
    if g00 < 3.0 or determinant <= 1e-9 * g00 * g11:
        return 0.0, 0.0, 0.0
    b0 = (g11 * a0 - g01 * a1) / determinant
    b1 = (g00 * a1 - g01 * a0) / determinant
    z = energy = mean = n_mean = 0.0
    decay = 1.0
    for k in range(n_taps):
        code = codes[(row + k) % n_taps, n]
        if k >= n_taps - age[n] and code in (GOOD, CENSORED):
            tap = np.float64(taps[k, n]) - b0 - b1 * decay
            x = np.float64(samples[(row + k) % n_taps, n])
            z += tap * x
            energy += tap * tap
            if k < n_before:
                mean += x
                n_mean += 1.0
        decay *= gamma
    if energy <= 0.0:
        return 0.0, 0.0, 0.0
    return z * np.sqrt(full / energy), energy / full, mean / n_mean if n_mean > 0.0 else 0.0


@njit(types.void(types.int64, types.int64, _F4_MATRIX, _F4, RING_TYPE, _F4, _F4, _F4), **NO_ALLOCATION)
def apply_filter(row, n_before, taps, gamma, ring, z_out, energy_out, mean_before_out):
    """Matched filter of all cells over their rings.

    Parameters
    ----------
    row : int
        Row of the oldest sample.
    n_before : int
        Samples of the window before the event.
    taps : float32 ndarray, shape (n_taps, n_rois), newest sample last, read
    gamma : float32 ndarray, shape (n_rois,), decay of calcium per frame, read
    ring : SampleRing, read
    z_out : float32 ndarray, shape (n_rois,), overwritten
        Sum of taps times dF/F; with samples missing, of the filter that is right for the others, at the same variance.
    energy_out : float32 ndarray, shape (n_rois,), overwritten
        Share of the template's energy that the samples there are carry, 0 to 1; with 0 there is no z.
    mean_before_out : float32 ndarray, shape (n_rois,), overwritten
        Mean dF/F of the samples before the event.
    """
    samples, codes, n_missing, _, age = ring
    n_taps, n_rois = samples.shape
    for n in range(n_rois):
        z_out[n] = 0.0
        mean_before_out[n] = 0.0
        energy_out[n] = 1.0
    share = np.float32(1.0 / n_before)
    for k in range(n_taps):
        source = samples[(row + k) % n_taps]
        tap = taps[k]
        for n in range(n_rois):
            z_out[n] += tap[n] * source[n]
        if k < n_before:
            for n in range(n_rois):
                mean_before_out[n] += share * source[n]
    for n in range(n_rois):
        if n_missing[n] > 0 or age[n] < n_taps:
            z, energy, mean = _filter_incomplete(n, row, n_before, np.float64(gamma[n]), taps, samples, codes, age)
            z_out[n] = z
            energy_out[n] = energy
            mean_before_out[n] = mean

"""From spikes to dF/F: free calcium, Hill binding with two time constants, fluorescence. One call, all cells."""

from __future__ import annotations

import math

import numba as nb

FLOOR_NM = 1e-9
"""Calcium above rest that counts as none, nM: such a cell is exactly at rest."""

REST_CALCIUM, TAU_CALCIUM, STEP_CALCIUM, K_D, HILL, R_F, TAU_ON, TAU_OFF = range(8)
"""Rows of `params`: nM, s, nM, nM, 1, 1, s, s."""


@nb.njit("float64(float64, float64, float64)", cache=True, nogil=True)
def hill_fraction(calcium_nm, k_d_nm, hill):
    """Fraction of indicator bound at equilibrium."""
    x = math.pow(calcium_nm / k_d_nm, hill)
    return x / (1.0 + x)


@nb.njit("UniTuple(float64, 2)(float64, float64, float64, float64[::1])", cache=True, nogil=True, inline="always")
def relax(calcium_nm, bound, dt_s, params):
    """Calcium above rest and bound fraction after `dt_s` without a spike."""
    half = math.exp(-0.5 * dt_s / params[TAU_CALCIUM])
    target = hill_fraction(params[REST_CALCIUM] + calcium_nm * half, params[K_D], params[HILL])
    tau_s = params[TAU_ON] if target > bound else params[TAU_OFF]
    return calcium_nm * half * half, target + (bound - target) * math.exp(-dt_s / tau_s)


@nb.njit(
    "void(int64[::1], float64[::1], float64, int64, float64[::1], float64[::1], float64[::1], float64[::1])",
    cache=True,
    nogil=True,
)
def advance_cells(spike_start, spike_s, duration_s, n_substeps, params, calcium_nm, bound, dff_out):
    """Advance every cell by `duration_s` in `n_substeps` equal steps.

    Parameters
    ----------
    spike_start : int64 ndarray, shape (n_cells + 1,), read
        Spikes of cell i are ``spike_s[spike_start[i]:spike_start[i + 1]]``.
    spike_s : float64 ndarray, ascending within a cell, read
        Time from the beginning of the interval, seconds, in [0, duration_s).
    duration_s : float
    n_substeps : int
    params : float64 ndarray, shape (8,), read
        Indicator, see the row names of this module.
    calcium_nm, bound : float64 ndarray, shape (n_cells,), read and overwritten
        State: calcium above rest in nM, bound fraction.
    dff_out : float64 ndarray, shape (n_cells,), overwritten
        dF/F at the end of the interval.

    Notes
    -----
    dC/dt = -(C - C0)/tau_ca + dC sum delta(t - t_spike), solved exactly; bound fraction b relaxes to
    f(C) = C^n/(K_d^n + C^n) with tau_on while below it and tau_off while above it, f taken in the middle of each
    substep, which spikes cut in two; dF/F = R_f (b - f(C0))/(1 + R_f f(C0)).
    """
    rest_nm = params[REST_CALCIUM]
    f_rest = hill_fraction(rest_nm, params[K_D], params[HILL])
    scale = params[R_F] / (1.0 + params[R_F] * f_rest)
    step_s = duration_s / n_substeps
    for i in range(calcium_nm.size):
        spike = spike_start[i]
        stop = spike_start[i + 1]
        c = calcium_nm[i]
        b = bound[i]
        if spike == stop and c == 0.0 and b == f_rest:
            dff_out[i] = 0.0
            continue
        for step in range(n_substeps):
            now_s = step * step_s
            end_s = duration_s if step == n_substeps - 1 else (step + 1) * step_s
            while spike < stop and (spike_s[spike] < end_s or step == n_substeps - 1):
                c, b = relax(c, b, spike_s[spike] - now_s, params)
                c += params[STEP_CALCIUM]
                now_s = spike_s[spike]
                spike += 1
            c, b = relax(c, b, end_s - now_s, params)
        if c < FLOOR_NM and abs(b - f_rest) < FLOOR_NM:
            c = 0.0
            b = f_rest
        calcium_nm[i] = c
        bound[i] = b
        dff_out[i] = scale * (b - f_rest)

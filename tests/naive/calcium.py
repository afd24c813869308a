"""Slow twin of `kernels.calcium`: one cell, one stretch between spikes and substep edges at a time."""

import numpy as np


def advance_one(spike_s, duration_s, n_substeps, params, calcium_nm, bound):
    """New calcium above rest (nM), bound fraction and dF/F of one cell."""
    rest, tau_ca, step, k_d, hill, r_f, tau_on, tau_off = params

    def f(c):
        return c**hill / (k_d**hill + c**hill)

    edges = [(t, 0.0) for t in np.linspace(0, duration_s, n_substeps + 1)] + [(t, step) for t in spike_s]
    now_s = 0.0
    for t, jump in sorted(edges):
        dt = t - now_s
        target = f(rest + calcium_nm * np.exp(-dt / 2 / tau_ca))
        tau = tau_on if target > bound else tau_off
        bound = target + (bound - target) * np.exp(-dt / tau)
        calcium_nm = calcium_nm * np.exp(-dt / tau_ca) + jump
        now_s = t
    return calcium_nm, bound, r_f * (bound - f(rest)) / (1 + r_f * f(rest))

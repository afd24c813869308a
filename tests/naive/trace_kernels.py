"""Slow twins of the trace kernels: one cell, one frame at a time, plain Python and dense linear algebra."""

import math

import numpy as np

MISSING, GOOD, EXPECTED, CENSORED = 0, 1, 2, 3


def normalise(f_roi, f_np, valid, censored, r, median, f0):
    """(dff, code) of one cell."""
    dff = (f_roi - r * (f_np - median) - f0) / f0
    if valid == GOOD and math.isfinite(dff):
        return dff, (CENSORED if censored else GOOD)
    return math.nan, (EXPECTED if valid == EXPECTED else MISSING)


def track_quantile(f_c, quantile, step, q):
    """Robbins-Monro step towards the q-quantile."""
    return quantile + step * (q - (1.0 if f_c < quantile else 0.0))


def projected_filter(template, gamma, x, present):
    """(z, share of energy) of the optimal filter on the samples present, by dense projection."""
    s = np.asarray(template, float)
    nuisance = np.stack([np.ones(len(s)), gamma ** np.arange(len(s))], axis=1)

    def visible(rows):
        basis, _ = np.linalg.qr(nuisance[rows])
        return s[rows] - basis @ (basis.T @ s[rows])

    rows = np.flatnonzero(present)
    if len(rows) < 3 or not s[rows].any():
        return 0.0, 0.0
    part, full = visible(rows), visible(np.arange(len(s)))
    energy = part @ part
    return float(part @ np.asarray(x)[rows] / np.sqrt(energy)), float(energy / (full @ full))


def noise_of_window(sigma, f0_calibration, f0, mean_before, n_before):
    """Standard deviation of dF/F for photon counts."""
    rest = sigma * math.sqrt(f0_calibration / f0)
    return rest * math.sqrt(max(1.0, 1.0 + mean_before - 2 * rest / math.sqrt(n_before)))


def evidence(z, gain):
    """Likelihood ratio of 1, 2, 3 spikes against none."""
    return sum(share * math.exp(n * gain * z - 0.5 * (n * gain) ** 2) for n, share in ((1, 0.6), (2, 0.25), (3, 0.15)))


def frame_probability(z, z_before, gain, prior):
    """Probability that the spike was in this frame and in none of its neighbours."""
    odds = prior * evidence(z, gain)
    before = 0.0 if z_before is None else prior * evidence(z_before, gain)
    return odds / (1 + 1.5 * odds + before)

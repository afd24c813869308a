"""Template bank of one cell by dense linear algebra; nothing shared with the kernel."""

import numpy as np


def blind_projection(nuisance):
    """M = 1 - N (N'N)^-1 N'."""
    return np.eye(len(nuisance)) - nuisance @ np.linalg.solve(nuisance.T @ nuisance, nuisance.T)


def whitened_projection(nuisance, phi):
    """M = C^-1 - C^-1 N (N'C^-1 N)^-1 N'C^-1, C_ij = phi^|i - j|, by inverting."""
    at = np.arange(len(nuisance))
    inverse = np.linalg.inv(phi ** np.abs(at[:, None] - at))
    seen = inverse @ nuisance
    return inverse - seen @ np.linalg.inv(nuisance.T @ seen) @ seen.T


def bank_posterior(x, present, templates, nuisance, amplitude, log_prior):
    """(spikes if there is one, lag, probability of any, height at the lag) of a window in units of the noise.

    `templates` : (n_lags, n_taps); `nuisance` : (n_taps, 2).
    """
    rows = np.flatnonzero(present)
    m = blind_projection(nuisance[rows])
    counts = np.arange(1, len(log_prior) + 1)
    seen = templates[:, rows] @ m @ x[rows]
    energy = np.einsum("jk,kl,jl->j", templates[:, rows], m, templates[:, rows])
    seen, energy = np.where(energy > 1e-9, [seen, energy], 0.0)
    size = amplitude * counts
    odds = np.exp(log_prior + size * seen[:, None] - size**2 * energy[:, None] / 2)
    none = 1 - len(templates) * np.exp(log_prior).sum()
    lag = int(np.argmax(odds.sum(axis=1)))
    height = seen[lag] / energy[lag] if energy[lag] else 0.0
    return (odds @ counts).sum() / odds.sum(), lag, odds.sum() / (none + odds.sum()), height

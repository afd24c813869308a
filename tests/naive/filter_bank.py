"""Template bank of one cell by dense linear algebra; nothing shared with the kernel."""

import numpy as np


def blind_inverse(noise_covariance, nuisance):
    """M = C^-1 - C^-1 N (N'C^-1 N)^-1 N'C^-1."""
    inverse = np.linalg.inv(noise_covariance)
    seen = inverse @ nuisance
    return inverse - seen @ np.linalg.solve(nuisance.T @ seen, seen.T)


def ar1_covariance(n_frames, phi):
    """C_ij = phi^|i - j|."""
    frames = np.arange(n_frames)
    return float(phi) ** np.abs(frames[:, None] - frames[None, :])


def bank_posterior(x, present, templates, nuisance, covariance, amplitude, log_prior, hold):
    """(count, lag, probability at `hold`, log evidence) of a window in units of the noise, or None.

    `templates` : (n_lags, n_taps); `nuisance` : (n_taps, 2); hypotheses with less than half of s'M s left are none.
    """
    rows = np.flatnonzero(present)
    if len(rows) < 3:
        return None
    m = blind_inverse(covariance[np.ix_(rows, rows)], nuisance[rows])
    full = blind_inverse(covariance, nuisance)
    n_lags, n_counts = len(templates), len(log_prior)
    odds = np.zeros((n_lags, n_counts))
    for j, s in enumerate(templates):
        energy = s[rows] @ m @ s[rows]
        if energy < 0.5 * (s @ full @ s):
            if j == hold:
                return None
            continue
        for n in range(1, n_counts + 1):
            size = n * amplitude
            odds[j, n - 1] = np.exp(log_prior[n - 1] + size * (s[rows] @ m @ x[rows]) - size**2 * energy / 2)
    none = 1 - n_lags * np.exp(log_prior).sum()
    total = none + odds.sum()
    counts = np.arange(1, n_counts + 1)
    of_lag = odds.sum(axis=1)
    return (odds @ counts).sum() / total, int(np.argmax(of_lag)), of_lag[hold] / total, np.log(odds.sum() / none)

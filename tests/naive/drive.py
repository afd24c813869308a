"""Fixed-lag smoother of the drive by one dense Gaussian conditioning; nothing shared with the kernel."""

import numpy as np


def smoothed_drive(y, usable, lag, decay, rise, step_decay, step_rise, noise, drive, baseline, first_u, first_b):
    """Mean of the drive `lag` frames before each frame given all samples up to that frame, and the log evidence.

    Every unknown (start of u and b, drives, baseline steps) is a column of one design matrix; the posterior mean is
    that of a Gaussian regression.
    """
    n = len(y)
    k = np.arange(n)
    start_u = decay ** (k + 1)
    start_b = np.ones(n)
    since = k[:, None] - k[None, :]
    pushed = np.where(since >= 0, step_decay * decay ** np.abs(since) - step_rise * rise ** np.abs(since), 0.0)
    stepped = (since >= 0).astype(float)
    design = np.column_stack([start_u, start_b, pushed, stepped])
    prior = np.concatenate([[first_u, first_b], np.full(n, drive), np.full(n, baseline)])
    out = np.zeros(n)
    evidence = 0.0
    for t in range(n):
        rows = np.flatnonzero(usable[: t + 1])
        a = design[rows]
        covariance = a @ (prior[:, None] * a.T) + noise * np.eye(len(rows))
        weights = np.linalg.solve(covariance, y[rows])
        if t >= lag:
            out[t] = drive * pushed[rows, t - lag] @ weights
        if t == n - 1:
            evidence = -0.5 * (y[rows] @ weights + np.linalg.slogdet(covariance)[1])
    return out, evidence

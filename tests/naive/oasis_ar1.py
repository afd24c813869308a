"""OASIS AR(1) with unbounded memory, from the definition; nothing shared with the kernel."""

import numpy as np


def pools_of(y, gamma, penalty, s_min):
    """List of [v, w, start, length] after all samples of `y`; NaN only lengthens."""
    pools = []
    for t, sample in enumerate(y):
        if np.isnan(sample):
            if pools:
                pools[-1][3] += 1
            continue
        last = t == len(y) - 1
        pools.append([sample - penalty * (1.0 if last else 1 - gamma), 1.0, t, 1])
        while len(pools) > 1:
            (v0, w0, t0, n0), (v1, w1, _, n1) = pools[-2:]
            if v0 / w0 * gamma**n0 + s_min <= v1 / w1:
                break
            pools[-2:] = [[v0 + gamma**n0 * v1, w0 + gamma ** (2 * n0) * w1, t0, n0 + n1]]
    return pools


def calcium_of(y, gamma, penalty=0.0, s_min=0.0):
    """Calcium of every frame in the best fit to `y`."""
    c = np.zeros(len(y))
    for i, (v, w, start, n) in enumerate(pools_of(y, gamma, penalty, s_min)):
        first = v / w
        if first < (s_min if i else 0.0):
            first = 0.0
        c[start : start + n] = first * gamma ** np.arange(n)
    return c


def jumps_of(c, gamma):
    """s of every frame; the calcium of the first is no jump."""
    s = np.zeros(len(c))
    s[1:] = np.maximum(c[1:] - gamma * c[:-1], 0.0)
    return s

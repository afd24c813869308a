"""Greedy OASIS AR(2) with unbounded memory and the whole history, from the definition; nothing shared with the kernel.

Calcium of a pool that starts with v after a pool that ended with w: h_j v - d r h_{j-1} w; the first pool: d^j v.
"""

import numpy as np


def response(d, r, n):
    """h_{-1}, h_0 ... h_{n-1} of the recursion c_t = (d + r) c_{t-1} - d r c_{t-2} after one spike."""
    h = np.zeros(n + 1)
    h[1] = 1.0
    for k in range(2, n + 1):
        h[k] = (d + r) * h[k - 1] - d * r * h[k - 2]
    return h


def _curve(v, w, d, r, n, is_first):
    if is_first:
        return v * d ** np.arange(n)
    h = response(d, r, n)
    return h[1:] * v - d * r * h[:-1] * w


def _fit(y, w, d, r, is_first):
    shape = _curve(1.0, 0.0, d, r, len(y), is_first)
    rest = y - (0.0 if is_first else _curve(0.0, w, d, r, len(y), False))
    seen = np.isfinite(y)
    v = rest[seen] @ shape[seen] / (shape[seen] @ shape[seen])
    return max(0.0, v) if is_first else v


def pools_of(y, d, r, penalty=0.0, s_min=0.0):
    """List of [first frame, frame after the last, v, w of the pool below] after all samples; NaN only lengthens."""
    y = np.asarray(y, float) - penalty * (1 - d) * (1 - r)
    pools = []

    def predicted(k, n):
        start, _, v, w = pools[k]
        return _curve(v, w, d, r, n - start + 1, k == 0)[-1]

    for t, sample in enumerate(y):
        if np.isnan(sample):
            if pools:
                pools[-1][1] = t + 1
            continue
        below = predicted(len(pools) - 1, t - 1) if pools else 0.0
        pools.append([t, t + 1, sample if pools else max(0.0, sample), below])
        while len(pools) > 1 and predicted(len(pools) - 2, pools[-1][0]) > pools[-1][2] - s_min:
            (start, _, _, w), (_, end, _, _) = pools[-2:]
            pools[-2:] = [[start, end, _fit(y[start:end], w, d, r, len(pools) == 2), w]]
    return pools


def calcium_and_jumps(y, d, r, penalty=0.0, s_min=0.0):
    """Calcium and jump of every frame; the calcium that the first pool starts with is no jump."""
    c, s = np.zeros(len(y)), np.zeros(len(y))
    forecast = 0.0
    for k, (start, end, v, w) in enumerate(pools_of(y, d, r, penalty, s_min)):
        curve = _curve(v, w, d, r, end - start + 1, k == 0)
        c[start:end] = curve[:-1]
        s[start] = v - forecast if k else 0.0
        forecast = curve[-1]
    return c, s

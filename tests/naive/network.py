"""The causal network for one cell, a frame at a time, from its definition in float64."""

import math

import numpy as np

from rt_engine.interfaces.network_weights import random_weights

HOLDS = (0, 1, 2, 3, 5)


def soft_step(x):
    """Continued fraction x/(1 + x^2/(3 + x^2/(5 + x^2/(7 + ...)))), cut off where the kernel cuts it off."""
    x = min(max(x, -4.97), 4.97)
    tail = 13.0
    for odd in (11, 9, 7, 5, 3, 1):
        tail = odd + x * x / tail
    return min(max(x / tail, -1.0), 1.0)


def squash(x):
    return math.copysign(abs(x) / math.sqrt(1 + abs(x)), x)


def inputs(drive, per_noise, calcium, residual, is_there, conditions):
    """`drive` : of lags 0 to 5; `per_noise` : of every hold, then of a sample."""
    dynamic = [squash(drive[hold] * per_noise[k]) for k, hold in enumerate(HOLDS)]
    dynamic += [squash(calcium * per_noise[-1]), squash(residual * per_noise[-1]) if is_there else 0.0]
    return np.array([*dynamic, float(is_there), *conditions])


def step(x, held, w):
    """State and heads after one frame; `w` has the names of the weights."""
    n = len(held)
    a = [[float(v) for v in part] for part in np.split(w.input.astype(float) @ x + w.input_bias, 3)]
    b = [[float(v) for v in part] for part in np.split(w.state.astype(float) @ held + w.state_bias, 3)]
    after = np.zeros(n)
    for i in range(n):
        reset = 0.5 + 0.5 * soft_step(0.5 * (a[0][i] + b[0][i]))
        keep = 0.5 + 0.5 * soft_step(0.5 * (a[1][i] + b[1][i]))
        new = soft_step(a[2][i] + reset * b[2][i])
        after[i] = (1 - keep) * new + keep * held[i]
    middle = np.maximum(0.0, w.middle.astype(float) @ np.concatenate([after, x]) + w.middle_bias)
    return after, w.output.astype(float) @ middle + w.output_bias


def untrained(n_hidden=5, n_middle=6, size=0.4):
    """Weights that nobody trained."""
    return random_weights(n_hidden, n_middle, 0, size)

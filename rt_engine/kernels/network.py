"""The causal network, a frame at a time, for all cells: what it makes of the smoothed drive moves odds and rate.

Loops run over whole blocks of cells, whose number is fixed: so a cell gets the same bits whatever stands beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.interfaces.network_weights import HEADS, HOLDS, N_INPUTS, NetworkWeights
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.drive_smoother import BASELINE_FIELD, BLOCK, CALCIUM_FIELDS
from rt_engine.kernels.power_of_e import power_of_e

N_HOLDS, N_OUT = len(HOLDS), len(HEADS) * len(HOLDS)
N_DYNAMIC = N_HOLDS + 3
"""Inputs that change with the frame: drive of each lag, calcium, residual, whether there is a sample."""
N_LAGS = max(HOLDS) + 1
MOST_ODDS, MOST_RATE = np.float32(1.5), np.float32(0.5)
"""Bounds of what a network learns to add to the log odds and to the logarithm of the rate; how much of that is
believed says `pipeline.network`."""
_U, _V = CALCIUM_FIELDS


class NetworkLayers(NamedTuple):
    """Arrays of `NetworkWeights` in order, read."""

    input: NDArray[np.float32]
    state: NDArray[np.float32]
    input_bias: NDArray[np.float32]
    state_bias: NDArray[np.float32]
    middle: NDArray[np.float32]
    middle_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]


class NetworkState(NamedTuple):
    """float32. ``seen`` : (n_blocks, (n_hidden + N_INPUTS) BLOCK): what the units hold, then the inputs, field after
    field, those that do not change being written once. ``scratch`` : (4 n_hidden + n_middle + N_OUT) BLOCK. ``told`` :
    (N_OUT, n_blocks BLOCK): the heads before their bounds.
    """

    seen: NDArray[np.float32]
    scratch: NDArray[np.float32]
    told: NDArray[np.float32]


def network_layers(weights: NetworkWeights) -> NetworkLayers:
    """Weights as the kernel wants them."""
    return NetworkLayers(*(getattr(weights, name) for name in NetworkLayers._fields))


def empty_network_state(layers: NetworkLayers, conditions: NDArray[np.float32]) -> NetworkState:
    """State before the first frame; `conditions` : shape (N_INPUTS - N_DYNAMIC, n_rois), see `pipeline.network`."""
    n_rois, n_hidden = conditions.shape[1], len(layers.state_bias) // 3
    n_blocks = -(-n_rois // BLOCK)
    by_field = np.zeros((n_hidden + N_INPUTS, n_blocks * BLOCK), np.float32)
    by_field[n_hidden + N_DYNAMIC :, :n_rois] = conditions
    seen = by_field.reshape(len(by_field), n_blocks, BLOCK).swapaxes(0, 1).reshape(n_blocks, -1)
    scratch = np.zeros((4 * n_hidden + len(layers.middle_bias) + N_OUT) * BLOCK, np.float32)
    return NetworkState(np.ascontiguousarray(seen), scratch, np.zeros((N_OUT, n_blocks * BLOCK), np.float32))


_F4 = types.Array(types.float32, 1, "C")
_F4_MATRIX = types.Array(types.float32, 2, "C")
_F8_MATRIX = types.Array(types.float64, 2, "C")
_U1 = types.Array(types.uint8, 1, "C")
_LAYERS = types.NamedTuple(
    (_F4_MATRIX, _F4_MATRIX, _F4, _F4, _F4_MATRIX, _F4, _F4_MATRIX, _F4), NetworkLayers
)  # fmt: skip
_STATE = types.NamedTuple((_F4_MATRIX, _F4, _F4_MATRIX), NetworkState)
_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_LARGEST = np.float32(4.97)
_ZERO, _BEYOND = np.float32(0.0), np.float32(1e6)
_P0, _P2, _P4, _Q2, _Q4, _Q6 = (np.float32(c) for c in (135135.0, 17325.0, 378.0, 62370.0, 3150.0, 28.0))


@njit(**NO_ALLOCATION)
def soft_step(x):
    """Hyperbolic tangent to 1e-4, by Lambert's continued fraction: arithmetic alone, so that it makes vector code."""
    x = max(min(x, _LARGEST), -_LARGEST)
    s = x * x
    value = x * (_P0 + s * (_P2 + s * (_P4 + s))) / (_P0 + s * (_Q2 + s * (_Q4 + s * _Q6)))
    return max(min(value, _ONE), -_ONE)


@njit(**NO_ALLOCATION)
def root(x):
    """Like the square root of large values, with their sign, and like the value itself of small ones.

    0 of what is no number or beyond all measure: the units would never forget it.
    """
    return x / np.sqrt(_ONE + abs(x)) if abs(x) < _BEYOND else _ZERO


@njit(**NO_ALLOCATION)
def _add_product(weights, vector, acc):
    """Add weights times vector, for a block of cells; two rows and four columns a pass: little is loaded or stored."""
    n_rows, n_columns = weights.shape
    fours, pairs = n_columns - n_columns % 4, n_rows - n_rows % 2
    for row in range(0, pairs, 2):
        to = acc[row * BLOCK : (row + 2) * BLOCK]
        one, two = weights[row], weights[row + 1]
        for k in range(0, fours, 4):
            part = vector[k * BLOCK : (k + 4) * BLOCK]
            a, b, c, d = one[k], one[k + 1], one[k + 2], one[k + 3]
            e, f, g, h = two[k], two[k + 1], two[k + 2], two[k + 3]
            for n in range(BLOCK):
                p, q, r, s = part[n], part[BLOCK + n], part[2 * BLOCK + n], part[3 * BLOCK + n]
                to[n] += (a * p + b * q) + (c * r + d * s)
                to[BLOCK + n] += (e * p + f * q) + (g * r + h * s)
        for k in range(fours, n_columns):
            a, b, part = one[k], two[k], vector[k * BLOCK : (k + 1) * BLOCK]
            for n in range(BLOCK):
                to[n] += a * part[n]
                to[BLOCK + n] += b * part[n]
    for row in range(pairs, n_rows):
        to = acc[row * BLOCK : (row + 1) * BLOCK]
        for k in range(n_columns):
            a, part = weights[row, k], vector[k * BLOCK : (k + 1) * BLOCK]
            for n in range(BLOCK):
                to[n] += a * part[n]


@njit(**NO_ALLOCATION)
def _fill(bias, acc):
    for row in range(bias.shape[0]):
        to, value = acc[row * BLOCK : (row + 1) * BLOCK], bias[row]
        for n in range(BLOCK):
            to[n] = value


@njit(**NO_ALLOCATION)
def _look(dff, usable, drive, per_noise, here, cell, x):
    """Inputs of a block that change with the frame."""
    for k in range(N_HOLDS):
        of, scale, to = drive[HOLDS[k], here], per_noise[k, here], x[k * BLOCK : (k + 1) * BLOCK]
        for n in range(of.shape[0]):
            to[n] = root(np.float32(of[n]) * scale[n])
    per_sigma = per_noise[N_HOLDS, here]
    calcium, left = x[N_HOLDS * BLOCK : (N_HOLDS + 1) * BLOCK], x[(N_HOLDS + 1) * BLOCK : (N_HOLDS + 2) * BLOCK]
    is_there = x[(N_HOLDS + 2) * BLOCK : (N_HOLDS + 3) * BLOCK]
    for n in range(per_sigma.shape[0]):
        calcium[n] = root(np.float32(cell[_U + n] - cell[_V + n]) * per_sigma[n])
        sampled = usable[n] == 1
        left[n] = root((dff[n] - np.float32(cell[BASELINE_FIELD + n])) * per_sigma[n]) if sampled else np.float32(0.0)
        is_there[n] = _ONE if sampled else np.float32(0.0)


@njit(**NO_ALLOCATION)
def _remember(layers, seen, scratch):
    """One step of the gated recurrent unit of a block of cells."""
    n_hidden = layers.state.shape[1]
    size = n_hidden * BLOCK
    held, x = seen[:size], seen[size:]
    from_state = scratch[3 * size : 4 * size]
    gates = scratch[: 3 * size]
    _fill(layers.input_bias, gates)
    _add_product(layers.input, x, gates)
    for k in range(2 * n_hidden):
        bias = layers.state_bias[k]
        for n in range(BLOCK):
            gates[k * BLOCK + n] += bias
    _add_product(layers.state[: 2 * n_hidden], held, gates)
    _fill(layers.state_bias[2 * n_hidden :], from_state)
    _add_product(layers.state[2 * n_hidden :], held, from_state)
    for n in range(size):
        reset = _HALF + _HALF * soft_step(_HALF * gates[n])
        keep = _HALF + _HALF * soft_step(_HALF * gates[size + n])
        new = soft_step(gates[2 * size + n] + reset * from_state[n])
        held[n] = new + keep * (held[n] - new)


@njit(**NO_ALLOCATION)
def _tell(layers, seen, middle, heads, block, told):
    """Two layers from what the units hold and the inputs to the heads."""
    _fill(layers.middle_bias, middle)
    _add_product(layers.middle, seen, middle)
    for n in range(middle.shape[0]):
        middle[n] = max(middle[n], _ZERO)
    _fill(layers.output_bias, heads)
    _add_product(layers.output, middle, heads)
    first = block * BLOCK
    for row in range(N_OUT):
        for n in range(BLOCK):
            told[row, first + n] = heads[row * BLOCK + n]


@njit(
    types.void(
        types.int64, _F4, _U1, _F8_MATRIX, _F8_MATRIX, _F4_MATRIX, _F4_MATRIX, _LAYERS, _STATE, _F4_MATRIX
    ),
    **NO_ALLOCATION,
)  # fmt: skip
def network_step(at, dff, usable, cells, drive, per_noise, bounds, layers, state, vote_out):
    """Advance the network of all cells by one frame, after `drive_step` has.

    Parameters
    ----------
    at : int
        Place of the hold of the decision in `HOLDS`.
    dff : float32 ndarray, shape (n_rois,), read
        What the smoother was given.
    usable : uint8 ndarray, shape (n_rois,), read
        1 where there is a sample.
    cells, drive : float64 ndarray
        Of `DriveState`, with `N_LAGS` lags at least, read.
    per_noise : float32 ndarray, shape (N_HOLDS + 1, n_rois), read
        One over the noise of the drive of every lag of `HOLDS`, then over that of a sample.
    bounds : float32 ndarray, shape (2, n_rois), read
        Most that the network adds to the log odds and to the logarithm of the rate of every cell.
    layers : NetworkLayers, read
    state : NetworkState, overwritten
        ``told``: for each of `HEADS` and `HOLDS` what the network says before its bounds.
    vote_out : float32 ndarray, shape (2, n_rois), overwritten
        What the odds of the decision and its rate are to be multiplied by: within exp(-bound) to exp(bound).

    Notes
    -----
    Cho et al. 2014, arXiv:1406.1078, with the reset gate after the product (as cuDNN and torch have it). The bound
    keeps what was never seen in training from being much worse than the decision without the network.
    """
    n_rois = usable.shape[0]
    n_hidden = layers.state.shape[1]
    for block in range(state.seen.shape[0]):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, n_rois))
        seen = state.seen[block]
        _look(dff[here], usable[here], drive, per_noise, here, cells[block], seen[n_hidden * BLOCK :])
        _remember(layers, seen, state.scratch)
        middle = state.scratch[4 * n_hidden * BLOCK : -N_OUT * BLOCK]
        _tell(layers, seen, middle, state.scratch[-N_OUT * BLOCK :], block, state.told)
    odds, rate = state.told[at], state.told[N_HOLDS + at]
    for n in range(n_rois):
        vote_out[0, n] = power_of_e(np.float64(bounds[0, n] * soft_step(odds[n])))
        vote_out[1, n] = power_of_e(np.float64(bounds[1, n] * soft_step(rate[n])))

"""Kernels of demixing: overlapping cells told apart frame by frame, by least squares with light that is not negative.

In every group of cells that overlap, the projections on the footprints (A'y) and the means of the rings (z) are
explained by the light of the cells c >= 0 and a local background f of two components:

    A'y = A'A (c + beta f) + noise,    z = U f + noise.

A'A is factored once. A frame costs one solve with the sparse factor; where a cell comes out darker than nothing, it is
set to nothing and three sweeps of coordinate descent (hierarchical alternating least squares, HALS) follow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION

N_SWEEPS = 3
N_SWEEPS_INCOMPLETE = 12
"""Where a sample of the group is missing, the factor does not apply: sweeps alone, from the frame before."""


class DemixingStructure(NamedTuple):
    """What a frame needs to know of the groups, read. n is the number of overlapping cells, sorted by group.

    ``roi`` int64 (n,): row of the cell; ``group_start`` int64 (n_groups + 1,); ``norm`` float64 (n,): diagonal of A'A;
    ``neighbour_start`` int64 (n + 1,), ``neighbour`` int64, ``overlap`` float64: the rest of A'A, row by row;
    ``factor_start`` int64 (n + 1,), ``factor_column`` int64, ``factor`` float64: rows of its lower Cholesky factor,
    columns ascending, diagonal last; ``beta``, ``background`` (A'A beta) and ``ring`` (ring pixels times U) float64
    (n, 2); ``ring_inverse``, ``inverse`` float64 (n_groups, 2, 2): of U'NU and of beta' A'A beta + U'NU;
    ``reference_roi``, ``reference_np``, ``rest`` float64 (n,): counts of A'y / norm, of z, and of c at rest;
    ``copy_from``, ``copy_to`` int64 (n_copies,): rows that cannot be told apart and get the same value.
    """

    roi: NDArray[np.int64]
    group_start: NDArray[np.int64]
    norm: NDArray[np.float64]
    neighbour_start: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    overlap: NDArray[np.float64]
    factor_start: NDArray[np.int64]
    factor_column: NDArray[np.int64]
    factor: NDArray[np.float64]
    beta: NDArray[np.float64]
    background: NDArray[np.float64]
    ring: NDArray[np.float64]
    ring_inverse: NDArray[np.float64]
    inverse: NDArray[np.float64]
    reference_roi: NDArray[np.float64]
    reference_np: NDArray[np.float64]
    rest: NDArray[np.float64]
    copy_from: NDArray[np.int64]
    copy_to: NDArray[np.int64]


class DemixingState(NamedTuple):
    """``light`` float64 (n,): c minus rest of the last frame, state. Scratch: ``projection`` float64 (n,): A'y minus
    its reference; ``haze`` float64 (n,): z minus its reference; ``present`` uint8 (n,).
    """

    light: NDArray[np.float64]
    projection: NDArray[np.float64]
    haze: NDArray[np.float64]
    present: NDArray[np.uint8]


_F8 = types.Array(types.float64, 1, "C")
_F82 = types.Array(types.float64, 2, "C")
_F83 = types.Array(types.float64, 3, "C")
_I8 = types.Array(types.int64, 1, "C")
_F4 = types.Array(types.float32, 1, "C")
_U1 = types.Array(types.uint8, 1, "C")
_STRUCTURE = types.NamedTuple(
    (_I8, _I8, _F8, _I8, _I8, _F8, _I8, _I8, _F8, _F82, _F82, _F82, _F83, _F83, _F8, _F8, _F8, _I8, _I8),
    DemixingStructure,
)
_STATE = types.NamedTuple((_F8, _F8, _F8, _U1), DemixingState)


@njit(types.void(types.int64, _STRUCTURE, _STATE), **NO_ALLOCATION)
def solve_group(group, structure, state):
    """Unbounded least squares of one group: light from the factor, background from the rings.

    Parameters
    ----------
    group : int
    structure : DemixingStructure, read
    state : DemixingState
        Projection and haze are read, light is overwritten.
    """
    begin = structure.group_start[group]
    end = structure.group_start[group + 1]
    light = state.light
    start, column, factor = structure.factor_start, structure.factor_column, structure.factor
    for i in range(begin, end):
        total = state.projection[i]
        last = start[i + 1] - 1
        for k in range(start[i], last):
            total -= factor[k] * light[column[k]]
        light[i] = total / factor[last]
    for i in range(end - 1, begin - 1, -1):
        last = start[i + 1] - 1
        value = light[i] / factor[last]
        light[i] = value
        for k in range(start[i], last):
            light[column[k]] -= factor[k] * value
    u_0 = 0.0
    u_1 = 0.0
    for i in range(begin, end):
        u_0 += structure.ring[i, 0] * state.haze[i]
        u_1 += structure.ring[i, 1] * state.haze[i]
    inverse = structure.ring_inverse[group]
    f_0 = inverse[0, 0] * u_0 + inverse[0, 1] * u_1
    f_1 = inverse[1, 0] * u_0 + inverse[1, 1] * u_1
    for i in range(begin, end):
        light[i] -= structure.beta[i, 0] * f_0 + structure.beta[i, 1] * f_1


@njit(types.void(types.int64, types.int64, _STRUCTURE, _STATE), **NO_ALLOCATION)
def sweep_group(group, n_sweeps, structure, state):
    """Coordinate descent on one group: background, then every cell in turn, none darker than nothing.

    Parameters
    ----------
    group : int
    n_sweeps : int
    structure : DemixingStructure, read
    state : DemixingState
        Projection, haze and present are read, light is overwritten; cells that are not present keep theirs.

    Notes
    -----
    Each step minimises the squared residual over one cell, or over both background components, and so never raises it.
    """
    begin = structure.group_start[group]
    end = structure.group_start[group + 1]
    light = state.light
    inverse = structure.inverse[group]
    for _ in range(n_sweeps):
        u_0 = 0.0
        u_1 = 0.0
        for i in range(begin, end):
            if state.present[i]:
                u_0 += structure.ring[i, 0] * state.haze[i] + structure.beta[i, 0] * state.projection[i]
                u_1 += structure.ring[i, 1] * state.haze[i] + structure.beta[i, 1] * state.projection[i]
                u_0 -= structure.background[i, 0] * light[i]
                u_1 -= structure.background[i, 1] * light[i]
        f_0 = inverse[0, 0] * u_0 + inverse[0, 1] * u_1
        f_1 = inverse[1, 0] * u_0 + inverse[1, 1] * u_1
        for i in range(begin, end):
            if not state.present[i]:
                continue
            left = state.projection[i] - structure.background[i, 0] * f_0 - structure.background[i, 1] * f_1
            for k in range(structure.neighbour_start[i], structure.neighbour_start[i + 1]):
                left -= structure.overlap[k] * light[structure.neighbour[k]]
            light[i] = max(left / structure.norm[i], -structure.rest[i])


@njit(types.void(_F4, _F4, _U1, _U1, _STRUCTURE, _STATE), **NO_ALLOCATION)
def demix(f_roi, f_np, valid, blanked, structure, state):
    """Take the light of its neighbours out of the mean of every overlapping cell.

    Parameters
    ----------
    f_roi : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read and overwritten
        Afterwards c plus the residual: not clipped at 0, so that its noise keeps its shape. The background stays in,
        as in the mean of a cell that overlaps with none.
    f_np : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read
    valid : uint8 ndarray, shape (n_rois,), read and overwritten
        1 where there is a sample; set to 0 where a neighbour has none.
    blanked : uint8 ndarray, shape (n_rois,), read and overwritten
        1 where lines were blanked; set to 1 where that is why a neighbour has no sample.
    structure : DemixingStructure, read
    state : DemixingState
    """
    for group in range(structure.group_start.shape[0] - 1):
        begin = structure.group_start[group]
        end = structure.group_start[group + 1]
        complete = True
        for i in range(begin, end):
            roi = structure.roi[i]
            present = valid[roi] == 1 and np.isfinite(f_roi[roi]) and np.isfinite(f_np[roi])
            state.present[i] = present
            complete = complete and present
            state.projection[i] = structure.norm[i] * (f_roi[roi] - structure.reference_roi[i]) if present else 0.0
            state.haze[i] = f_np[roi] - structure.reference_np[i] if present else 0.0
        if complete:
            solve_group(group, structure, state)
            clipped = False
            for i in range(begin, end):
                if state.light[i] < -structure.rest[i]:
                    state.light[i] = -structure.rest[i]
                    clipped = True
            if clipped:
                sweep_group(group, N_SWEEPS, structure, state)
        else:
            for i in range(begin, end):
                if not state.present[i] or not np.isfinite(state.light[i]):
                    state.light[i] = 0.0
            sweep_group(group, N_SWEEPS_INCOMPLETE, structure, state)
        for i in range(begin, end):
            roi = structure.roi[i]
            others = 0.0
            for k in range(structure.neighbour_start[i], structure.neighbour_start[i + 1]):
                j = structure.neighbour[k]
                others += structure.overlap[k] * (state.light[j] + structure.rest[j])
                if not state.present[j]:
                    valid[roi] = 0
                    # A sample lost to our own light only is lost for a known reason.
                    if state.present[i] and blanked[structure.roi[j]]:
                        blanked[roi] = 1
            f_roi[roi] -= others / structure.norm[i]
    for k in range(structure.copy_to.shape[0]):
        f_roi[structure.copy_to[k]] = f_roi[structure.copy_from[k]]
        valid[structure.copy_to[k]] &= valid[structure.copy_from[k]]


@njit(types.int64(_F82, types.float64), **NO_ALLOCATION)
def cholesky(matrix, least_pivot):
    """Lower Cholesky factor in place; plain loops, so that every machine gives the same bits.

    Parameters
    ----------
    matrix : float64 ndarray, shape (n, n), C order, read and overwritten
        Symmetric; the lower triangle becomes the factor, the upper one is not touched.
    least_pivot : float
        Smallest share of a diagonal element that may be left of it.

    Returns
    -------
    int
        -1, or the first row that is (nearly) a combination of those before it.
    """
    for i in range(matrix.shape[0]):
        whole = matrix[i, i]
        first = 0
        while first < i and matrix[i, first] == 0.0:
            first += 1
        for j in range(first, i + 1):
            total = matrix[i, j]
            for k in range(first, j):
                total -= matrix[i, k] * matrix[j, k]
            if j < i:
                matrix[i, j] = total / matrix[j, j]
            else:
                if not total > least_pivot * whole:
                    return i
                matrix[i, i] = np.sqrt(total)
    return -1

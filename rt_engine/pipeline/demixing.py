"""Demixing of overlapping cells: owns what the kernel needs, built from the calibration when a run starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.demixing import DemixingState, DemixingStructure, demix
from rt_engine.pipeline.masks import N_BACKGROUND, MaskFields
from rt_engine.pipeline.overlap import Overlap

SOMA_HAZE = 0.7
"""Part of the neuropil around a soma that is seen through it; the neuropil coefficient takes up what is wrong of it."""
RIDGE = 1e-10
"""Of the background's normal equations, relative: rings that say nothing leave the background at its reference."""


class Demixing:
    """Takes the light of overlapping neighbours out of the means of all cells of a plane.

    Parameters
    ----------
    masks : MaskFields
        With the background and the reference of a calibration.
    overlap : Overlap
        Of the same masks.

    Attributes
    ----------
    structure : DemixingStructure
    state : DemixingState
    """

    def __init__(self, masks: MaskFields, overlap: Overlap) -> None:
        self.structure = demixing_structure(masks, overlap)
        n = len(self.structure.roi)
        self.state = DemixingState(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.uint8))

    def process(
        self,
        f_roi: NDArray[np.float32],
        f_np: NDArray[np.float32],
        valid: NDArray[np.uint8],
        blanked: NDArray[np.uint8],
    ) -> None:
        """Demix one frame in place; see `rt_engine.kernels.demixing.demix`."""
        demix(f_roi, f_np, valid, blanked, self.structure, self.state)


def demixing_structure(masks: MaskFields, overlap: Overlap) -> DemixingStructure:
    """Arrays of the demixing kernel; every sum is taken in a fixed order, so every machine gets the same bits."""
    roi = np.concatenate([np.zeros(0, np.int64), *overlap.groups])
    group_start = np.concatenate([[0], np.cumsum([len(group) for group in overlap.groups])]).astype(np.int64)
    norm = overlap.norm[roi]
    neighbour_start, neighbour, shared = _neighbours(roi, overlap)
    factor_start, factor_column, factor = _rows_of_factors(overlap)
    # The sum of a footprint equals its squared length (see `Overlap`), so this is A' times the haze on it.
    loading = masks.background_loading[roi].astype(np.float64)
    background = SOMA_HAZE * norm[:, None] * loading
    ring_pixels = np.diff(masks.neuropil_start)[roi].astype(np.float64)
    ring = ring_pixels[:, None] * loading
    beta = np.zeros_like(background)
    inverses = np.zeros((2, len(overlap.groups), N_BACKGROUND, N_BACKGROUND))
    for group, lower in enumerate(overlap.factors):
        here = slice(int(group_start[group]), int(group_start[group + 1]))
        for column in range(N_BACKGROUND):
            beta[here, column] = _solved(lower, background[here, column])
        from_rings = _products(loading[here], ring[here])
        from_cells = _products(beta[here], background[here])
        ridge = RIDGE * max(float(np.trace(from_rings + from_cells)), 1e-30) * np.eye(N_BACKGROUND)
        inverses[0, group] = _inverse(from_rings + ridge)
        inverses[1, group] = _inverse(from_rings + from_cells + ridge)
    copies = overlap.inseparable()
    return DemixingStructure(
        roi=roi,
        group_start=group_start,
        norm=norm,
        neighbour_start=neighbour_start,
        neighbour=neighbour,
        overlap=shared,
        factor_start=factor_start,
        factor_column=factor_column,
        factor=factor,
        beta=beta,
        background=background,
        ring=ring,
        ring_inverse=inverses[0],
        inverse=inverses[1],
        reference_roi=masks.reference_roi_counts[roi].astype(np.float64),
        reference_np=masks.reference_np_counts[roi].astype(np.float64),
        rest=masks.rest_counts[roi].astype(np.float64),
        copy_from=np.array([leader for leader, _ in copies], np.int64),
        copy_to=np.array([row for _, row in copies], np.int64),
    )


def _neighbours(
    roi: NDArray[np.int64], overlap: Overlap
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """A'A without its diagonal, row by row, in positions of `roi`."""
    place = np.full(len(overlap.norm), -1, np.int64)
    place[roi] = np.arange(len(roi))
    i, j = place[overlap.one], place[overlap.other]
    used = (i >= 0) & (j >= 0)
    row, column = np.r_[i[used], j[used]], np.r_[j[used], i[used]]
    value = np.r_[overlap.product[used], overlap.product[used]]
    order = np.lexsort((column, row))
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(roi)))]).astype(np.int64)
    return start, column[order].astype(np.int64), value[order]


def _rows_of_factors(overlap: Overlap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows of all Cholesky factors one after the other, without zeros, the diagonal last."""
    start, columns, values, first = [0], [np.zeros(0, np.int64)], [np.zeros(0)], 0
    for lower in overlap.factors:
        for i, row in enumerate(lower):
            filled = np.flatnonzero(row[: i + 1])
            columns.append(filled + first)
            values.append(row[filled])
            start.append(start[-1] + len(filled))
        first += len(lower)
    return np.array(start, np.int64), np.concatenate(columns).astype(np.int64), np.concatenate(values)


def _solved(lower: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solution of L L' x = right by substitution in a fixed order."""
    x = right.copy()
    n = len(x)
    for i in range(n):
        for k in np.flatnonzero(lower[i, :i]):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= lower[i, i]
        for k in np.flatnonzero(lower[i, :i]):
            x[k] -= lower[i, k] * x[i]
    return x


def _products(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """left' right, summed row by row; made symmetric."""
    total = np.zeros((left.shape[1], right.shape[1]))
    for a, b in zip(left, right, strict=True):
        total += a[:, None] * b[None, :]
    return 0.5 * (total + total.T)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a positive definite 2 x 2 matrix."""
    (a, b), (_, d) = matrix
    determinant = a * d - b * b
    return np.array([[d, -b], [-b, a]]) / determinant if determinant > 0.0 else np.zeros((2, 2))

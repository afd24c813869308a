"""Which cells overlap, how much, and which cannot be told apart: from the footprints alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

from rt_engine.kernels.demixing import cholesky
from rt_engine.pipeline.masks import MaskFields, weights_of

INSEPARABLE = 0.9
"""Cosine of two footprints above which their cells are read as one."""
LEAST_PIVOT = 1e-3
"""Share of a footprint that must be left when all those before it in its group are taken out."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Overlap of all footprints.

    Attributes
    ----------
    norm, light : float64 ndarray, shape (n_rois,)
        Squared length of every footprint, and its sum; both are equal, by the scale of the footprints.
    one, other : int64 ndarray, shape (n_pairs,)
        Rows of the cells that share pixels, `one` below `other`, in ascending order.
    product : float64 ndarray, shape (n_pairs,)
        Inner products of their footprints.
    groups : list of int64 ndarray
        Rows of the cells that overlap directly or through others, in the order of their Cholesky factor.
    factors : list of float64 ndarray, shape (n_group, n_group)
        Lower Cholesky factor of the inner products of each group.
    leader : int64 ndarray, shape (n_rois,)
        The row whose value the cell takes because they cannot be told apart; its own otherwise.

    Notes
    -----
    Footprints are scaled so that the projection of an even image on them is that image: a = w sum(w) / sum(w^2), and
    a'y / a'a is the mean of y weighted with w.
    """

    norm: NDArray[np.float64]
    one: NDArray[np.int64]
    other: NDArray[np.int64]
    product: NDArray[np.float64]
    groups: list[NDArray[np.int64]]
    factors: list[NDArray[np.float64]]
    leader: NDArray[np.int64]

    def inseparable(self) -> list[tuple[int, int]]:
        """Pairs of rows (the one that is read, the one that takes its value)."""
        return [(int(self.leader[row]), int(row)) for row in np.flatnonzero(self.leader != np.arange(len(self.leader)))]

    def condition_number(self) -> float:
        """Largest ratio of eigenvalues of A'A in one group, footprints of length 1; 1 where nothing overlaps."""
        worst = 1.0
        for factor in self.factors:
            lower = np.tril(factor)
            gram = lower @ lower.T
            scale = 1.0 / np.sqrt(np.diag(gram))
            worst = max(worst, float(np.linalg.cond(gram * scale[:, None] * scale[None, :])))
        return worst


def find_overlap(masks: MaskFields) -> Overlap:
    """Overlap of the footprints of a plane; the same on every machine.

    Of cells whose footprints have a cosine above 0.9, and of a cell whose footprint is nearly a sum of others', the
    later one takes the value of the earlier: the calibration lists the better cell first.
    """
    n_rois = len(masks.roi_start) - 1
    weight = weights_of(masks)
    owner = np.repeat(np.arange(n_rois), np.diff(masks.roi_start))
    total = np.bincount(owner, weight, n_rois).astype(np.float64)
    square = np.bincount(owner, weight * weight, n_rois).astype(np.float64)
    scale = np.divide(total, square, out=np.zeros(n_rois), where=square > 0)
    one, other, product = _shared(owner, masks.roi_pixels, weight)
    product = product * scale[one] * scale[other]
    norm = total * scale
    leader = np.arange(n_rois)
    cosine = product / np.sqrt(norm[one] * norm[other])
    for i, j in zip(one[cosine > INSEPARABLE], other[cosine > INSEPARABLE], strict=True):
        if leader[i] == i and leader[j] == j:
            leader[j] = i
    while True:
        groups, factors, dependent = _factorise(norm, one, other, product, leader)
        if dependent is None:
            return Overlap(norm, one, other, product, groups, factors, leader)
        leader[dependent] = _closest(dependent, one, other, cosine, leader)
        leader[leader == dependent] = leader[dependent]


def _shared(
    owner: NDArray[np.int64], pixels: NDArray[np.uint32], weight: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of cells with a pixel in common, and the sum of the products of their weights there."""
    order = np.lexsort((owner, pixels))
    pixel, cell, value = pixels[order], owner[order], weight[order]
    n_cells = int(owner.max()) + 1 if len(owner) else 1
    keys, products = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    step = 1
    while True:
        same = np.flatnonzero(pixel[step:] == pixel[:-step]) if step < len(pixel) else np.zeros(0, np.int64)
        if len(same) == 0:
            break
        keys.append(cell[same] * n_cells + cell[same + step])
        products.append(value[same] * value[same + step])
        step += 1
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    summed = np.bincount(which, np.concatenate(products), len(pairs)).astype(np.float64)
    return pairs // n_cells, pairs % n_cells, summed


def _factorise(
    norm: NDArray[np.float64],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    product: NDArray[np.float64],
    leader: NDArray[np.int64],
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]], int | None]:
    """Groups, their factors, and the first cell that is a combination of others."""
    n_rois = len(norm)
    leads = leader == np.arange(n_rois)
    used = leads[one] & leads[other]
    i, j, value = one[used], other[used], product[used]
    graph = coo_array((np.r_[value, value], (np.r_[i, j], np.r_[j, i])), shape=(n_rois, n_rois)).tocsr()
    _, part = connected_components(graph, directed=False)
    members = np.argsort(part, kind="stable")
    groups, factors = [], []
    for rows in np.split(members, np.flatnonzero(np.diff(part[members])) + 1):
        if len(rows) < 2:
            continue
        inner = graph[rows][:, rows].tocsr()
        group = rows[reverse_cuthill_mckee(inner, symmetric_mode=True)]
        matrix = np.ascontiguousarray(graph[group][:, group].toarray(), np.float64)
        matrix[np.diag_indices(len(group))] = norm[group]
        failed = int(cholesky(matrix, LEAST_PIVOT))
        if failed >= 0:
            return [], [], int(group[failed])
        groups.append(group.astype(np.int64))
        factors.append(matrix)
    return groups, factors, None


def _closest(
    row: int, one: NDArray[np.int64], other: NDArray[np.int64], cosine: NDArray[np.float64], leader: NDArray[np.int64]
) -> int:
    """The cell of its own whose footprint is most like that of `row`."""
    partner = np.where(one == row, other, one)
    candidate = ((one == row) | (other == row)) & (leader[partner] == partner)
    best = np.flatnonzero(candidate)[np.argmax(cosine[candidate])]
    return int(partner[best])

"""Influence maps: what lighting one cell does to the others (Chettih & Harvey 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.effects.false_discovery import adjusted_p

N_PERMUTATIONS = 499


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceMap:
    """One row for each pair of a lit cell and another cell far enough from it.

    Attributes
    ----------
    target, cell : int64 ndarray, shape (n_pairs,)
        Site of the target, row of the other cell.
    influence : float64 ndarray, shape (n_pairs,)
        Mean response minus that at control sites, in standard deviations of the control trials.
    p, q : float64 ndarray, shape (n_pairs,)
        By permutation, and adjusted for the false discovery rate.
    distance_um : float64 ndarray, shape (n_pairs,)
    """

    target: NDArray[np.int64]
    cell: NDArray[np.int64]
    influence: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    distance_um: NDArray[np.float64]


def influence_map(
    response: NDArray[np.floating],
    site: NDArray[np.int64],
    is_control: NDArray[np.bool_],
    distance_um: NDArray[np.float64],
    exclude_um: float,
    seed: int,
    n_permutations: int = N_PERMUTATIONS,
) -> InfluenceMap:
    """Influence of every lit cell on every other, with a permutation test.

    Parameters
    ----------
    response : float ndarray, shape (n_trials, n_rois), read
        NaN where a cell had no valid sample: it counts in no mean.
    site : int64 ndarray, shape (n_trials,), read
        Which site was lit.
    is_control : bool ndarray, shape (n_sites,), read
    distance_um : float64 ndarray, shape (n_sites, n_rois), read
    exclude_um : float
        Pairs nearer than this are left out: light may have hit them.
    seed : int
    n_permutations : int

    Returns
    -------
    InfluenceMap

    Notes
    -----
    influence_ij = (mean response of j when i is lit - mean of j at control sites) / SD of j at control sites. The
    statistic of the test is that difference in its standard error; trials change places over the whole session, which
    is the mechanism of shuffled rounds up to their boundaries; p is the share of permuted statistics of *all* pairs
    that are as large, so that p can be smaller than 1/permutations: it takes the pairs' statistics as alike under no
    effect, which studentising makes them.
    """
    filled = np.nan_to_num(np.asarray(response, np.float64))
    known = np.isfinite(response).astype(np.float64)
    targets = np.flatnonzero(~is_control)
    far = distance_um[targets] >= exclude_um
    observed, influence = _statistics(filled, known, site, is_control)
    random = np.random.Generator(np.random.PCG64([seed, 8]))
    null = np.concatenate(
        [
            np.abs(_statistics(filled, known, random.permutation(site), is_control)[0][far])
            for _ in range(n_permutations)
        ]
        or [np.zeros(0)]
    )
    null = np.sort(null[np.isfinite(null)])
    usable = far & np.isfinite(observed)
    value = np.abs(observed[usable])
    p = (1 + len(null) - np.searchsorted(null, value, side="left")) / (1 + len(null))
    row, cell = np.nonzero(usable)
    return InfluenceMap(targets[row], cell, influence[usable], p, adjusted_p(p), distance_um[targets[row], cell])


def _statistics(
    filled: NDArray[np.float64], known: NDArray[np.float64], site: NDArray[np.int64], is_control: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Studentised difference and influence, each shape (n_targets, n_rois)."""
    at_target = np.stack([site == one for one in np.flatnonzero(~is_control)]).astype(np.float64)
    control = is_control[site].astype(np.float64)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        n, n_control = at_target @ known, control @ known
        mean, mean_control = at_target @ filled / n, control @ filled / n_control
        square = control @ (filled**2) / n_control - mean_control**2
        sd = np.sqrt(np.maximum(square, 0) * n_control / (n_control - 1))
        influence = (mean - mean_control) / sd
        return influence / np.sqrt(1 / n + 1 / n_control), influence

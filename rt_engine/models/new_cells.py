"""Cells that the calibration does not know: what is left of a registered movie when all known light is taken out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from rt_engine.models.cells import MAX_RADIUS, NOISE_BINS, SOMA_UM, first_background, judged
from rt_engine.models.cnmf import (
    Components,
    components_from_traces,
    update_background,
    update_footprints,
    update_traces,
)
from rt_engine.models.local_nmf import Candidate, discover
from rt_engine.models.merging import same_cell
from rt_engine.models.seeds import noise_sd

MAX_NEW = 32
"""Components looked for in one search."""
KNOWN_QUIET_SD = 2.0


class NewCell(NamedTuple):
    """``pixels`` : uint32 ndarray, flat indices of the mask, ascending; ``quality`` : 0 to 1."""

    pixels: NDArray[np.uint32]
    quality: float


def find_new_cells(movie: NDArray[np.float32], known: list[NDArray[np.uint32]], diameter_px: float) -> list[NewCell]:
    """Active cells that are none of the known ones, best first.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), C order, counts
        Registered and binned in time; overwritten.
    known : list of uint32 ndarray
        Flat pixel indices of the cells that are read already.
    diameter_px : float
        Expected diameter of a cell.

    Returns
    -------
    list of NewCell

    Notes
    -----
    Known cells get footprints of the recent past by spatial HALS (for this search alone; they go on being read as
    calibrated), background and all that follows their traces are taken out, and the rest is searched as a baseline is
    (`cells.find_cells`): seeds, HALS over known and new together, the same limits. A component that is one with a known
    cell, by footprint or by traces, is that cell's and not new.
    """
    mean = movie.mean(axis=0)
    movie -= mean
    background = first_background(movie, mean, SOMA_UM / diameter_px)
    cells, centres = _known_components(movie, known, diameter_px)
    n_known = len(cells)
    residual = movie.copy()
    for k in range(n_known):
        _take_out(residual, cells, k)
    found = discover(residual, diameter_px, MAX_NEW, lambda done: None)
    del residual
    if not found:
        return []
    cells, centres = _joined(movie, cells, centres, found, diameter_px)
    noise = gaussian_filter(noise_sd(movie[:: max(1, len(movie) // NOISE_BINS)]), 0.5 * diameter_px)
    for _ in range(2):
        update_footprints(movie, cells, centres)
        update_traces(movie, cells)
        cells, centres = _without_known(cells, centres, n_known, diameter_px)
        update_background(movie, cells, background)
    update_footprints(movie, cells, centres)
    update_traces(movie, cells)
    nothing = np.zeros(mean.shape, np.float32)
    new = judged(movie, cells, noise, diameter_px, nothing, len(cells), first=n_known)
    return [NewCell(pixels, float(quality)) for pixels, quality in zip(new.footprints, new.quality, strict=True)]


def _known_components(
    movie: NDArray[np.float32], known: list[NDArray[np.uint32]], diameter_px: float
) -> tuple[Components, NDArray[np.int64]]:
    """Known cells with footprints and traces as they are in this movie."""
    shape = (movie.shape[1], movie.shape[2])
    flat = movie.reshape(len(movie), -1)
    traces = np.zeros((len(known), len(movie)), np.float32)
    centres = np.zeros((len(known), 2), np.int64)
    for k, pixels in enumerate(known):
        trace = flat[:, pixels].mean(axis=1)
        trace -= np.median(trace)
        sd = float(np.median(np.abs(np.diff(trace)))) / 0.9539
        traces[k] = np.where(trace > KNOWN_QUIET_SD * sd, trace, np.float32(0.0))
        centres[k] = int(np.mean(pixels // shape[1])), int(np.mean(pixels % shape[1]))
    cells = components_from_traces(shape, traces, centres, int(np.ceil(MAX_RADIUS * diameter_px)) + 1)
    if len(known):
        update_footprints(movie, cells)
        update_traces(movie, cells)
    return cells, centres


def _take_out(movie: NDArray[np.float32], cells: Components, k: int) -> None:
    """Take all that follows a component's trace out of its window, its rims too."""
    trace = cells.unclipped[k]
    energy = float(trace @ trace)
    if energy <= 0.0 or not cells.footprints[k].any():
        return
    (y, x), (lines, pixels) = cells.corners[k], cells.size
    window = movie[:, y : y + lines, x : x + pixels]
    window -= trace[:, None, None] * np.tensordot(trace / energy, window, axes=1).astype(np.float32)


def _joined(
    movie: NDArray[np.float32],
    cells: Components,
    centres: NDArray[np.int64],
    found: list[Candidate],
    diameter_px: float,
) -> tuple[Components, NDArray[np.int64]]:
    """Known and found components in one factorisation; footprints of the found ones are still to be fitted."""
    of_found = np.zeros((len(found), 2), np.int64)
    for k, candidate in enumerate(found):
        y, x = np.indices(candidate.footprint.shape)
        weight = candidate.footprint / candidate.footprint.sum()
        of_found[k] = candidate.corner + np.rint([(y * weight).sum(), (x * weight).sum()]).astype(np.int64)
    traces = np.concatenate([cells.traces, np.stack([candidate.trace for candidate in found])])
    centres = np.concatenate([centres, of_found])
    shape = (movie.shape[1], movie.shape[2])
    joined = components_from_traces(shape, traces, centres, int(np.ceil(MAX_RADIUS * diameter_px)) + 1)
    joined.footprints[: len(cells)] = cells.footprints
    return joined, centres


def _without_known(
    cells: Components, centres: NDArray[np.int64], n_known: int, diameter_px: float
) -> tuple[Components, NDArray[np.int64]]:
    """Drop new components that are one with a known cell, or with a stronger new one."""
    length = np.sqrt(np.einsum("kyx,kyx->k", cells.footprints, cells.footprints)).astype(np.float64)
    keep = np.ones(len(cells), bool)
    for k in range(n_known, len(cells)):
        near = np.flatnonzero(keep[:k] & (np.abs(centres[:k] - centres[k]).max(axis=1) < 2 * diameter_px))
        keep[k] = not any(same_cell(cells, centres, length, k, int(j), diameter_px) for j in near)
    return cells.take(keep), centres[keep]

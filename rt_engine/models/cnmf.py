"""Constrained non-negative factorisation of a binned movie: footprints, traces and regional background in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rt_engine.models.local_nmf import connected_footprint
from rt_engine.models.regional_background import RegionalBackground

N_SWEEPS = 3
QUIET_SD = 2.0
"""Bins of a trace below this many noise SD count as silence (a penalty on the number of active bins, not on their
height): rectified noise would grow into the footprint."""
DIFFERENCE_TO_SD = 0.9539
"""Median of |difference of two standard normal numbers|."""


@dataclass(slots=True, eq=False)
class Components:
    """Cells of a factorisation; windows are alike in size and inside the field.

    Attributes
    ----------
    footprints : float32 ndarray, shape (n_cells, n_window_lines, n_window_pixels)
        Non-negative, counts per unit of trace; zero outside the cell.
    corners : int64 ndarray, shape (n_cells, 2)
        Line and pixel of each window's first pixel.
    traces : float32 ndarray, shape (n_cells, n_bins)
        Non-negative, most bins zero.
    unclipped : float32 ndarray, shape (n_cells, n_bins)
        Traces before silence is set to zero; median 0.
    noise : float32 ndarray, shape (n_cells,)
        Standard deviation of `unclipped` in silence.
    """

    footprints: NDArray[np.float32]
    corners: NDArray[np.int64]
    traces: NDArray[np.float32]
    unclipped: NDArray[np.float32]
    noise: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.footprints)

    @property
    def size(self) -> tuple[int, int]:
        """Lines and pixels of a window."""
        return self.footprints.shape[1], self.footprints.shape[2]

    def take(self, keep: NDArray[np.integer] | NDArray[np.bool_]) -> Components:
        """Some of the components, in the order of `keep`."""
        return Components(
            self.footprints[keep], self.corners[keep], self.traces[keep], self.unclipped[keep], self.noise[keep]
        )


def components_from_traces(
    shape: tuple[int, int], traces: NDArray[np.float32], centres_yx_px: NDArray[np.int64], half_px: int
) -> Components:
    """Components without footprints yet; windows are ``2 * half_px + 1`` wide, moved inwards at the border."""
    size = (min(2 * half_px + 1, shape[0]), min(2 * half_px + 1, shape[1]))
    limits = np.array([shape[0] - size[0], shape[1] - size[1]])
    corners = np.clip(centres_yx_px - half_px, 0, limits)
    footprints = np.zeros((len(traces), *size), np.float32)
    return Components(footprints, corners, traces.copy(), traces.copy(), np.ones(len(traces), np.float32))


def update_footprints(
    movie: NDArray[np.float32], cells: Components, centres_yx_px: NDArray[np.int64] | None = None
) -> None:
    """Non-negative footprints that explain the movie from given traces: spatial HALS.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts, read
        Background taken out, or not: traces are centred, and what they do not explain stays out.
    cells : Components
        Footprints are the start, and are overwritten.
    centres_yx_px : int64 ndarray, shape (n_cells, 2), optional
        If given, every footprint is cut to the part connected with its centre.
    """
    centred = cells.traces - cells.traces.mean(axis=1, keepdims=True)
    gram = centred @ centred.T
    size = cells.size
    projected = np.empty_like(cells.footprints)
    for k, (y, x) in enumerate(cells.corners):
        window = movie[:, y : y + size[0], x : x + size[1]].reshape(len(movie), -1)
        projected[k] = (centred[k] @ window).reshape(size)
    around = [neighbours(cells.corners, k, size) for k in range(len(cells))]
    for sweep in range(N_SWEEPS + 1):
        for k in range(len(cells)):
            if gram[k, k] <= 0.0:
                cells.footprints[k] = 0.0
                continue
            explained = np.zeros(size, np.float32)
            for j in around[k]:
                mine, theirs = overlap(cells.corners[k], cells.corners[j], size)
                explained[mine] += gram[k, j] * cells.footprints[j][theirs]
            new = np.maximum((projected[k] - explained) / gram[k, k], 0.0)
            if centres_yx_px is not None and sweep == N_SWEEPS:
                centre = centres_yx_px[k] - cells.corners[k]
                new = connected_footprint(new, (int(centre[0]), int(centre[1])))
            cells.footprints[k] = new


def update_traces(movie: NDArray[np.float32], cells: Components) -> None:
    """Traces from given footprints: temporal HALS with silence between events.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts, read
        Background taken out.
    cells : Components
        Traces are the start, and are overwritten.
    """
    size = cells.size
    flat = cells.footprints.reshape(len(cells), -1)
    power = np.einsum("kp,kp->k", flat, flat)
    projected = np.empty((len(cells), len(movie)), np.float32)
    for k, (y, x) in enumerate(cells.corners):
        projected[k] = movie[:, y : y + size[0], x : x + size[1]].reshape(len(movie), -1) @ flat[k]
    couplings = [_couplings(cells, k) for k in range(len(cells))]
    for _ in range(N_SWEEPS):
        for k, (others, strength) in enumerate(couplings):
            if power[k] <= 0.0:
                cells.traces[k] = cells.unclipped[k] = 0.0
                continue
            full = projected[k] - strength @ cells.traces[others] if len(others) else projected[k].copy()
            full /= power[k]
            full -= np.median(full)
            sd = float(np.median(np.abs(np.diff(full)))) / DIFFERENCE_TO_SD
            cells.unclipped[k] = full
            cells.noise[k] = max(sd, 1e-12)
            cells.traces[k] = np.where(full > QUIET_SD * sd, full, np.float32(0.0))


def update_background(movie: NDArray[np.float32], cells: Components, background: RegionalBackground) -> None:
    """Fit the background anew with the light of the cells taken out; the movie follows, in place."""
    background.add_to(movie)
    centred = cells.traces - cells.traces.mean(axis=1, keepdims=True)
    shadow = np.stack([background.project_window(a, int(y), int(x)) for a, (y, x) in _placed(cells)])
    of_cells = np.tensordot(centred.T, shadow, axes=1).astype(np.float32)
    background.fit_traces(movie, of_cells)
    light = np.zeros(movie.shape[1:], np.float32)
    together = np.tensordot(centred, background.traces, axes=1).astype(np.float32)
    for k, (a, (y, x)) in enumerate(_placed(cells)):
        blended = background.blend_window(together[k], int(y), int(x), cells.size)
        light[y : y + cells.size[0], x : x + cells.size[1]] += a * blended
    background.fit_weight(movie, light)
    background.remove_from(movie)


def neighbours(corners: NDArray[np.int64], k: int, size: tuple[int, int]) -> NDArray[np.int64]:
    """Components whose windows share pixels with that of k."""
    distance = np.abs(corners - corners[k])
    near = (distance[:, 0] < size[0]) & (distance[:, 1] < size[1])
    near[k] = False
    return np.flatnonzero(near)


def overlap(
    mine: NDArray[np.int64], theirs: NDArray[np.int64], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The common part of two windows, in the coordinates of each."""
    first = np.maximum(mine, theirs)
    end = np.minimum(mine, theirs) + np.array(size)

    def part(corner: NDArray[np.int64]) -> tuple[slice, slice]:
        low, high = first - corner, end - corner
        return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))

    return part(mine), part(theirs)


def shared_light(cells: Components, k: int, j: int) -> float:
    """Inner product of two footprints in the field."""
    mine, theirs = overlap(cells.corners[k], cells.corners[j], cells.size)
    return float(np.sum(cells.footprints[k][mine] * cells.footprints[j][theirs]))


def _couplings(cells: Components, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    near = neighbours(cells.corners, k, cells.size)
    strength = np.array([shared_light(cells, k, int(j)) for j in near], np.float32)
    return near[strength > 0.0], strength[strength > 0.0]


def _placed(cells: Components) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    return list(zip(cells.footprints, cells.corners, strict=True))

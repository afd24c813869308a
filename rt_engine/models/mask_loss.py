"""What is missing from the scale of noise when whatever looks like activity has been left out."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from rt_engine.models.noise import lower_half_scale

FloatArray = NDArray[np.float64]

N_FRAMES = 1_000_000
MARGIN_FRAMES = 2  # before the frame of an event
_SEED = 1


class Mask(NamedTuple):
    """What is left out: from `MARGIN_FRAMES` before a frame whose decision, `hold_frames` later, has a z of at least
    `smallest_z`, until `n_after` frames after the decision; and every window of `n_window` frames with any of these.
    ``centred``: z is taken about the median of what is left, else about 0.
    """

    smallest_z: float
    hold_frames: int
    n_after: int
    n_window: int
    centred: bool


def clear_windows(busy: NDArray[np.bool_], n_window: int) -> NDArray[np.bool_]:
    """Frames that end a window of `n_window` frames none of which is busy, shape of `busy`: (n_frames, n_rois)."""
    count = np.cumsum(np.concatenate([np.zeros((1, busy.shape[1]), np.int32), busy.astype(np.int32)]), axis=0)
    clear = np.zeros_like(busy)
    clear[n_window - 1 :] = count[n_window:] == count[:-n_window]
    return clear


def scale_left(taps: FloatArray, masks: list[Mask]) -> FloatArray:
    """Share of its true scale that `noise.lower_half_scale` finds in filtered white noise once the mask is applied.

    Parameters
    ----------
    taps : float64 ndarray, shape (n_taps, n_rois), newest sample last
        Filter whose output z is.
    masks : list of Mask, one a cell

    Returns
    -------
    float64 ndarray, shape (n_rois,)
        A little below 1: noise that reaches the mask takes large values of both signs with it, because a filter that
        is blind to the baseline swings back.

    Notes
    -----
    By simulation of the rule over `N_FRAMES`, the same noise in every call, against the scale of that noise without the
    mask: so the chance of the simulation nearly cancels.
    """
    columns = np.ascontiguousarray(taps.T, np.float64)
    return np.array([_left(column.tobytes(), mask) for column, mask in zip(columns, masks, strict=True)])


@lru_cache(maxsize=1)
def _noise() -> FloatArray:
    return np.random.default_rng(_SEED).standard_normal(N_FRAMES)


@lru_cache(maxsize=1024)
def _left(taps: bytes, mask: Mask) -> float:
    filter_taps = np.frombuffer(taps)
    z = lfilter(filter_taps[::-1] / np.sqrt(filter_taps @ filter_taps), 1.0, _noise())[:, None]
    decided = np.flatnonzero(z[:, 0] >= mask.smallest_z)
    edges = np.zeros(N_FRAMES + 1, np.int32)
    np.add.at(edges, np.maximum(decided - mask.hold_frames - MARGIN_FRAMES, 0), 1)
    np.add.at(edges, np.minimum(decided + mask.n_after, N_FRAMES), -1)
    clear = clear_windows((np.cumsum(edges[:-1]) > 0)[:, None], mask.n_window)
    centre = np.median(z[clear]) if mask.centred and clear.any() else 0.0
    kept = float(lower_half_scale(z - centre, clear)[0])
    whole = float(lower_half_scale(z, np.ones(z.shape, np.bool_))[0])
    return kept / whole if np.isfinite(kept) else 1.0

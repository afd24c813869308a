"""Places far from every known cell, for light that shall hit nobody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rt_engine.interfaces.errors import ConfigError

_GRID = 160


def place_sites(
    centroid_yx_px: NDArray[np.float64], um_per_px: float | None, n: int, min_distance_um: float, key: str
) -> tuple[tuple[float, float], ...]:
    """Sites inside the extent of the cells, the emptiest place first.

    Parameters
    ----------
    centroid_yx_px : float64 ndarray, shape (n_rois, 2), template px, read
    um_per_px : float or None
    n : int
    min_distance_um : float
        To the nearest cell, and half of it between sites.
    key : str
        Key of the protocol file, for the message.

    Returns
    -------
    tuple of (float, float)
        Positions (y, x), template px; the same cells give the same sites. Fewer than `n` where there is no more room.

    Raises
    ------
    ConfigError
        The pixel size is unknown, or there is no room for a single site.
    """
    if um_per_px is None:
        raise ConfigError("the pixel size is unknown", "set um_per_px of the microscope", key=key)
    if len(centroid_yx_px) == 0:
        return ()
    low, high = centroid_yx_px.min(axis=0), centroid_yx_px.max(axis=0)
    axes = [np.linspace(a, b, _GRID) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    clear_px = cKDTree(centroid_yx_px).query(places)[0]
    chosen: list[tuple[float, float]] = []
    best_um = float(clear_px.max()) * um_per_px
    while len(chosen) < n:
        at = int(np.argmax(clear_px))
        if clear_px[at] * um_per_px < min_distance_um:
            break
        chosen.append((float(places[at, 0]), float(places[at, 1])))
        near = np.hypot(*(places - places[at]).T) * um_per_px < min_distance_um / 2
        clear_px[near] = -1.0
    if not chosen:
        raise ConfigError(
            f"no place is {min_distance_um:g} um from every cell; the emptiest is {best_um:.0f} um away",
            "lower min_distance_um",
            key=f"{key}.min_distance_um",
        )
    return tuple(chosen)

"""Pixels inside an outline that was drawn by hand."""

from __future__ import annotations

import numpy as np


def pixels_inside(corners_yx_px: list[tuple[float, float]], shape: tuple[int, int]) -> list[int]:
    """Flat indices ``y * n_pixels + x`` of the pixels whose centre lies inside a polygon.

    Parameters
    ----------
    corners_yx_px : list of (float, float)
        Corners in order; the last is joined to the first. Pixel (y, x) has its centre at (y + 0.5, x + 0.5).
    shape : (int, int)
        Lines and pixels of the field.

    Returns
    -------
    list of int
        Ascending; empty for fewer than three corners.

    Notes
    -----
    Even-odd rule: a ray along x from the centre crosses the outline an odd number of times.
    """
    if len(corners_yx_px) < 3:
        return []
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    inside = np.zeros(shape, np.bool_)
    ends = np.asarray(corners_yx_px, np.float64)
    for (y0, x0), (y1, x1) in zip(ends, np.roll(ends, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return [int(one) for one in np.flatnonzero(inside)]

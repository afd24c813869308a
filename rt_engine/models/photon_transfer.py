"""Detector offset and gain from how the variance of pixels grows with their mean (photon transfer)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_LEVELS = 40
MIN_RISE = 0.1
"""The variance must rise over the field by this part of its median, else there is nothing to extrapolate."""
MAX_PART_OF_DARK = 0.9
"""The offset never exceeds this part of the way from 0 to the darkest signal that has to stay positive."""


@dataclass(frozen=True, slots=True)
class PhotonTransfer:
    """Fit of ``variance = gain * (mean - offset)``.

    Attributes
    ----------
    gain_counts : float
        Counts per photon; 0 if the fit failed.
    offset_counts : float
    fitted : bool
        False if the offset is a bound rather than the fit.
    """

    gain_counts: float
    offset_counts: float
    fitted: bool


def photon_transfer(mean: NDArray[np.float32], variance: NDArray[np.float32], darkest_counts: float) -> PhotonTransfer:
    """Offset at which the variance would vanish, bounded so that fluorescence stays positive.

    Parameters
    ----------
    mean : float32 ndarray, shape (n_lines, n_pixels), counts, read
    variance : float32 ndarray, shape (n_lines, n_pixels), counts^2, read
        Of one frame, from differences of successive frames.
    darkest_counts : float
        Smallest mean that must stay above the offset: the darkest cell, or the darkest part of the field.

    Returns
    -------
    PhotonTransfer

    Notes
    -----
    Var = G (mean - offset) + read noise^2; the read noise, which cannot be told from the offset here, moves the
    estimate down by read noise^2 / G. Levels of equal pixel number, medians within each, weights ~ 1 / variance^2.
    Without a usable fit (the variance does not rise with the mean) the offset is the smaller of 0 and the bound.
    """
    order = np.argsort(mean, axis=None)
    levels = [part for part in np.array_split(order, N_LEVELS) if len(part)]
    x = np.array([np.median(mean.ravel()[part]) for part in levels])
    y = np.array([np.median(variance.ravel()[part]) for part in levels])
    bound = darkest_counts - (1.0 - MAX_PART_OF_DARK) * abs(darkest_counts)
    usable = y > 0.0
    if usable.sum() < 3 or np.ptp(x[usable]) <= 0.0:
        return PhotonTransfer(0.0, min(0.0, bound), False)
    slope, intercept = np.polyfit(x[usable], y[usable], 1, w=1.0 / y[usable])
    if slope * np.ptp(x[usable]) < MIN_RISE * np.median(y[usable]):
        return PhotonTransfer(0.0, min(0.0, bound), False)
    offset = -intercept / slope
    return PhotonTransfer(float(slope), float(min(offset, bound)), bool(offset <= bound))

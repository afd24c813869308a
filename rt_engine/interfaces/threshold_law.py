"""What a threshold costs and what it finds: enough to move it without the recording that it was made from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

N_PEAKS = 101
KAPPA_STEP = 0.25
N_KAPPA = 41
"""Heights of symmetric noise, 0 to 10, at which the rate of false events is tabulated."""
_LOWEST = 2
"""Rates are looked up from this entry on: below, they no longer fall with the height."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThresholdLaw:
    """False events and detection of every cell as functions of the threshold.

    Attributes
    ----------
    skewness : float64 ndarray, shape (n_rois,)
        Of z under noise: the threshold z = kappa + skewness (kappa^2 - 1) / 6 is crossed as often as kappa is by
        symmetric noise.
    log_rate : float64 ndarray, shape (N_KAPPA, n_rois)
        Logarithm of the events a minute that noise raises at kappa = 0, 0.25, ... 10.
    peaks : float64 ndarray, shape (N_PEAKS, n_rois)
        Quantiles (0, 1, ... 100 %) over isolated spikes of the largest z in the frames that may tell them: the part
        above a threshold is the probability of detection there.
    """

    skewness: FloatArray
    log_rate: FloatArray
    peaks: FloatArray

    def threshold(self, false_alarms_per_min: float) -> FloatArray:
        """z of every cell at a rate of false events, shape (n_rois,); NaN where nothing is known."""
        falling = self.log_rate[_LOWEST:]
        at = np.clip((falling > np.log(false_alarms_per_min)).sum(axis=0) - 1, 0, len(falling) - 2)
        rows = np.arange(falling.shape[1])
        above, below = falling[at, rows], falling[at + 1, rows]
        part = (above - np.log(false_alarms_per_min)) / (above - below)
        kappa = KAPPA_STEP * (_LOWEST + at + np.clip(part, 0.0, 1.0))
        return np.asarray(kappa + self.skewness * (kappa**2 - 1) / 6)

    def false_alarms_per_min(self, threshold: NDArray[np.floating]) -> FloatArray:
        """Rate of false events of every cell at its threshold, shape (n_rois,)."""
        skew = self.skewness
        root = np.sqrt(np.maximum(9.0 + 6.0 * skew * threshold + skew**2, 0.0))
        kappa = np.where(np.abs(skew) > 1e-9, (6.0 * threshold + skew) / (3.0 + root), threshold)
        place = np.clip(np.nan_to_num(kappa) / KAPPA_STEP, 0.0, N_KAPPA - 1.001)
        at, rows = place.astype(np.int64), np.arange(len(skew))
        below, above = self.log_rate[at, rows], self.log_rate[at + 1, rows]
        return np.exp(below + (place - at) * (above - below))

    def detection(self, threshold: NDArray[np.floating]) -> FloatArray:
        """Probability that one isolated spike reaches the threshold of its cell, shape (n_rois,)."""
        at = np.clip((self.peaks < threshold).sum(axis=0) - 1, 0, N_PEAKS - 2)
        rows = np.arange(self.peaks.shape[1])
        low, high = self.peaks[at, rows], self.peaks[at + 1, rows]
        part = np.clip((threshold - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        return np.asarray(1.0 - (at + part) / (N_PEAKS - 1))


def unknown_law(n_rois: int) -> ThresholdLaw:
    """NaN for every cell."""
    return ThresholdLaw(
        skewness=np.full(n_rois, np.nan),
        log_rate=np.full((N_KAPPA, n_rois), np.nan),
        peaks=np.full((N_PEAKS, n_rois), np.nan),
    )


def joined_laws(*laws: ThresholdLaw) -> ThresholdLaw:
    """The cells of several, one after the other."""
    return ThresholdLaw(
        **{
            field.name: np.concatenate([getattr(law, field.name) for law in laws], axis=-1)
            for field in fields(ThresholdLaw)
        }
    )

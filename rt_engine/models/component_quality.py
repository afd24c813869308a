"""Is a component a cell? Numbers, limits, and the reason of each that is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter

from rt_engine.models.cnmf import Components, neighbours, overlap
from rt_engine.models.seeds import ACTIVE_Z, min_score

MIN_AREA, MAX_AREA = 0.4, 2.2
"""Limits of a cell's area, relative to a disc of the expected diameter."""
MIN_AREA_BRIGHT, BRIGHT = 0.25, 8.0
"""A smaller one is a cell only if its events are this strong, in units of what noise does not reach: dim ones are
puncta and bits of dendrites."""
MIN_EVENT_SNR = 2.5
"""In units of what noise does not reach."""
MIN_SPATIAL_CORRELATION = 0.8
MIN_SOMA_LIKENESS = 0.65
MIN_ROUNDNESS = 0.45
SMOOTHING_PX = 0.8
SOMA_DIAMETERS = (0.7, 0.85, 1.0, 1.15, 1.3)
"""Discs that a footprint is compared with, in expected diameters."""


class Dropped(StrEnum):
    """Why a candidate is no cell; the first that applies, in this order."""

    EMPTY = "nothing left once its neighbours are explained"
    SMALL = "too small"
    LARGE = "too large"
    WEAK = "events too weak"
    INCONSISTENT = "events do not look like its footprint"
    NOT_ROUND = "not the shape of a soma"


QUALITY_NUMBERS = ("event_snr", "spatial_correlation", "area", "soma_likeness", "roundness")
"""Columns of `Calibration.quality_numbers`."""


@dataclass(frozen=True, slots=True)
class ComponentQuality:
    """Numbers of one component.

    Attributes
    ----------
    event_snr : float
        Root of the summed squares of all bins above 3 noise SD, in noise SD.
    spatial_correlation : float
        Of the footprint with the mean image of its events, the light of all other components taken out.
    area : float
        Of the mask, relative to a disc of the expected diameter.
    soma_likeness : float
        Correlation of that image with the disc, of 0.7 to 1.3 expected diameters, that fits best.
    roundness : float
        How round, compact, and alone in its window the mask is; 0 to 1.
    """

    event_snr: float
    spatial_correlation: float
    area: float
    soma_likeness: float
    roundness: float

    def dropped(self, n_bins: int) -> Dropped | None:
        """The reason to drop the component, None if it is a cell."""
        if self.area <= 0.0:
            return Dropped.EMPTY
        is_bright = self.event_snr >= BRIGHT * min_score(n_bins)
        if self.area < (MIN_AREA_BRIGHT if is_bright else MIN_AREA):
            return Dropped.SMALL
        if self.area > MAX_AREA:
            return Dropped.LARGE
        if self.event_snr < MIN_EVENT_SNR * min_score(n_bins):
            return Dropped.WEAK
        if self.spatial_correlation < MIN_SPATIAL_CORRELATION:
            return Dropped.INCONSISTENT
        if self.soma_likeness < MIN_SOMA_LIKENESS or self.roundness < MIN_ROUNDNESS:
            return Dropped.NOT_ROUND
        return None

    def overall(self, n_bins: int) -> float:
        """0 to 1: geometric mean of strength, consistency and shape."""
        strength = 1.0 - float(np.exp(-self.event_snr / (3.0 * min_score(n_bins))))
        consistency = max(0.0, self.spatial_correlation)
        return float((strength * consistency * max(0.0, self.soma_likeness)) ** (1.0 / 3.0))


NOTHING = ComponentQuality(0.0, 0.0, 0.0, 0.0, 0.0)


def component_quality(
    movie: NDArray[np.float32], cells: Components, k: int, mask: NDArray[np.bool_], diameter_px: float
) -> ComponentQuality:
    """Judge one component.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts, read
        Background taken out.
    cells : Components
    k : int
    mask : bool ndarray, shape of a window
        The component's binary mask.
    diameter_px : float
    """
    if not mask.any() or not cells.traces[k].any():
        return NOTHING
    image = event_image(movie, cells, k)
    smooth = gaussian_filter(image, SMOOTHING_PX)
    z = cells.unclipped[k] / cells.noise[k]
    return ComponentQuality(
        event_snr=float(np.sqrt(np.sum(np.where(z > ACTIVE_Z, z, 0.0) ** 2))),
        spatial_correlation=_correlation(smooth, cells.footprints[k]),
        area=float(mask.sum()) / (np.pi / 4.0 * diameter_px**2),
        soma_likeness=_soma_likeness(smooth, gaussian_filter(cells.footprints[k], SMOOTHING_PX), diameter_px),
        roundness=_roundness(cells.footprints[k], mask),
    )


def event_image(movie: NDArray[np.float32], cells: Components, k: int) -> NDArray[np.float32]:
    """Regression of the window on a component's trace, without the light of the other components."""
    y, x = cells.corners[k]
    lines, pixels = cells.size
    weight = cells.traces[k] - cells.traces[k].mean()
    weight = weight / max(float(weight @ cells.traces[k]), 1e-12)
    window = movie[:, y : y + lines, x : x + pixels].reshape(len(movie), -1)
    image = (weight @ window).reshape(lines, pixels)
    for j in neighbours(cells.corners, k, cells.size):
        mine, theirs = overlap(cells.corners[k], cells.corners[j], cells.size)
        image[mine] -= float(weight @ cells.traces[j]) * cells.footprints[j][theirs]
    return np.asarray(image, np.float32)


def _soma_likeness(image: NDArray[np.float32], footprint: NDArray[np.float32], diameter_px: float) -> float:
    y, x = np.indices(image.shape)
    light = max(float(footprint.sum()), 1e-12)
    distance = np.hypot(y - float((footprint * y).sum()) / light, x - float((footprint * x).sum()) / light)
    softness = max(0.08 * diameter_px, 0.7)
    return max(
        _correlation(image, 1.0 / (1.0 + np.exp((distance - 0.5 * size * diameter_px) / softness)))
        for size in SOMA_DIAMETERS
    )


def _roundness(footprint: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Area over that of the disc with the same second moment, squared, times contrast, times light in the mask."""
    smooth = gaussian_filter(footprint, SMOOTHING_PX)
    y, x = np.nonzero(binary_fill_holes(mask))
    round_part = min(1.0, len(y) / (2.0 * np.pi * (y.var() + x.var() + 1.0 / 6.0)))
    outside = float(smooth[~mask].mean()) if not mask.all() else 0.0
    contrast = max(0.0, 1.0 - outside / float(smooth[mask].mean()))
    compact = float(footprint[mask].sum()) / max(float(footprint.sum()), 1e-12)
    return float(round_part**2 * contrast * compact)


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale > 0.0 else 0.0

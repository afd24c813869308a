"""The whole field as it is planted: background, cells, and how bright each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_rig.planting import (
    Somata,
    background_photons,
    cell_photons,
    place_centres,
    plant_somata,
    vessel_shadow,
)
from drivers.virtual_rig.streams import Stream, generator
from rt_engine.interfaces.sample_config import SampleConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """What is planted; the scene is the frame with a margin on every side.

    Attributes
    ----------
    somata : Somata
    a_over_sigma : float64 ndarray, shape (n_cells,)
        Peak dF/F of one action potential over the SD of a frame's dF/F at rest (shot and read noise, ROI mean).
    photons : float64 ndarray, shape (n_cells,)
        Brightness of the ring at rest, photons/pixel/frame.
    base : float32 ndarray, shape of the scene, photons/pixel/frame
        Everything but the cells, at rest.
    footprint : float32 ndarray, shape of `somata.pixels`
        Light of the cells at rest, photons/pixel/frame.
    """

    somata: Somata
    a_over_sigma: NDArray[np.float64]
    photons: NDArray[np.float64]
    base: NDArray[np.float32]
    footprint: NDArray[np.float32]

    def rest_photons(self) -> NDArray[np.float32]:
        """Everything at rest, photons/pixel/frame, shape of the scene."""
        light = self.base.copy()
        np.add.at(light.reshape(-1), self.somata.pixels, self.footprint)
        return light


def plant_field(
    config: SampleConfig, shape: tuple[int, int], margin_px: int, um_per_px: float, amplitude_dff: float
) -> Field:
    """Plant a field in a scene of `shape`; cells lie within the frame, `margin_px` inside the scene."""
    rng = generator(config.seed, Stream.PLANTING)
    shadow = vessel_shadow(shape, um_per_px, config.background, rng)
    base = background_photons(shadow, um_per_px, config.background, rng)
    rng = generator(config.seed, Stream.CELLS)
    rim_px = 0.5 * config.cells.diameter_um / um_per_px
    inner = shadow[margin_px:-margin_px, margin_px:-margin_px]
    centres = place_centres(config.n_cells, inner, config.cells.min_distance_um / um_per_px, rim_px, rng)
    somata = plant_somata(centres, shape, margin_px, um_per_px, config.cells, rng)
    spread = config.cells.log_sd_a_over_sigma * rng.standard_normal(config.n_cells)
    a_over_sigma = config.cells.median_a_over_sigma * np.exp(spread)
    covered = np.zeros(base.size)
    covered[somata.pixels[somata.in_roi]] = 1
    base *= 1 - (1 - config.background.contamination) * covered.reshape(shape)
    photons = cell_photons(somata, base, a_over_sigma, amplitude_dff, config.detector)
    return Field(
        somata=somata,
        a_over_sigma=a_over_sigma,
        photons=photons,
        base=base.astype(np.float32),
        footprint=(photons[somata.owner()] * somata.weight).astype(np.float32),
    )

"""Where things are in the virtual sample: somata, vessels, puncta, neuropil; and how bright each cell must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from rt_engine.interfaces.sample_config import BackgroundConfig, CellsConfig, DetectorConfig

EDGE_UM = 0.4
"""Softness of the rim of a soma and of its nucleus: optical resolution in the plane."""
PUNCTUM_SD_UM = 0.6
PUNCTUM_LOG_SD = 0.9
VESSEL_LIGHT = 0.12
"""Background light seen through a vessel, 1 = beside it."""
PLACING_TRIES = 400
DISTANCE_RELAXATION = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Somata:
    """Planted cells; pixel positions are those of the template (the frame at no displacement).

    Attributes
    ----------
    y_px, x_px, radius_px : float64 ndarray, shape (n_cells,)
    start : int64 ndarray, shape (n_cells + 1,)
        Pixels of cell i are ``start[i]:start[i + 1]``.
    pixels : uint32 ndarray
        Flat indices into the scene.
    weight : float32 ndarray
        Indicator in each pixel, 1 in the ring.
    in_roi : bool ndarray
        True inside the rim: the region over which A/sigma is defined.
    """

    y_px: NDArray[np.float64]
    x_px: NDArray[np.float64]
    radius_px: NDArray[np.float64]
    start: NDArray[np.int64]
    pixels: NDArray[np.uint32]
    weight: NDArray[np.float32]
    in_roi: NDArray[np.bool_]

    def owner(self) -> NDArray[np.int64]:
        """Cell of each entry of `pixels`."""
        return np.repeat(np.arange(len(self.y_px)), np.diff(self.start))


def vessel_shadow(
    shape: tuple[int, int], um_per_px: float, config: BackgroundConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Light that passes the vessels, 1 beside them; curved bands across the scene, shape as asked."""
    y, x = np.mgrid[: shape[0], : shape[1]] * um_per_px
    size_um = max(shape) * um_per_px
    light = np.ones(shape)
    for _ in range(round(config.vessels_per_mm * size_um / 1000)):
        angle = rng.uniform(0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = -x * np.sin(angle) + y * np.cos(angle)
        phase, period_um = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.5) * size_um
        bend_um = rng.uniform(0.02, 0.08) * size_um
        corner = rng.uniform(0, size_um, 2)
        centre_um = -corner[1] * np.sin(angle) + corner[0] * np.cos(angle)
        width_um = config.vessel_diameter_um * rng.lognormal(0, 0.4)
        distance_um = np.abs(across - centre_um - bend_um * np.sin(2 * np.pi * along / period_um + phase))
        light *= 1 - (1 - VESSEL_LIGHT) / (1 + np.exp((distance_um - width_um / 2) / 0.8))
    return light


def background_photons(
    shadow: NDArray[np.float64], um_per_px: float, config: BackgroundConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Neuropil with its fine structure, and puncta, behind the vessels; photons/pixel/frame at rest."""
    shape = shadow.shape
    texture = np.zeros(shape)
    for scale_um, share in ((0.8, 0.6), (4.0, 0.5), (40.0, 0.6)):
        noise = gaussian_filter(rng.standard_normal(shape), scale_um / um_per_px, mode="wrap")
        texture += share * noise / noise.std()
    light = config.neuropil_photons * np.maximum(1 + config.texture * texture, 0.05)
    area_mm2 = shape[0] * shape[1] * (um_per_px / 1000) ** 2
    n_puncta = rng.poisson(config.n_puncta_per_mm2 * area_mm2)
    sd_px = PUNCTUM_SD_UM / um_per_px
    reach = int(np.ceil(4 * sd_px))
    for _ in range(n_puncta):
        cy, cx = rng.uniform(0, shape[0] - 1), rng.uniform(0, shape[1] - 1)
        peak = config.puncta_photons * rng.lognormal(0, PUNCTUM_LOG_SD)
        y = np.arange(max(0, int(cy) - reach), min(shape[0], int(cy) + reach + 2))
        x = np.arange(max(0, int(cx) - reach), min(shape[1], int(cx) + reach + 2))
        square = (y[:, None] - cy) ** 2 + (x - cx) ** 2
        light[y[0] : y[-1] + 1, x[0] : x[-1] + 1] += peak * np.exp(-square / (2 * sd_px**2))
    return np.asarray(light * shadow)


def place_centres(
    n_cells: int, shadow: NDArray[np.float64], min_distance_px: float, rim_px: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random centres outside vessels, no two nearer than `min_distance_px`.

    Where the field is too small for that the distance is relaxed by tenths until all cells are placed.

    Returns
    -------
    float64 ndarray, shape (n_cells, 2)
        (y, x) in the coordinates of `shadow`.
    """
    high = np.array(shadow.shape) - rim_px
    centres = np.zeros((n_cells, 2))
    placed = tries = 0
    distance_px = min_distance_px
    while placed < n_cells:
        tries += 1
        if tries > PLACING_TRIES:
            tries, distance_px = 0, distance_px * DISTANCE_RELAXATION
        spot = rng.uniform(rim_px, high)
        if shadow[int(spot[0]), int(spot[1])] < 0.9 and distance_px > 0.5 * min_distance_px:
            continue
        if placed and np.min(np.sum((centres[:placed] - spot) ** 2, axis=1)) < distance_px**2:
            continue
        centres[placed] = spot
        placed += 1
        tries = 0
    return centres


def plant_somata(
    centres: NDArray[np.float64],
    shape: tuple[int, int],
    margin_px: int,
    um_per_px: float,
    config: CellsConfig,
    rng: np.random.Generator,
) -> Somata:
    """Ring-shaped, slightly elliptic somata around `centres` (template coordinates) in a scene of `shape`."""
    n_cells = len(centres)
    radius_px = (
        config.diameter_um / 2 / um_per_px * np.maximum(0.5, 1 + config.diameter_cv * rng.standard_normal(n_cells))
    )
    stretch = np.exp(rng.normal(0, 0.08, n_cells))
    angle = rng.uniform(0, np.pi, n_cells)
    soft_px = EDGE_UM / um_per_px
    pixels, weights, inside = [], [], []
    for (cy, cx), radius, s, a in zip(centres + margin_px, radius_px, stretch, angle, strict=True):
        reach = int(np.ceil(radius * 1.3 + 6 * soft_px))
        y, x = np.mgrid[int(cy) - reach : int(cy) + reach + 2, int(cx) - reach : int(cx) + reach + 2]
        y, x = np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)
        flat, first = np.unique(y * shape[1] + x, return_index=True)
        dy, dx = y.ravel()[first] - cy, x.ravel()[first] - cx
        u, v = dx * np.cos(a) + dy * np.sin(a), -dx * np.sin(a) + dy * np.cos(a)
        r = np.hypot(u / s, v * s)
        soma = 1 / (1 + np.exp((r - radius) / soft_px))
        ring = 1 / (1 + np.exp((config.nucleus_fraction * radius - r) / soft_px))
        weight = soma * (config.nucleus_brightness + (1 - config.nucleus_brightness) * ring)
        keep = weight > 1e-3
        pixels.append(flat[keep])
        weights.append(weight[keep])
        inside.append(r[keep] <= radius)
    start = np.concatenate([[0], np.cumsum([len(p) for p in pixels])]).astype(np.int64)
    return Somata(
        y_px=centres[:, 0].copy(),
        x_px=centres[:, 1].copy(),
        radius_px=radius_px,
        start=start,
        pixels=np.concatenate([np.zeros(0), *pixels]).astype(np.uint32),
        weight=np.concatenate([np.zeros(0), *weights]).astype(np.float32),
        in_roi=np.concatenate([np.zeros(0, dtype=bool), *inside]),
    )


def cell_photons(
    somata: Somata,
    background: NDArray[np.float64],
    a_over_sigma: NDArray[np.float64],
    amplitude_dff: float,
    detector: DetectorConfig,
) -> NDArray[np.float64]:
    """Brightness at rest, photons/pixel/frame in the ring, that gives each cell its A/sigma.

    Parameters
    ----------
    somata : Somata
    background : float64 ndarray, shape (n_y, n_x), photons, read
        Light at rest of everything but the cells.
    a_over_sigma : float64 ndarray, shape (n_cells,), read
    amplitude_dff : float
        Peak dF/F of one action potential.
    detector : DetectorConfig

    Notes
    -----
    Over the ROI of a cell of brightness b, with W the sum of its weights and V the variance of all other light and of
    the read noise (in photons squared, digitisation 1/12 count squared included), the peak is A b W and the SD of a
    frame sqrt(b W + V). A/sigma = T gives A^2 W^2 b^2 - T^2 W b - T^2 V = 0. Neighbours count in V: iterated.
    """
    owner = somata.owner()[somata.in_roi]
    pixels = somata.pixels[somata.in_roi]
    n_cells = len(a_over_sigma)
    total = np.bincount(owner, somata.weight[somata.in_roi], n_cells)
    floor = (detector.read_noise_counts**2 + 1 / 12) / detector.gain_counts**2
    photons = np.zeros(n_cells)
    scene = np.zeros(background.size)
    for _ in range(30):
        scene[:] = background.ravel()
        np.add.at(scene, somata.pixels, photons[somata.owner()] * somata.weight)
        other = np.bincount(owner, scene[pixels] + floor, n_cells) - photons * total
        square = (amplitude_dff * total) ** 2
        linear = a_over_sigma**2 * total
        photons = (linear + np.sqrt(linear**2 + 4 * square * a_over_sigma**2 * other)) / (2 * square)
    return photons

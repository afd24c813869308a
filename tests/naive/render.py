"""Slow twins of `kernels.render` in plain numpy and Python integers."""

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.stats import poisson

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(x):
    """SplitMix64's finaliser on a Python integer."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def draw_background(base, modulation, spacing_px):
    """base * (1 + modulation), modulation by linear interpolation."""
    y, x = np.mgrid[: base.shape[0], : base.shape[1]] / spacing_px
    return base * (1 + map_coordinates(modulation.astype(float), [y, x], order=1))


def add_cells(start, pixels, footprint, level, scene):
    """Scene with every cell on it."""
    out = scene.astype(float).copy()
    for i, factor in enumerate(level):
        for k in range(start[i], start[i + 1]):
            out[pixels[k]] += factor * footprint[k]
    return out


def detect(scene, y0, x0, transmission, line_light, key, normal, detector, shape):
    """Counts of every pixel; the mean must stay below the kernel's limit of inversion."""
    gain, read_noise, offset, largest = detector
    y, x = np.mgrid[: shape[0], : shape[1]]
    mean = transmission * map_coordinates(scene.astype(float), [y + y0, x + x0], order=1) + line_light[:, None]
    out = np.zeros(shape, dtype=np.uint16)
    for i in range(shape[0]):
        line_key = mix((key + GOLDEN * (i + 1)) & MASK)
        for j in range(shape[1]):
            bits = mix((line_key + GOLDEN * (j + 1)) & MASK)
            photons = poisson.ppf((bits >> 24) * 2.0**-40, mean[i, j]) if mean[i, j] > 0 else 0
            counts = gain * photons + read_noise * normal[bits & 0xFFF] + offset
            out[i, j] = int(min(max(np.floor(counts + 0.5), 0), largest))
    return out

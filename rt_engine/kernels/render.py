"""Drawing the virtual sample and detecting it: what the cells emit, where it moved to, and what the detector counts."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TO_UNIT = 2.0**-40
NORMAL_BITS = np.uint64(0xFFF)
INVERSION_LIMIT = 12.0
"""Mean above which Poisson numbers come from a rejection method: below, adding up the distribution is faster."""


@nb.njit("uint64(uint64)", cache=True, nogil=True, inline="always")
def mix(x):
    """Finaliser of SplitMix64: a counter in, 64 well mixed bits out."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit("float64(float64)", cache=True, nogil=True, inline="always")
def exp_minus(x):
    """exp(-x) for x in [0, 12], relative error below 3e-9, without a call: a loop over it runs in vector registers."""
    q = x * (-1.0 / 64.0)
    e = 1.0 + q * (1.0 + q * (1 / 2 + q * (1 / 6 + q * (1 / 24 + q * (1 / 120 + q * (1 / 720 + q / 5040))))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@nb.njit("int64(float64, float64)", cache=True, nogil=True)
def poisson_by_inversion(mean, uniform):
    """Smallest k with P(K <= k) > uniform, for a Poisson K of a mean below `INVERSION_LIMIT`."""
    p = exp_minus(mean)
    total = p
    k = 0
    while uniform >= total and k < 200:
        k += 1
        p *= mean / k
        total += p
    return k


@nb.njit("int64(float64, uint64)", cache=True, nogil=True)
def poisson_by_rejection(mean, counter):
    """Poisson number of a large mean by transformed rejection (Hoermann 1993, PTRS); draws from `counter` upwards."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = math.log(mean)
    for attempt in range(1000):
        bits = mix(counter + GOLDEN * np.uint64(attempt + 1))
        u = (bits >> np.uint64(32)) * 2.0**-32 - 0.5
        v = ((bits & np.uint64(0xFFFFFFFF)) + 0.5) * 2.0**-32
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return int(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= k * log_mean - mean - math.lgamma(k + 1.0):
            return int(k)
    return int(mean)


@nb.njit("void(float32[:, ::1], float32[:, ::1], float64, float32[:, ::1])", cache=True, nogil=True)
def draw_background(base, modulation, spacing_px, scene_out):
    """Neuropil, puncta and vessels, brightened by a coarse grid of slow modulations.

    Parameters
    ----------
    base : float32 ndarray, shape (n_y, n_x), photons, read
    modulation : float32 ndarray, shape (n_grid_y, n_grid_x), relative, read
        Value at pixel ``(i * spacing_px, j * spacing_px)``; bilinear between; must reach beyond the last pixel.
    spacing_px : float
    scene_out : float32 ndarray, shape (n_y, n_x), photons, overwritten
        ``base * (1 + modulation)``.
    """
    n_y, n_x = base.shape
    for y in range(n_y):
        gy = int(y / spacing_px)
        fy = np.float32(y / spacing_px - gy)
        row = scene_out[y]
        source = base[y]
        for gx in range(modulation.shape[1] - 1):
            x0 = math.ceil(gx * spacing_px)
            x1 = min(n_x, math.ceil((gx + 1) * spacing_px))
            left = (1 - fy) * modulation[gy, gx] + fy * modulation[gy + 1, gx]
            right = (1 - fy) * modulation[gy, gx + 1] + fy * modulation[gy + 1, gx + 1]
            slope = np.float32((right - left) / spacing_px)
            first = np.float32(1.0 + left + slope * (x0 - gx * spacing_px))
            for x in range(x0, x1):
                row[x] = source[x] * (first + slope * np.float32(x - x0))


@nb.njit("void(int64[::1], uint32[::1], float32[::1], float64[::1], float32[::1])", cache=True, nogil=True)
def add_cells(start, pixels, footprint, level, scene):
    """Add every cell to the scene.

    Parameters
    ----------
    start : int64 ndarray, shape (n_cells + 1,), read
    pixels : uint32 ndarray, read
        Flat indices into the scene, cell after cell.
    footprint : float32 ndarray, photons at rest, read
        Light of each of `pixels` at level 1.
    level : float64 ndarray, shape (n_cells,), read
        1 + dF/F.
    scene : float32 ndarray, flat, photons, read and overwritten
    """
    for i in range(start.size - 1):
        factor = np.float32(level[i])
        for k in range(np.uint64(start[i]), np.uint64(start[i + 1])):
            scene[pixels[k]] += factor * footprint[k]


@nb.njit(
    "void(float64[::1], uint64[::1], float64[::1])",
    cache=True,
    nogil=True,
)
def count_photons(mean, bits, photons_out):
    """One Poisson number for each mean.

    Parameters
    ----------
    mean : float64 ndarray, shape (n,), read
    bits : uint64 ndarray, shape (n,), read
        Random bits; the upper 40 choose the number, the lower 12 stay free for the caller.
    photons_out : float64 ndarray, shape (n,), overwritten

    Notes
    -----
    The first loop finds numbers below 4 without a branch, and leaves 4 where the number is at least that.
    """
    for x in range(mean.size):
        m = mean[x]
        u = (bits[x] >> np.uint64(24)) * TO_UNIT
        p0 = exp_minus(m)
        p1 = p0 * m
        p2 = p1 * m * 0.5
        c1 = p0 + p1
        c2 = c1 + p2
        c3 = c2 + p2 * m * (1.0 / 3.0)
        photons_out[x] = (
            (1.0 if u >= p0 else 0.0)
            + (1.0 if u >= c1 else 0.0)
            + (1.0 if u >= c2 else 0.0)
            + (1.0 if u >= c3 else 0.0)
        )
    for x in range(mean.size):
        if mean[x] >= INVERSION_LIMIT:
            photons_out[x] = poisson_by_rejection(mean[x], bits[x])
        elif photons_out[x] > 3.0:
            photons_out[x] = poisson_by_inversion(mean[x], (bits[x] >> np.uint64(24)) * TO_UNIT)


@nb.njit(
    "void(float32[:,::1], float64[::1], float32[::1], uint64, float64[::1], float64[::1],"
    "uint64[::1], float64[:,::1], uint16[:,::1])",
    cache=True,
    nogil=True,
)
def detect(scene, view, line_light, key, normal, detector, bits, scratch, frame_out):
    """Resample the scene at the frame's pixels, count photons, amplify, digitise.

    Parameters
    ----------
    scene : float32 ndarray, shape (n_y, n_x), photons, read
    view : float64 ndarray, shape (3,), read
        Scene position (y, x) of the frame's pixel (0, 0), and a factor on all light of the scene (bleaching); the frame
        must lie inside the scene with one pixel to spare.
    line_light : float32 ndarray, shape (n_lines,), photons, read
        Light added to every pixel of a line.
    key : uint64
        Seed of this frame; the noise depends on it and on the pixel alone.
    normal : float64 ndarray, shape (4096,), read
        Quantiles of the standard normal.
    detector : float64 ndarray, shape (4,), read
        Gain (counts per photon), read noise (counts), offset (counts), largest count.
    bits : uint64 ndarray, shape (pixels_per_line,), scratch
    scratch : float64 ndarray, shape (2, pixels_per_line), scratch
    frame_out : uint16 ndarray, shape (n_lines, pixels_per_line), counts, overwritten
    """
    n_lines, n_pixels = frame_out.shape
    gain, read_noise, offset, largest = detector[0], detector[1], detector[2], detector[3]
    iy = math.floor(view[0])
    ix = math.floor(view[1])
    fy = view[0] - iy
    fx = view[1] - ix
    w00 = np.float32((1 - fy) * (1 - fx) * view[2])
    w01 = np.float32((1 - fy) * fx * view[2])
    w10 = np.float32(fy * (1 - fx) * view[2])
    w11 = np.float32(fy * fx * view[2])
    mean = scratch[0]
    photons = scratch[1]
    for y in range(n_lines):
        upper = scene[iy + y, ix : ix + n_pixels + 1]
        lower = scene[iy + y + 1, ix : ix + n_pixels + 1]
        extra = line_light[y]
        for x in range(n_pixels):
            mean[x] = w00 * upper[x] + w01 * upper[x + 1] + w10 * lower[x] + w11 * lower[x + 1] + extra
        line_key = mix(key + GOLDEN * np.uint64(y + 1))
        for x in range(n_pixels):
            bits[x] = mix(line_key + GOLDEN * np.uint64(x + 1))
        count_photons(mean, bits, photons)
        row = frame_out[y]
        for x in range(n_pixels):
            counts = gain * photons[x] + read_noise * normal[bits[x] & NORMAL_BITS] + offset
            row[x] = np.uint16(min(max(counts + 0.5, 0.0), largest))

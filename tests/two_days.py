"""A field of the virtual rig on two days: moved between them, some cells gone, some new, some silent on the second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform

from drivers.virtual_rig.field import plant_field
from rt_engine.interfaces.sample_config import SampleConfig

UM_PER_PX = 0.8
MARGIN_PX = 40
OFFSET, GAIN = 100, 40
AMPLITUDE = 0.6
Array = np.ndarray[Any, Any]


@dataclass
class Days:
    """Frames of both days, and the centre of every cell in the frame of the first (y, x); sets are of cell numbers."""

    first: Array
    second: Array
    centres: Array
    gone: set[int]
    new: set[int]
    silent: set[int]


def two_days(
    shift: tuple[float, float], *, rotation_deg: float = 0.0, scale: float = 1.0, size: int = 160, n_cells: int = 30,
    n_frames: int = 500, n_gone: int = 4, n_new: int = 4, n_silent: int = 3, seed: int = 3,
) -> Days:  # fmt: skip
    """Every active cell fires about once in 1.5 s at 30 Hz, transients decay in 0.3 s; no motion within a day."""
    rng = np.random.default_rng(seed)
    scene = size + 2 * MARGIN_PX
    config = SampleConfig(seed=seed, n_cells=n_cells)
    field = plant_field(config, (scene, scene), MARGIN_PX, UM_PER_PX, 0.3)
    numbers = rng.permutation(n_cells)
    gone, new, silent = (
        {int(k) for k in part} for part in np.split(numbers[: n_gone + n_new + n_silent], [n_gone, n_gone + n_new])
    )
    inverse = np.linalg.inv(matrix(rotation_deg, scale))
    middle = np.full(2, (scene - 1) / 2)

    def moved(image: Array) -> Array:
        return affine_transform(image, inverse, middle - inverse @ (middle + shift), order=1, mode="nearest")

    def day(absent: set[int], quiet: set[int], move: Any) -> Array:
        images = [move(field.base.astype(np.float64))]
        brightness = [np.ones(n_frames)]
        owner = field.somata.owner()
        for k in range(n_cells):
            if k in absent:
                continue
            image = np.zeros(scene * scene)
            image[field.somata.pixels[owner == k]] = 3.0 * field.footprint[owner == k]
            images.append(move(image.reshape(scene, scene)))
            brightness.append(1.0 + (0.0 if k in quiet else AMPLITUDE) * activity(rng, n_frames))
        cut = np.s_[MARGIN_PX:-MARGIN_PX]
        flat = np.stack([image[cut, cut].ravel() for image in images])
        photons = np.maximum(np.stack(brightness, axis=1) @ flat, 0.0)
        counts = GAIN * rng.poisson(photons) + rng.normal(OFFSET, 8.0, photons.shape)
        return np.clip(np.rint(counts), 0, 65535).astype(np.uint16).reshape(n_frames, size, size)

    centres = np.column_stack((field.somata.y_px, field.somata.x_px))
    return Days(day(new, set(), lambda image: image), day(gone, silent, moved), centres, gone, new, silent)


def matrix(rotation_deg: float, scale: float) -> Array:
    """Old to new about the middle, axes (y, x)."""
    angle = np.deg2rad(rotation_deg)
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def activity(rng: np.random.Generator, n_frames: int) -> Array:
    """Transients of a cell in units of a single one."""
    out = np.zeros(n_frames)
    for onset in np.flatnonzero(rng.random(n_frames) < 1 / 45):
        out[onset:] += np.exp(-np.arange(n_frames - onset) / 9.0)
    return out

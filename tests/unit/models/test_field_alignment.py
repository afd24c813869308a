"""A field is found again where it was planted, and another field is not taken for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from rt_engine.models.field_alignment import FieldTransform, align_fields, warp_to_new

Array = np.ndarray[Any, Any]
MARGIN = 60


def scene(seed: int, size: int) -> Array:
    """Soft discs of different size and brightness on a wide shading, with a margin."""
    rng = np.random.default_rng(seed)
    whole = size + 2 * MARGIN
    y, x = np.indices((whole, whole)).astype(float)
    image = 3.0 + np.sin(y / 90.0) + np.cos(x / 70.0)
    for _ in range(int(whole**2 / 900)):
        cy, cx, radius, light = *rng.uniform(0, whole, 2), rng.uniform(3, 7), rng.uniform(0.5, 4.0)
        image += light / (1.0 + np.exp(np.clip(2.0 * (np.hypot(y - cy, x - cx) - radius), -30, 30)))
    return image


def seen(image: Array, shift: tuple[float, float], rotation_deg: float, scale: float, seed: int) -> Array:
    """What a microscope sees of a scene that was moved so: mean of 300 frames of photons."""
    angle = np.deg2rad(rotation_deg)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse, middle = np.linalg.inv(matrix), np.full(2, (len(image) - 1) / 2)
    moved = affine_transform(image, inverse, middle - inverse @ (middle + shift), order=3, mode="nearest")
    photons = np.random.default_rng(seed).poisson(300 * np.maximum(moved, 0))[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return (100 + 40 / 300 * photons).astype(np.float32)


@pytest.mark.parametrize("size", [128, 260])
@pytest.mark.parametrize(
    ("shift", "rotation_deg"), [((0.0, 0.0), 0.0), ((7.3, -4.1), 0.0), ((-25.0, 18.5), 0.0), ((3.2, -8.8), 2.4)]
)
def test_shift_and_rotation_are_found_to_a_fraction_of_a_pixel(
    size: int, shift: tuple[float, float], rotation_deg: float
) -> None:
    image = scene(1, size)
    found = align_fields(seen(image, (0, 0), 0, 1, 2), seen(image, shift, rotation_deg, 1, 3))
    assert found.scale == 1.0
    assert found.correlation > 0.9
    truth = FieldTransform(*shift, rotation_deg, 1.0, 1.0, (size - 1) / 2, (size - 1) / 2)
    places = np.random.default_rng(4).uniform(0, size - 1, (50, 2))
    assert np.abs(found.forward(places) - truth.forward(places)).max() < 0.3
    np.testing.assert_allclose(found.backward(found.forward(places)), places, atol=1e-9)


@pytest.mark.parametrize("scale", [0.95, 1.05])
def test_another_zoom_is_told_from_another_field(scale: float) -> None:
    image = scene(1, 200)
    found = align_fields(seen(image, (0, 0), 0, 1, 2), seen(image, (4.0, -6.0), 0, scale, 3))
    assert found.scale == pytest.approx(scale, abs=0.005)
    assert found.correlation > 0.9


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_another_field_correlates_little(seed: int) -> None:
    found = align_fields(seen(scene(1, 200), (0, 0), 0, 1, 2), seen(scene(seed, 200), (0, 0), 0, 1, 3))
    assert found.correlation < 0.4


def test_a_field_that_left_by_more_than_half_is_not_found_again() -> None:
    image = scene(1, 128)
    found = align_fields(seen(image, (0, 0), 0, 1, 2), seen(image, (58.0, 40.0), 0, 1, 3))
    assert found.correlation < 0.5


def test_the_old_image_moved_is_the_new_one_where_both_see_it() -> None:
    image = scene(1, 128)
    old, new = seen(image, (0, 0), 0, 1, 2), seen(image, (9.0, -4.0), 0, 1, 3)
    moved = warp_to_new(old, FieldTransform(9.0, -4.0, 0.0, 1.0, 1.0, 63.5, 63.5))
    assert np.isnan(moved[:9]).all()
    assert np.isnan(moved[:, -4:]).all()
    both = np.isfinite(moved)
    assert both.mean() == pytest.approx((119 / 128) * (124 / 128), abs=0.01)
    assert np.corrcoef(moved[both], new[both])[0, 1] > 0.97


def test_empty_images_are_no_field() -> None:
    found = align_fields(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32))
    assert found.correlation == 0.0

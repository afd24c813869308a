"""Registration recovers planted shifts, and tells movement out of the plane from noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from rt_engine.pipeline.registration import RigidRegistration


def field(n_lines: int, n_pixels: int, seed: int = 0) -> np.ndarray:
    """Rings of somata and puncta on haze; larger than the frame by 32 px on each side; mean 1."""
    rng = np.random.default_rng(seed)
    shape = (n_lines + 64, n_pixels + 64)
    image = np.zeros(shape)
    y, x = np.indices(shape)
    for _ in range(round(np.prod(shape) / 650)):
        centre = rng.uniform(0, shape)
        near = (
            slice(max(int(centre[0]) - 14, 0), int(centre[0]) + 15),
            slice(max(int(centre[1]) - 14, 0), int(centre[1]) + 15),
        )
        distance = np.hypot(y[near] - centre[0], x[near] - centre[1])
        image[near] += rng.lognormal(0, 0.5) * np.exp(-0.5 * ((distance - 5.0) / 1.5) ** 2)
    puncta = np.zeros(shape)
    places = rng.integers(0, shape, (round(np.prod(shape) / 175), 2))
    puncta[places[:, 0], places[:, 1]] = rng.lognormal(1.8, 0.5, len(places))
    image += gaussian_filter(puncta, 1.0) + 0.3
    return image / image.mean()


def moved(image: np.ndarray, shift_y_px: float, shift_x_px: float) -> np.ndarray:
    """Content shifted by Fourier's theorem, then cut to the frame."""
    whole = np.fft.ifft2(fourier_shift(np.fft.fft2(image), (shift_y_px, shift_x_px))).real
    return np.maximum(whole[32:-32, 32:-32], 0.0)


def detected(photons: np.ndarray, rng: np.random.Generator, dtype: type = np.uint16) -> np.ndarray:
    counts = (
        20.0 * rng.poisson(photons) + rng.normal(0.0, 5.0, photons.shape) + (100.0 if dtype is np.uint16 else -300.0)
    )
    return np.rint(counts).clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def template_of(image: np.ndarray) -> np.ndarray:
    return (20.0 * moved(image, 0.0, 0.0) * 10.0).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(256, 256), (301, 258), (128, 97), (64, 64)])
def test_whole_and_fractional_shifts_are_recovered(shape: tuple[int, int], dtype: type) -> None:
    image = field(*shape)
    registration = RigidRegistration(template_of(image), 8.0)
    rng = np.random.default_rng(1)
    for shift in [(0.0, 0.0), (3.0, -5.0), (-7.0, 7.0), (0.5, -0.25), (-2.3, 4.7)]:
        registration.process(detected(50.0 * moved(image, *shift), rng, dtype))
        assert (registration.shift_y_px, registration.shift_x_px) == pytest.approx(shift, abs=0.1)


def test_the_error_at_0p9_photons_a_pixel_is_at_most_0p08_px() -> None:
    image = field(512, 512)
    registration = RigidRegistration(template_of(image), 8.0)
    rng = np.random.default_rng(2)
    errors = []
    for _ in range(15):
        shift = rng.uniform(-6, 6, 2)
        registration.process(detected(0.9 * moved(image, *shift), rng))
        errors.append((registration.shift_y_px - shift[0], registration.shift_x_px - shift[1]))
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    assert rms.max() <= 0.08


def test_no_shift_beyond_the_limit_is_reported() -> None:
    image = field(128, 128)
    registration = RigidRegistration(template_of(image), 3.0)
    registration.process(detected(20.0 * moved(image, 9.0, -9.0), np.random.default_rng(3)))
    assert max(abs(registration.shift_y_px), abs(registration.shift_x_px)) <= 3.6


def test_brightness_and_offset_do_not_move_the_estimate() -> None:
    image = field(128, 128)
    registration = RigidRegistration(template_of(image), 8.0)
    frame = detected(30.0 * moved(image, 1.5, -2.5), np.random.default_rng(4))
    registration.process(frame)
    first = registration.shift_y_px, registration.shift_x_px, registration.quality
    registration.process((3 * frame + 500).astype(np.uint16))
    assert (registration.shift_y_px, registration.shift_x_px, registration.quality) == pytest.approx(first, abs=1e-3)


def test_a_blank_frame_has_no_quality_and_no_shift() -> None:
    registration = RigidRegistration(template_of(field(64, 64)), 8.0)
    registration.process(np.zeros((64, 64), np.uint16))
    assert (registration.quality, registration.shift_y_px, registration.shift_x_px) == (0.0, 0.0, 0.0)


def test_quality_is_a_correlation() -> None:
    image = field(128, 128)
    registration = RigidRegistration(template_of(image), 8.0)
    rng = np.random.default_rng(5)
    registration.process(detected(500.0 * moved(image, 0.0, 0.0) / 10.0, rng))
    bright = registration.quality
    registration.process(detected(0.3 * moved(image, 0.0, 0.0), rng))
    assert 0.3 < registration.quality < bright <= 1.0


def run(registration: RigidRegistration, frames: list[np.ndarray]) -> list[bool]:
    jumped = []
    for frame in frames:
        registration.process(frame)
        jumped.append(registration.jumped)
    return jumped


def test_a_jump_mutes_its_frame_and_two_more() -> None:
    image = field(128, 128)
    rng = np.random.default_rng(6)
    shifts = [(0.0, 0.0)] * 3 + [(1.5, 0.0)] * 2 + [(4.0, 0.0)] * 6
    frames = [detected(5.0 * moved(image, *shift), rng) for shift in shifts]
    assert run(RigidRegistration(template_of(image), 8.0), frames) == [False] * 5 + [True] * 3 + [False] * 3


def test_another_plane_is_told_from_noise_by_its_quality() -> None:
    image, other = field(128, 128), field(128, 128, seed=9)
    rng = np.random.default_rng(7)
    frames = [detected(2.0 * moved(image, 0.0, 0.0), rng) for _ in range(120)]
    mixed = 0.5 * moved(image, 0.0, 0.0) + 0.5 * moved(other, 0.0, 0.0)
    jumped = run(RigidRegistration(template_of(image), 8.0), [*frames, detected(2.0 * mixed, rng), *frames[:6]])
    assert sum(jumped[:120]) <= 3
    assert jumped[120:] == [True] * 3 + [False] * 4


def settled(image: np.ndarray, rng: np.random.Generator, n_frames: int = 70) -> RigidRegistration:
    registration = RigidRegistration(template_of(image), 8.0)
    for _ in range(n_frames):
        registration.process(detected(2.0 * moved(image, 0.0, 0.0), rng))
    assert registration.fits
    assert not registration.jumped
    return registration


@pytest.mark.parametrize("counts", [0, 65535])
def test_a_black_or_saturated_frame_is_muted_and_does_not_move_the_masks(counts: int) -> None:
    registration = settled(field(128, 128), np.random.default_rng(8))
    registration.process(np.full((128, 128), counts, np.uint16))
    assert registration.jumped
    assert (registration.quality, registration.shift_y_px, registration.shift_x_px) == (0.0, 0.0, 0.0)


def test_a_missing_line_changes_neither_shift_nor_gate() -> None:
    image, rng = field(128, 128), np.random.default_rng(9)
    registration = settled(image, rng)
    frame = detected(2.0 * moved(image, 1.0, -1.0), rng)
    frame[50] = 0
    registration.process(frame)
    assert (registration.shift_y_px, registration.shift_x_px) == pytest.approx((1.0, -1.0), abs=0.2)
    assert not registration.jumped


def test_a_field_that_drifted_half_way_out_is_muted() -> None:
    image, other, rng = field(128, 128), field(128, 128, seed=9), np.random.default_rng(10)
    registration = settled(image, rng)
    far = moved(other, 0.0, 0.0)
    far[:64] = moved(image, 0.0, 0.0)[64:]
    for _ in range(5):
        registration.process(detected(2.0 * far, rng))
        assert registration.jumped
        assert max(abs(registration.shift_y_px), abs(registration.shift_x_px)) <= 8.6


@pytest.mark.parametrize("shape", [(128, 128), (256, 256)])
def test_the_template_of_another_session_is_told_and_mutes_every_frame(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(11)
    for seed in range(3):
        image, other = field(*shape, seed=seed), field(*shape, seed=seed + 50)
        registration = RigidRegistration(template_of(other), 8.0)
        for _ in range(40):
            registration.process(detected(2.0 * moved(image, 0.0, 0.0), rng))
        assert not registration.fits
        assert registration.jumped

"""Pixel kernels equal their slow twins over random, constant and extreme data."""

from __future__ import annotations

import numpy as np
import pytest
from naive import pixels as slow

from rt_engine.kernels import extraction, registration, resample
from rt_engine.kernels.running_median import push_running_median


def frames(dtype: type, shape: tuple[int, int] = (23, 31)) -> list[np.ndarray]:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    return [
        rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype),
        np.full(shape, limits.max, dtype),
        np.full(shape, limits.min, dtype),
        np.zeros(shape, dtype),
    ]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("bin_px", [1, 2])
def test_binning_sums_blocks_and_subtracts_their_mean(dtype: type, bin_px: int) -> None:
    for frame in frames(dtype):
        out = np.full((30, 40), 7.0, np.float32)
        mean = registration.bin_and_centre(frame, bin_px, out)
        expected, expected_mean = slow.bin_and_centre(frame, bin_px)
        assert mean == pytest.approx(expected_mean)
        rows, columns = expected.shape
        np.testing.assert_allclose(out[:rows, :columns], expected, atol=0.05)
        assert np.all(out[rows:] == 7.0)
        assert np.all(out[:, columns:] == 7.0)


def test_read_only_frames_are_accepted() -> None:
    frame = frames(np.uint16)[0]
    frame.flags.writeable = False
    registration.bin_and_centre(frame, 2, np.zeros((11, 15), np.float32))
    extraction.row_prefix_sums(frame, np.zeros((24, 33), np.uint32), np.zeros(23, np.int32))


def test_blocks_of_bins_are_summed_and_the_padding_stays() -> None:
    fine = np.random.default_rng(4).normal(size=(11, 14)).astype(np.float32)
    out = np.full((7, 8), 7.0, np.float32)
    registration.bin_in_fours(fine, 5, 6, out)
    expected = fine[:10, :12].astype(float).reshape(5, 2, 6, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(out[:5, :6], expected, rtol=1e-5, atol=1e-5)
    assert np.all(out[5:] == 7.0)
    assert np.all(out[:, 6:] == 7.0)


def test_cross_spectrum_is_a_product_and_its_energy_is_parsevals() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(size=(16, 20)).astype(np.float32)
    spectrum = np.fft.rfft2(image).astype(np.complex64)
    reference = (rng.normal(size=spectrum.shape) + 1j * rng.normal(size=spectrum.shape)).astype(np.complex64)
    multiplicity = np.full(spectrum.shape, 2.0, np.float32)
    multiplicity[:, 0] = multiplicity[:, -1] = 1.0
    expected = spectrum * reference
    energy = registration.correlate_spectrum(
        spectrum, reference, multiplicity, np.full(spectrum.shape[1], np.nan, np.float32)
    )
    np.testing.assert_allclose(spectrum, expected, rtol=1e-5)
    assert energy / image.size == pytest.approx(float(np.sum(image.astype(float) ** 2)), rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_peak_within_the_limits_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    correlation = rng.normal(size=(21, 26)).astype(np.float32)
    peak = np.zeros(3)
    registration.find_peak(correlation, 5, 7, peak)
    np.testing.assert_allclose(peak, slow.find_peak(correlation, 5, 7), rtol=1e-5, atol=1e-5)


def test_a_flat_correlation_has_its_peak_at_no_shift() -> None:
    peak = np.ones(3)
    registration.find_peak(np.zeros((16, 16), np.float32), 4, 4, peak)
    np.testing.assert_array_equal(peak, 0.0)


@pytest.mark.parametrize("lag", [(0.0, 0.0), (2.0, -3.0), (0.25, 0.75), (-4.5, 6.125), (50.0, 0.0), (0.0, -50.5)])
def test_block_contrast_is_a_sum_over_resampled_pixels(lag: tuple[float, float]) -> None:
    rng = np.random.default_rng(7)
    binned, reference = rng.normal(size=(25, 30)).astype(np.float32), rng.normal(size=(21, 26)).astype(np.float32)
    expected = rng.normal(size=(3, 3, 4))
    expected[0] += 2.0
    out = np.zeros((3, 4))
    registration.block_contrast(binned, reference, expected, 6, *lag, np.full(26, np.nan, np.float32), out)
    np.testing.assert_allclose(out, slow.block_contrast(binned, reference, expected, 6, lag), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_half_of_the_weight_lies_below_the_weighted_median(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(size=33), rng.random(33) * (rng.random(33) > 0.3)
    assert registration.weighted_median(values, weights) == pytest.approx(slow.weighted_median(values, weights))
    assert registration.weighted_median(np.full(33, 0.5), weights) == 0.5
    assert registration.weighted_median(values, np.zeros(33)) == 0.0


def test_no_value_counts_for_more_than_the_cap() -> None:
    rng = np.random.default_rng(8)
    values, weights = rng.normal(size=33), rng.random(33)
    expected = np.average(np.minimum(values, 0.3), weights=weights)
    assert registration.capped_mean(values, weights, 0.3) == pytest.approx(expected)
    assert registration.capped_mean(values, np.zeros(33), 0.3) == 0.0


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("n_pixels", [1, 7, 8, 9, 31, 64])
def test_prefix_sums_give_every_run_modulo_2_to_the_32_and_the_largest_counts(dtype: type, n_pixels: int) -> None:
    for frame in frames(dtype, (23, n_pixels)):
        prefix, largest = np.full((24, n_pixels + 2), 7, np.uint32), np.zeros(23, np.int32)
        assert extraction.row_prefix_sums(frame, prefix, largest) == frame.max()
        whole = np.cumsum(frame.astype(np.int64), axis=1)
        np.testing.assert_array_equal(prefix[:-1, 1:-1], whole.astype(np.uint32))
        assert not prefix[:-1, 0].any()
        np.testing.assert_array_equal(largest, frame.max(axis=1))
        assert np.all(prefix[-1] == 7)
        assert np.all(prefix[:, -1] == 7)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_the_mean_of_a_very_long_line_does_not_overflow(dtype: type) -> None:
    frame = np.full((2, 40_000), np.iinfo(dtype).max, dtype)
    out = np.zeros((1, 20_000), np.float32)
    assert registration.bin_and_centre(frame, 2, out) == 4 * np.iinfo(dtype).max
    assert not out.any()


@pytest.mark.parametrize("n_window", [1, 2, 7, 16])
def test_running_median_and_mad_are_those_of_the_last_values(n_window: int) -> None:
    rng = np.random.default_rng(3)
    values = [*rng.normal(size=40), *np.repeat(0.25, 20), *rng.integers(0, 3, 40).astype(float)]
    ring, ordered, statistics = np.zeros(n_window), np.zeros(n_window), np.zeros(2)
    n_seen = 0
    for i, value in enumerate(values):
        n_seen = push_running_median(float(value), n_seen, ring, ordered, statistics)
        assert n_seen == i + 1
        assert tuple(statistics) == pytest.approx(slow.median_and_mad(values[: i + 1], n_window))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -3.0), (0.25, 0.75), (-4.5, 6.125), (30.0, 0.0), (0.0, -40.5)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_a_frame_is_added_at_the_templates_position(shift: tuple[float, float], dtype: type) -> None:
    frame = frames(dtype)[0]
    total = np.ones(frame.shape, np.float32)
    resample.add_registered(frame, *shift, total)
    np.testing.assert_allclose(total - 1.0, slow.add_registered(frame, *shift), atol=0.05)


def test_photon_statistics_are_mean_and_half_squared_difference() -> None:
    first, second = np.array([[4, 10]], np.uint16), np.array([[8, 4]], np.uint16)
    mean, squared = np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)
    resample.add_photon_statistics(first, second, mean, squared)
    np.testing.assert_array_equal(mean, [[6, 7]])
    np.testing.assert_array_equal(squared, [[8, 18]])

"""The cell finder recovers planted cells, finds none in noise, and makes masks and rings as stated."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.models.cells import FoundCells, find_cells
from rt_engine.models.component_quality import QUALITY_NUMBERS
from rt_engine.models.footprints import best_binary_mask, separate
from rt_engine.models.neuropil_rings import GAP_PX, MIN_RING_PIXELS, neuropil_rings
from rt_engine.models.photon_transfer import photon_transfer
from rt_engine.models.seeds import min_score, noise_sd, score_image, z_movie

SIZE = 96


def silent(_: float) -> None:
    """Progress that nobody watches."""


def ring(centre: tuple[float, float], diameter_px: float = 15.0) -> np.ndarray:
    """A soma: bright ring, dim nucleus."""
    y, x = np.indices((SIZE, SIZE))
    distance = np.hypot(y - centre[0], x - centre[1])
    return (distance < diameter_px / 2) * np.where(distance < 0.3 * diameter_px, 0.4, 1.0)


def planted(centres: list[tuple[float, float]], n_bins: int, amplitude: float, seed: int) -> tuple[np.ndarray, list]:
    """Unit pixel noise, correlated haze, and cells that fire in a tenth of the bins, each on its own."""
    rng = np.random.default_rng(seed)
    movie = rng.normal(size=(n_bins, SIZE, SIZE)).astype(np.float32)
    movie += rng.normal(0.0, 0.5, n_bins).astype(np.float32)[:, None, None] + 50.0
    footprints = [ring(centre) for centre in centres]
    for footprint in footprints:
        trace = (rng.random(n_bins) < 0.1) * rng.lognormal(0.0, 0.3, n_bins)
        movie += (amplitude * trace[:, None, None] * footprint).astype(np.float32)
    return movie, footprints


def correlation(mask: np.ndarray, footprint: np.ndarray) -> float:
    binary = np.zeros(SIZE * SIZE)
    binary[mask] = 1.0
    return float(np.corrcoef(binary, footprint.ravel())[0, 1])


CENTRES = [(20.0, 20.0), (24.0, 60.0), (60.0, 30.0), (62.0, 70.0), (62.0, 82.0)]


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_cells_are_found_also_where_they_touch(seed: int) -> None:
    movie, footprints = planted(CENTRES, 150, 1.5, seed)
    found = find_cells(movie, um_per_px=0.8, progress=silent)
    best = [max(correlation(mask, footprint) for mask in found.footprints) for footprint in footprints]
    assert min(best) >= 0.7
    assert len(found.footprints) <= len(CENTRES) + 1
    assert found.quality.shape == (len(found.footprints),)
    assert np.all((found.quality > 0.0) & (found.quality <= 1.0))
    assert found.quality_numbers.shape == (len(found.footprints), len(QUALITY_NUMBERS))


def test_weighted_footprints_show_the_dim_nucleus_and_keep_what_cells_share() -> None:
    movie, footprints = planted(CENTRES, 150, 1.5, 7)
    found = find_cells(movie, um_per_px=0.8, progress=silent)
    light = np.zeros((len(found.weights), SIZE * SIZE))
    for row, pixels, weights in zip(light, found.weighted_pixels, found.weights, strict=True):
        assert weights.dtype == np.uint8
        assert weights.max() == 255
        assert weights.min() >= 1
        assert np.all(np.diff(pixels.astype(np.int64)) > 0)
        row[pixels] = weights
    for footprint in footprints:
        assert max(np.corrcoef(row, footprint.ravel())[0, 1] for row in light) >= 0.9


def test_the_same_movie_gives_the_same_cells_bit_for_bit() -> None:
    once, again = (find_cells(planted(CENTRES, 120, 1.2, 8)[0], um_per_px=0.8, progress=silent) for _ in range(2))
    assert [pixels.tolist() for pixels in once.footprints] == [pixels.tolist() for pixels in again.footprints]
    assert [weights.tolist() for weights in once.weights] == [weights.tolist() for weights in again.weights]
    np.testing.assert_array_equal(once.quality_numbers, again.quality_numbers)


def test_every_candidate_is_a_cell_or_merged_or_dropped_for_a_reason() -> None:
    rng = np.random.default_rng(9)
    movie, _ = planted(CENTRES, 150, 1.5, 9)
    movie[:, 88:90, 4:92] += rng.exponential(2.0, 150).astype(np.float32)[:, None, None]  # a dendrite
    movie[:, 44:46, 92:94] += 6.0 * (rng.random(150) < 0.1).astype(np.float32)[:, None, None]  # a punctum
    found = find_cells(movie, um_per_px=0.8, progress=silent)
    assert found.dropped
    assert found.n_candidates == len(found.footprints) + found.n_merged + sum(found.dropped.values())
    assert str(found.n_candidates) in found.summary()
    cells = np.concatenate(found.footprints)
    assert not np.isin(np.arange(88 * SIZE, 90 * SIZE), cells).any()
    assert not np.isin([44 * SIZE + 92, 45 * SIZE + 93], cells).any()


def test_first_masks_come_before_the_end_and_fit_the_cells() -> None:
    done: list[float] = []
    first: list[tuple[float, FoundCells]] = []
    movie, footprints = planted(CENTRES, 150, 1.5, 10)
    find_cells(movie, um_per_px=0.8, progress=done.append, first=lambda found: first.append((done[-1], found)))
    ((at, early),) = first
    assert at < 0.75
    assert min(max(correlation(mask, truth) for mask in early.footprints) for truth in footprints) >= 0.7


@pytest.mark.parametrize("value", [0.0, 4095.0])
def test_a_movie_without_contrast_holds_no_cells(value: float) -> None:
    assert find_cells(np.full((60, 64, 64), value, np.float32), um_per_px=None, progress=silent).footprints == []


@pytest.mark.parametrize("seed", range(4))
def test_noise_holds_no_cells(seed: int) -> None:
    movie, _ = planted([], 150, 0.0, seed)
    assert find_cells(movie, um_per_px=0.8, progress=silent).footprints == []


def test_the_score_of_noise_has_the_stated_mean() -> None:
    z = np.random.default_rng(0).normal(size=(100, 200, 200)).astype(np.float32)
    assert float(np.mean(score_image(z) ** 2)) == pytest.approx(1.46, rel=0.05)
    assert min_score(100) == pytest.approx((1.46 + 6 * 16.4**0.5) ** 0.5, rel=0.01)


def test_the_size_is_found_where_the_scale_is_unknown() -> None:
    movie, _ = planted(CENTRES, 150, 3.0, 3)
    assert find_cells(movie, um_per_px=None, progress=silent).diameter_px in (12.0, 17.0)


def test_noise_is_seen_under_activity() -> None:
    movie, _ = planted([(48.0, 48.0)], 400, 5.0, 4)
    movie -= movie.mean(axis=(1, 2), keepdims=True)
    sd = noise_sd(movie)
    assert sd.mean() == pytest.approx(1.0, abs=0.05)
    assert sd[40, 48] == pytest.approx(1.0, abs=0.35)


def test_z_is_in_units_of_its_noise() -> None:
    movie = 7.0 * np.random.default_rng(5).normal(size=(300, 48, 48)).astype(np.float32)
    z, _ = z_movie(movie, 8.0)
    assert z[:, 12:-12, 12:-12].std() == pytest.approx(1.0, abs=0.08)


def test_the_best_mask_is_the_one_of_best_signal_to_noise() -> None:
    footprint = ring((48.0, 48.0)).astype(np.float32)
    mask = best_binary_mask(footprint, np.ones_like(footprint), (48.0, 48.0), 20.0)
    y, x = np.indices(mask.shape)
    discs = [np.hypot(y - 48, x - 48) < radius for radius in np.arange(2.0, 14.0, 0.5)]
    best_disc = max(footprint[disc].sum() / np.sqrt(disc.sum()) for disc in discs)
    assert footprint[mask].sum() / np.sqrt(mask.sum()) >= 0.97 * best_disc


def test_shared_pixels_are_given_up_unless_too_little_would_be_left() -> None:
    masks = [np.arange(0, 10), np.arange(8, 20), np.arange(30, 40), np.arange(30, 90)]
    out = separate([mask.astype(np.uint32) for mask in masks], 100)
    assert [part.tolist() for part in out] == [
        list(range(8)), list(range(10, 20)), list(range(30, 40)), list(range(40, 90)),
    ]  # fmt: skip


def test_rings_leave_a_gap_and_every_cell_out() -> None:
    footprints = [np.flatnonzero(ring(centre)).astype(np.uint32) for centre in CENTRES]
    cells = np.concatenate(footprints)
    for footprint, pixels in zip(footprints, neuropil_rings(footprints, SIZE, SIZE), strict=True):
        assert len(pixels) >= MIN_RING_PIXELS
        assert np.all(np.diff(pixels.astype(np.int64)) > 0)
        assert not np.isin(pixels, cells).any()
        own = np.stack(np.divmod(footprint.astype(np.int64), SIZE))
        around = np.stack(np.divmod(pixels.astype(np.int64), SIZE))
        distance = np.abs(own[:, :, None] - around[:, None, :]).max(axis=0)
        assert distance.min() == GAP_PX + 1


def test_a_field_full_of_cells_leaves_an_empty_ring() -> None:
    footprints = [np.array([pixel], np.uint32) for pixel in range(16)]
    assert all(len(pixels) == 0 for pixels in neuropil_rings(footprints, 4, 4))


def test_photon_transfer_finds_gain_and_offset() -> None:
    rng = np.random.default_rng(7)
    photons = rng.uniform(0.5, 8.0, (64, 64, 1))
    frames = 25.0 * rng.poisson(np.repeat(photons, 400, axis=2)) + 120.0
    fit = photon_transfer(frames.mean(axis=2).astype(np.float32), frames.var(axis=2).astype(np.float32), 140.0)
    assert fit.fitted
    assert fit.gain_counts == pytest.approx(25.0, rel=0.03)
    assert fit.offset_counts == pytest.approx(120.0, abs=3.0)


@pytest.mark.parametrize("darkest_counts", [10.0, 0.0, -20.0])
def test_the_offset_stays_below_the_darkest_signal(darkest_counts: float) -> None:
    mean = np.linspace(100.0, 200.0, 4096, dtype=np.float32).reshape(64, 64)
    assert photon_transfer(mean, 3.0 * (mean - 90.0), darkest_counts).offset_counts <= darkest_counts
    flat = photon_transfer(mean, np.full_like(mean, 5.0), darkest_counts)
    assert not flat.fitted
    assert flat.offset_counts <= darkest_counts

"""Compiled drawing equals its slow twins; counted photons are Poisson at every mean."""

import numpy as np
import pytest
from naive import render as naive
from scipy import stats

from rt_engine.kernels.render import add_cells, detect, draw_background, exp_minus, mix, poisson_by_rejection

NORMAL = stats.norm.ppf((np.arange(4096) + 0.5) / 4096)


def run(scene, view, line_light, key, detector, out):
    bits, scratch = np.zeros(out.shape[1], dtype=np.uint64), np.full((2, out.shape[1]), np.nan)
    detect(scene, np.array(view), line_light, np.uint64(key), NORMAL, detector, bits, scratch, out)


@pytest.mark.parametrize("spacing_px", [5.0, 7.3, 40.0])
@pytest.mark.parametrize("kind", ["random", "constant", "zero"])
def test_background_is_modulated_by_linear_interpolation(spacing_px, kind):
    rng = np.random.default_rng(1)
    base = rng.gamma(2, 0.5, (33, 41)).astype(np.float32)
    grid = (int(33 / spacing_px) + 3, int(41 / spacing_px) + 3)
    modulation = {"random": rng.normal(0, 0.3, grid), "constant": np.full(grid, 0.2), "zero": np.zeros(grid)}[kind]
    scene = np.full_like(base, np.nan)
    draw_background(base, modulation.astype(np.float32), spacing_px, scene)
    expected = naive.draw_background(base, modulation.astype(np.float32), spacing_px)
    np.testing.assert_allclose(scene, expected, rtol=3e-6, atol=1e-7)


def test_cells_add_up_where_they_overlap():
    rng = np.random.default_rng(2)
    pixels = np.concatenate([rng.permutation(100)[:30] for _ in range(5)]).astype(np.uint32)
    start = np.arange(0, 151, 30, dtype=np.int64)
    footprint = rng.random(150).astype(np.float32)
    level = rng.uniform(0, 4, 5)
    scene = rng.random(100).astype(np.float32)
    expected = naive.add_cells(start, pixels, footprint, level, scene)
    add_cells(start, pixels, footprint, level, scene)
    np.testing.assert_allclose(scene, expected, rtol=1e-5)


@pytest.mark.parametrize(("y0", "x0"), [(3.0, 4.0), (3.25, 4.75), (2.999, 4.5)])
def test_counts_equal_the_slow_twin(y0, x0):
    rng = np.random.default_rng(4)
    scene = rng.gamma(1, 1.0, (40, 50)).astype(np.float32)
    scene[10] = 0
    line_light = np.zeros(24, dtype=np.float32)
    line_light[5:8] = 3.0
    detector = np.array([40.0, 8.0, 100.0, 300.0])
    out = np.zeros((24, 32), dtype=np.uint16)
    run(scene, (y0, x0, 0.9), line_light, 12345, detector, out)
    expected = naive.detect(scene, y0, x0, 0.9, line_light, 12345, NORMAL, detector, out.shape)
    assert (out == 300).any()
    assert np.mean(out != expected) < 0.005  # a mean rounded in float32 may fall on the other side of a step


@pytest.mark.parametrize("mean", [0.02, 0.5, 5.0, 11.9, 12.1, 40.0, 400.0])
def test_photon_counts_are_poisson(mean):
    scene = np.full((258, 258), mean, dtype=np.float32)
    out = np.zeros((256, 256), dtype=np.uint16)
    detector = np.array([1.0, 0.0, 0.0, 65535.0])
    run(scene, (0.0, 0.0, 1.0), np.zeros(256, dtype=np.float32), 7, detector, out)
    edges = np.unique(stats.poisson.ppf(np.linspace(0, 1, 22)[1:-1], mean))
    cells = np.searchsorted(edges, out.ravel(), side="left")
    chance = np.diff(np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]]))
    observed = np.bincount(cells, minlength=len(chance))
    keep = chance * out.size > 5
    statistic = np.sum((observed - chance * out.size)[keep] ** 2 / (chance * out.size)[keep])
    assert stats.chi2.sf(statistic, max(1, keep.sum() - 1)) > 1e-4


def test_rejection_is_poisson_at_a_large_mean():
    draws = np.array([poisson_by_rejection(100.0, mix(np.uint64(i))) for i in range(20000)])
    assert draws.mean() == pytest.approx(100, abs=4 * 10 / 20000**0.5)
    assert draws.var() == pytest.approx(100, rel=5 * (2 / 20000) ** 0.5)


def test_noise_of_neighbouring_pixels_and_frames_is_uncorrelated():
    scene = np.full((130, 130), 1.0, dtype=np.float32)
    frames = np.zeros((20, 128, 128), dtype=np.uint16)
    detector = np.array([40.0, 8.0, 100.0, 4095.0])
    for k in range(20):
        run(scene, (0.0, 0.0, 1.0), np.zeros(128, dtype=np.float32), 99 + k, detector, frames[k])
    z = (frames - frames.mean()) / frames.std()
    for pair in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[:, :, 1:], z[:, :, :-1])):
        assert abs(np.mean(pair[0] * pair[1])) < 5 / pair[0].size ** 0.5


def test_no_light_gives_no_photons_and_too_much_light_the_largest_count():
    for mean, expected in ((0.0, 7), (1e6, 4095)):
        out = np.zeros((16, 16), dtype=np.uint16)
        scene = np.full((18, 18), mean, dtype=np.float32)
        run(scene, (0.0, 0.0, 1.0), np.zeros(16, dtype=np.float32), 3, np.array([40.0, 0.0, 7.0, 4095.0]), out)
        np.testing.assert_array_equal(out, expected)


def test_the_exponential_without_a_call_is_the_exponential():
    x = np.linspace(0, 12, 2001)
    np.testing.assert_allclose([exp_minus(v) for v in x], np.exp(-x), rtol=5e-9)

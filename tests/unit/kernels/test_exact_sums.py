"""Sums in float32 come out with the same bits on every processor: those of plain arithmetic in the order promised.

The twin has no compiler: whichever processor runs this, it compares with the bits that all must have.
"""

from __future__ import annotations

import numpy as np
import pytest
from naive import exact_sums as exact
from naive import plain_functions

from rt_engine.kernels.drive_smoother import BLOCK
from rt_engine.kernels.near_correlation import correlate_near
from rt_engine.kernels.network import _add_product
from rt_engine.kernels.power_of_e import power_of_e
from rt_engine.kernels.registration import block_contrast, correlate_spectrum

STEPS = (0, 1, -1)


@pytest.mark.parametrize("middle", [(0, 0), (3, -2), (-7, 5)])
@pytest.mark.parametrize("shape", [(40, 48), (33, 57)])
def test_the_correlation_near_the_last_lag(shape: tuple[int, int], middle: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    binned, reference = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    out = np.full((3, 3), np.nan)
    correlate_near(binned, reference, *middle, out)
    expected = [[exact.lag(binned, reference, middle[0] + y, middle[1] + x, middle[1]) for x in STEPS] for y in STEPS]
    np.testing.assert_array_equal(out, expected)


def test_the_cross_spectrum_and_its_energy() -> None:
    rng = np.random.default_rng(2)
    parts = rng.standard_normal((4, 37, 29)).astype(np.float32)
    spectrum, template = parts[0] + 1j * parts[1], parts[2] + 1j * parts[3]
    weight = rng.random((37, 29)).astype(np.float32)
    expected = exact.product(spectrum, template), exact.energy(spectrum, weight)
    energy = correlate_spectrum(spectrum, template, weight, np.full(29, np.nan, np.float32))
    np.testing.assert_array_equal(spectrum, expected[0])
    assert energy == expected[1]


@pytest.mark.parametrize("lag", [(0.0, 0.0), (0.25, 0.7), (-4.5, 6.125), (3.3, -8.9)])
def test_the_contrast_of_blocks(lag: tuple[float, float]) -> None:
    rng = np.random.default_rng(7)
    binned, reference = (rng.normal(size=(40, 53)).astype(np.float32) for _ in range(2))
    expected = np.zeros((3, 6, 8))
    expected[0] = 1.0
    out = np.full((6, 8), np.nan)
    block_contrast(binned, reference, expected, 6, *lag, np.full(53, np.nan, np.float32), out)
    np.testing.assert_array_equal(out, exact.block_totals(binned, reference, 6, *lag)[:6, :8])


@pytest.mark.parametrize("shape", [(1, 1), (6, 8), (7, 19)])
def test_a_layer_of_the_network(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    weights = rng.standard_normal(shape).astype(np.float32)
    vector, start = (rng.standard_normal((n, BLOCK)).astype(np.float32) for n in (shape[1], shape[0]))
    sums = start.copy()
    _add_product(weights, vector.ravel(), sums.ravel())
    np.testing.assert_array_equal(sums, exact.add_product(weights, vector, start))


def test_the_exponential_of_the_kernels() -> None:
    x = np.concatenate([np.random.default_rng(6).uniform(-80, 80, 2000), [0.0, 1e-9, -1e9, 1e9]])
    found = [power_of_e(value) for value in x]
    assert found == [plain_functions.power_of_e(value) for value in x.tolist()]
    np.testing.assert_allclose(found, np.exp(np.clip(x, -80, 80)), rtol=2e-13)
    assert np.isnan(power_of_e(np.nan))

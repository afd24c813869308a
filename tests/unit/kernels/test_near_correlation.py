"""The correlation at a few lags is that of the slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from naive import near_correlation as naive

from rt_engine.kernels.near_correlation import correlate_near


@pytest.mark.parametrize("middle", [(0, 0), (3, -2), (-7, 5), (1, 1)])
@pytest.mark.parametrize("shape", [(40, 48), (33, 57)])
def test_every_lag_is_the_circular_correlation(shape: tuple[int, int], middle: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    binned, reference = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    out = np.full((3, 3), np.nan)
    correlate_near(binned, reference, *middle, out)
    expected = naive.correlate_near(binned.astype(np.float64), reference.astype(np.float64), *middle)
    np.testing.assert_allclose(out, expected, atol=1e-5 * np.sqrt(binned.size))

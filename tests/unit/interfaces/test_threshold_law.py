"""The table of a threshold's cost says what the detection theory says, both ways."""

from __future__ import annotations

import numpy as np
import pytest

from rt_engine.interfaces.threshold_law import KAPPA_STEP, N_KAPPA, N_PEAKS, ThresholdLaw, joined_laws, unknown_law
from rt_engine.models.detection import event_threshold, false_event_rates

RHO, ERROR, SKEW = np.array([0.2, 0.6, 0.8]), np.array([0.02, 0.1, 0.05]), np.array([0.0, 0.3, -0.2])


@pytest.fixture
def law() -> ThresholdLaw:
    """Three cells; peaks are normal with mean 5."""
    rates = false_event_rates(KAPPA_STEP * np.arange(N_KAPPA, dtype=np.float64), 30.0, RHO, ERROR)
    peaks = np.quantile(np.random.default_rng(0).normal(5, 1, (20_000, 3)), np.linspace(0, 1, N_PEAKS), axis=0)
    return ThresholdLaw(skewness=SKEW, log_rate=np.log(np.maximum(rates, 1e-30)), peaks=peaks)


@pytest.mark.parametrize("per_min", [0.001, 0.05, 0.5, 5.0, 60.0])
def test_thresholds_are_those_of_the_theory(law: ThresholdLaw, per_min: float) -> None:
    expected = event_threshold(per_min, 30.0, RHO, relative_error=ERROR, skewness=SKEW)
    np.testing.assert_allclose(law.threshold(per_min), expected, atol=0.01)
    np.testing.assert_allclose(law.false_alarms_per_min(expected), per_min, rtol=0.04)


def test_detection_is_the_part_of_the_peaks_above(law: ThresholdLaw) -> None:
    np.testing.assert_allclose(law.detection(np.array([5.0, 4.0, 100.0])), [0.5, 0.841, 0.0], atol=0.01)
    np.testing.assert_allclose(law.detection(np.array([-100.0, -100.0, -100.0])), 1.0)


def test_what_is_unknown_stays_unknown_beside_what_is_known(law: ThresholdLaw) -> None:
    both = joined_laws(law, unknown_law(2))
    found = both.threshold(0.5)
    np.testing.assert_allclose(found[:3], law.threshold(0.5))
    assert np.isnan(found[3:]).all()

"""The probability of a spike: planted laws are recovered; what is shipped is calibrated on traces it has not seen."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from rt_engine.kernels.drive_decision import KNOT_FIRST, KNOT_STEP, N_KNOTS
from rt_engine.models.indicators import indicator
from rt_engine.models.probability_fit import (
    HOLDS,
    N_CALIBRATION,
    ProbabilityModel,
    Sample,
    calibration_error,
    fit_calibration,
    fit_tables,
    probabilities,
    sample_of,
    scores,
)
from rt_engine.models.probability_table import probability_tables

HELD_OUT = 77


def shipped(hold):
    return ProbabilityModel(*probability_tables(hold))


def test_planted_law_is_recovered():
    rng = np.random.default_rng(0)
    features = rng.uniform(KNOT_FIRST, KNOT_FIRST + KNOT_STEP * (N_KNOTS - 1), (120_000, 4))
    offset = np.full(len(features), -2.0)
    law = 0.2 * features[:, 0] + np.minimum(features[:, 1], 2.0) - 0.3 * features[:, 2] + 0.1 * features[:, 3]
    truth = rng.random(len(law)) < expit(law + offset)
    sample = Sample(features, offset, truth)
    found = scores(sample, fit_tables(sample))
    assert np.sqrt(np.mean((found - law - offset) ** 2)) < 0.15


def test_tables_of_odds_and_z_never_fall():
    for hold in HOLDS:
        tables, calibration = probability_tables(hold)
        assert (np.diff(tables[:2], axis=1) >= 0).all()
        assert (np.diff(calibration, axis=1) >= 0).all()
        assert tables.shape == (4, N_KNOTS)
        assert calibration.shape == (2, N_CALIBRATION)


def test_recalibration_is_isotonic_regression():
    rng = np.random.default_rng(1)
    score = rng.normal(size=50_000)
    truth = rng.random(len(score)) < expit(3 * score - 2)
    knots = fit_calibration(score, truth)
    expected = IsotonicRegression(out_of_bounds="clip").fit(score, truth).predict(score)
    np.testing.assert_allclose(np.interp(score, *knots), expected, atol=0.06)


def test_calibration_error_is_that_of_its_definition():
    p = np.array([0.02, 0.03, 0.5, 0.52, 0.95])
    truth = np.array([False, True, True, True, True])
    expected = (2 * abs(0.025 - 0.5) + 2 * abs(0.51 - 1) + abs(0.95 - 1)) / 5
    assert calibration_error(p, truth) == pytest.approx(expected)


def test_holds_between_those_fitted_take_the_nearest():
    assert np.array_equal(probability_tables(9)[0], probability_tables(5)[0])


@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize(
    "wrong", [{}, {"sigma": 1.3}, {"sigma": 0.7}, {"size": 1.3}, {"size": 0.7}, {"tau": 1.3}, {"tau": 0.7}]
)
def test_calibration_holds_with_constants_thirty_per_cent_off(hold, wrong):
    sample = sample_of(indicator("GCaMP6f"), HELD_OUT, hold, **wrong)
    assert calibration_error(probabilities(sample, shipped(hold)), sample.truth) <= 0.03


def test_four_tables_say_more_than_the_odds_alone():
    sample = sample_of(indicator("jGCaMP8m"), HELD_OUT, 3)
    alone = np.interp(sample.features[:, 0], *fit_calibration(sample.features[:, 0], sample.truth))
    error = [np.mean((p - sample.truth) ** 2) for p in (alone, probabilities(sample, shipped(3)))]
    assert error[1] < 0.95 * error[0]

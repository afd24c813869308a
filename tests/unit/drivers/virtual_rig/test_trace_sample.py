"""Cells of a dry look tell by a rate of false events, or where the odds of a spike outweigh its cost."""

import numpy as np
import pytest
from scipy.stats import norm
from system_rig import small_rig

from drivers.virtual_rig.trace_sample import TraceSample
from rt_engine.interfaces.drive_constants import EVENT_RATE_HZ
from rt_engine.interfaces.rig_config import RigConfig


@pytest.fixture(scope="module")
def microscope():
    return RigConfig.model_validate(small_rig()).microscope


def false_events_per_min(sample):
    return 60 * sample.frame_rate_hz * norm.sf(sample._kappa)


def test_by_rate_every_cell_has_the_same_false_events(microscope):
    sample = TraceSample(microscope, 1, 0.5)
    assert false_events_per_min(sample) == pytest.approx(np.full(len(sample.y_px), 0.5))


@pytest.mark.parametrize("cost", [0.5, 3.0])
def test_by_cost_an_event_is_told_where_the_odds_of_a_spike_are_those_of_the_costs(microscope, cost):
    sample = TraceSample(microscope, 1, None, false_event_cost=cost)
    gain = norm.ppf(sample.expected_detection) + sample._kappa  # mean z of one spike
    prior = EVENT_RATE_HZ / sample.frame_rate_hz
    odds = prior * norm.pdf(sample._kappa - gain) / norm.pdf(sample._kappa)
    certain = (sample.expected_detection > 1e-6) & (sample.expected_detection < 1 - 1e-6)
    assert certain.sum() > 5
    assert odds[certain] == pytest.approx(np.full(certain.sum(), cost), rel=1e-6)

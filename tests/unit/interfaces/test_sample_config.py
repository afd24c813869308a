"""The sample's configuration refuses what it does not know, and defaults to the rig of the specification."""

import pytest
from pydantic import ValidationError

from rt_engine.interfaces.sample_config import SampleConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_cell": 3},
        {"cells": {"diameter": 12}},
        {"cells": {"diameter_um": -1}},
        {"spiking": {"min_rate_hz": 3.0, "max_rate_hz": 2.0}},
        {"spiking": {"burst_min_spikes": 9}},
        {"motion": {"jump_min_um": 6.0}},
        {"detector": {"adc_bits": 17}},
        {"indicator": " "},
        {"seed": -1},
    ],
)
def test_unknown_keys_and_impossible_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        SampleConfig(**wrong)


def test_a_configuration_cannot_be_changed():
    config = SampleConfig()
    with pytest.raises(ValidationError):
        config.cells.diameter_um = 3.0


def test_defaults_are_those_of_the_specification():
    config = SampleConfig()
    assert (config.n_cells, config.cells.diameter_um, config.cells.median_a_over_sigma) == (200, 12, 4)
    assert (config.spiking.min_rate_hz, config.spiking.max_rate_hz) == (0.05, 2)
    assert (config.spiking.burst_min_spikes, config.spiking.burst_max_spikes) == (2, 8)
    assert (config.spiking.burst_min_isi_ms, config.spiking.burst_max_isi_ms) == (3, 15)
    assert (config.motion.jitter_um, config.motion.jump_rate_hz) == (0.3, 0.01)
    assert (config.motion.jump_min_um, config.motion.jump_max_um) == (1, 5)
    assert (config.opsin.median_p50_mw, config.opsin.slope_mw, config.opsin.lateral_fwhm_um) == (4, 1, 15)
    assert (config.opsin.latency_ms, config.opsin.latency_sd_ms) == (6, 2)

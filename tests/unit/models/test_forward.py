"""The streaming forward model."""

import dataclasses

import numpy as np
import pytest

from rt_engine.models.forward import SUBSTEP_S, CalciumPopulation, response
from rt_engine.models.indicators import indicator


def test_streaming_in_frames_equals_the_response_in_one_go():
    physics = indicator("jGCaMP8m").physics
    spikes = np.array([0.0112, 0.0190, 0.2304, 0.2313])
    whole = response(physics, spikes, 0.6)
    frame_s = 20 * SUBSTEP_S
    cell = CalciumPopulation(physics, 1, frame_s)
    for k in range(60):
        own = spikes[(spikes >= k * frame_s) & (spikes < (k + 1) * frame_s)] - k * frame_s
        cell.advance(np.array([0, len(own)]), own)
        assert cell.dff[0] == pytest.approx(whole[20 * (k + 1) - 1], rel=1e-9, abs=1e-12)


def test_cells_do_not_influence_each_other():
    physics = indicator("jGCaMP8m").physics
    both, alone = CalciumPopulation(physics, 2, 0.033), CalciumPopulation(physics, 1, 0.033)
    both.advance(np.array([0, 3, 4]), np.array([0.001, 0.002, 0.003, 0.02]))
    alone.advance(np.array([0, 1]), np.array([0.02]))
    assert both.dff[1] == alone.dff[0]


def test_calcium_far_below_saturation_and_one_site_adds_up():
    base = indicator("OGB-1").physics
    linear = dataclasses.replace(base, step_calcium_nm=1e-4, tau_off_s=base.tau_on_s)
    one = response(linear, np.zeros(1), 0.5)
    two = response(linear, np.array([0.0, 0.1]), 0.5)
    shifted = np.concatenate([np.zeros(round(0.1 / SUBSTEP_S)), one])[: len(one)]
    np.testing.assert_allclose(two, one + shifted, atol=1e-4 * one.max())

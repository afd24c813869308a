"""The decision on the drive: rate, probability and events as defined, from a plain loop."""

import numpy as np
import pytest

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.drive_decision import (
    BURST_RATIO,
    FIRST_BURST,
    KNOT_FIRST,
    KNOT_STEP,
    LARGEST_BURST,
    N_KNOTS,
    RATE_FLOOR,
    DriveDecisionParameters,
    decide_drive,
    decision_features,
    empty_decision_state,
    log_evidence,
)
from rt_engine.models.probability_table import probability_tables

KNOTS = np.array([[-6.0, -1.0, 0.0, 3.0], [0.01, 0.2, 0.5, 0.9]])
AT = KNOT_FIRST[:, None] + KNOT_STEP[:, None] * np.arange(N_KNOTS)
TABLES = np.stack([np.tanh(AT[0]), 3 * np.tanh(AT[1]), -np.cos(AT[2]), 0.5 * np.sin(AT[3])])


def parameters(n, gain=3.0, threshold=3.5, smallest_probability=0.0):
    return DriveDecisionParameters(
        noise_dff=np.linspace(0.05, 0.2, n),
        threshold=np.full(n, threshold),
        smallest_probability=np.full(n, smallest_probability),
        unit_dff=np.linspace(0.2, 0.4, n),
        response=np.full(n, 0.5),
        gain=np.full(n, gain),
        log_prior=np.full(n, np.log(0.02)),
        refractory_frames=np.full(n, 3),
        hold_off_frames=np.full(n, 9),
        tables=TABLES.copy(),
        calibration=KNOTS.copy(),
        roi_id=np.arange(70, 70 + n, dtype=np.uint32),
    )


def run(drive, hold, model, code=None):
    """`drive` : (n_frames, hold + 1, n_rois)."""
    n_frames, _, n = drive.shape
    code = np.ones((n_frames, n), np.uint8) if code is None else code
    state = empty_decision_state(n)
    rate, z, probability = np.zeros((3, n_frames, n), np.float32)
    events = []
    for t in range(n_frames):
        told = np.zeros(n, EVENT_DTYPE)
        k = decide_drive(t, hold, 4, drive[t], code[t], model, state, rate[t], z[t], probability[t], told)
        events.append(told[:k].copy())
    return rate, z, probability, np.concatenate(events), state


def naive_log_odds(z, gain):
    shares = [FIRST_BURST * BURST_RATIO ** (n - 1) for n in range(1, LARGEST_BURST + 1)]
    return np.log(0.02) + max(np.log(s) + n * gain * z - (n * gain) ** 2 / 2 for n, s in enumerate(shares, start=1))


@pytest.mark.parametrize("hold", [0, 1, 3])
def test_rate_and_probability_are_those_of_the_definition(hold):
    rng = np.random.default_rng(hold)
    n = 4
    model = parameters(n)
    drive = rng.standard_normal((60, hold + 1, n)) * 3 * model.noise_dff
    rate, z, probability, _, _ = run(drive, hold, model)
    state, features = empty_decision_state(n), np.zeros((60, n, 4))
    for t in range(60):
        decision_features(hold, drive[t], model, state, features[t])
    for i in range(n):
        before, z_before = -np.inf, 0.0
        for t in range(60):
            here = drive[t, hold, i] / model.noise_dff[i]
            assert z[t, i] == pytest.approx(here, rel=1e-6)
            excess = max(0.0, here - RATE_FLOOR) * model.noise_dff[i] / model.unit_dff[i]
            odds = naive_log_odds(here, 3.0)
            z_after = drive[t, hold - 1, i] / model.noise_dff[i] if hold else here
            after = naive_log_odds(z_after, 3.0) if hold else odds - np.log(2)
            expected = odds - max(0.0, before, after), here, z_after, z_before
            np.testing.assert_allclose(features[t, i], expected, rtol=1e-9, atol=1e-9)
            score = np.log(0.02) + sum(np.interp(x, AT[k], TABLES[k]) for k, x in enumerate(expected))
            assert probability[t, i] == pytest.approx(np.interp(score, *KNOTS), rel=1e-5)
            assert rate[t, i] == pytest.approx(np.sqrt(excess * np.interp(score, *KNOTS)), rel=1e-5)
            before, z_before = odds, here


@pytest.mark.parametrize("gain", [0.05, 0.4, 1.0, 3.0, 12.0])
def test_evidence_is_that_of_the_best_number_of_spikes(gain):
    for z in np.linspace(-30, 60, 301):
        assert log_evidence(z, gain) == pytest.approx(naive_log_odds(z, gain) - np.log(0.02), rel=1e-9, abs=1e-9)


def test_events_are_upward_crossings_apart_by_more_than_the_refractory_time():
    model = parameters(1)
    z = np.array([0, 4, 4, 0, 4, 0, 0, 4, 4, 4, 4, 4, 4, 0, 5.0])
    _, _, _, events, state = run((z * model.noise_dff)[:, None, None], 0, model)
    np.testing.assert_array_equal(events["event_frame"], [1, 7, 14])
    assert (events["roi_id"] == 70).all()
    assert (events["flags"] == 4).all()
    assert state.hold_off[0] == 9
    np.testing.assert_array_equal(events["n_spikes"], [1, 1, 2])


def test_an_event_stands_at_the_frame_that_the_drive_speaks_of():
    model = parameters(1)
    drive = np.zeros((20, 4, 1))
    drive[10, 3] = 5 * model.noise_dff
    assert run(drive, 3, model)[3]["event_frame"].tolist() == [7]


@pytest.mark.parametrize(("lag", "frame"), [(5, 5), (4, 6), (3, 7), (2, 5)])
def test_an_event_moves_to_the_crest_that_is_known_already(lag, frame):
    model = parameters(1)
    drive = np.zeros((20, 6, 1))
    drive[10, 5] = 4 * model.noise_dff
    drive[10, lag] = 6 * model.noise_dff
    assert run(drive, 5, model)[3]["event_frame"].tolist() == [frame]


def test_without_a_sample_there_is_no_event_and_a_lower_bound_says_so():
    model = parameters(2)
    drive = np.zeros((20, 1, 2))
    drive[10] = 5 * model.noise_dff
    code = np.ones((20, 2), np.uint8)
    code[10] = 0, 3
    events = run(drive, 0, model, code)[3]
    assert events["roi_id"].tolist() == [71]
    assert events["flags"][0] & EventFlag.CENSORED


@pytest.mark.parametrize("hold", [0, 1, 2, 3, 5])
def test_probability_never_falls_when_the_drive_rises(hold):
    tables, calibration = probability_tables(hold)
    model = parameters(1, gain=1.5)._replace(tables=tables, calibration=calibration)
    found = []
    for z in np.linspace(-5, 60, 200):
        drive = np.zeros((1, max(hold + 1, 2), 1))
        drive[0, hold] = z * model.noise_dff
        found.append(run(drive, hold, model)[2][0, 0])
    if hold > 0:  # else the drive of the frame is also that of the frame after
        assert (np.diff(found) >= 0).all()
    assert found[0] < 0.05
    assert found[-1] > 0.5


def test_an_event_needs_its_probability():
    drive = np.zeros((20, 1, 1))
    drive[10:12] = [[[0.1]], [[0.4]]]
    sure = run(drive, 0, parameters(1, threshold=-np.inf))[2][:, 0]
    for limit in (0.02, float(sure[10] + sure[11]) / 2):
        frames = run(drive, 0, parameters(1, threshold=-np.inf, smallest_probability=limit))[3]["event_frame"]
        above = np.flatnonzero(sure >= limit)
        assert frames[0] == above[0]
    assert len(run(drive, 0, parameters(1, threshold=-np.inf, smallest_probability=1.1))[3]) == 0


def test_count_and_size_are_those_of_the_crest():
    model = parameters(1)
    drive = np.zeros((20, 4, 1))
    drive[10, 3], drive[10, 2] = 4 * model.noise_dff, 9 * model.noise_dff
    event = run(drive, 3, model)[3]
    assert event["n_spikes"].tolist() == [3.0]
    assert event["amplitude"][0] == pytest.approx(9 * model.noise_dff[0] / 0.5)
    assert event["z"][0] == pytest.approx(4)

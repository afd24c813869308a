"""The decision on the drive: rate, probability and events as defined, from a plain loop."""

import numpy as np
import pytest
from naive import drive_decision as naive

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.drive_decision import (
    KNOT_FIRST,
    KNOT_STEP,
    N_KNOTS,
    DriveDecisionParameters,
    decide_drive,
    decision_features,
    empty_decision_state,
)
from rt_engine.kernels.drive_evidence import log_evidence
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


NAN, INF = np.nan, np.inf
EXTREMES = [0.0, 1e-310, 1e-30, 1e3, -1e3, 1e30, -1e30, 1e150, -1e150]


def random_drive(kind, hold, n, n_frames=80):
    """Shape (n_frames, hold + 1, n)."""
    rng = np.random.default_rng([hold, n])
    shape = n_frames, hold + 1, n
    if kind == "constant":
        return np.full(shape, 0.7)
    drive = rng.standard_normal(shape) * 0.4
    if kind != "random":
        at = rng.random(shape) < 0.15
        values = {"not a number": [NAN], "infinite": [INF, -INF], "extreme": EXTREMES, "any": [NAN, INF, *EXTREMES]}
        drive[at] = rng.choice(values[kind], at.sum())
    return drive


def random_model(n):
    rng = np.random.default_rng(n)
    return parameters(n, threshold=2.0, smallest_probability=0.3)._replace(
        noise_dff=rng.uniform(0.05, 0.2, n),
        unit_dff=rng.uniform(0.2, 0.4, n),
        gain=rng.uniform(0.3, 6, n),
        log_prior=np.log(rng.uniform(0.003, 0.1, n)),
        response=rng.uniform(0.3, 1, n),
    )


@pytest.mark.parametrize("kind", ["random", "constant", "not a number", "infinite", "extreme", "any"])
@pytest.mark.parametrize("hold", [0, 1, 3])
def test_rate_probability_and_features_are_those_of_the_definition(hold, kind):
    n = 70
    model, drive = random_model(n), random_drive(kind, hold, n)
    with np.errstate(over="ignore"):
        rate, z, probability, _, _ = run(drive, hold, model)
    state, features = empty_decision_state(n), np.zeros((len(drive), n, 4))
    for t in range(len(drive)):
        decision_features(hold, drive[t], model, state, features[t])
    for i in range(n):
        noise, log_prior = model.noise_dff[i], model.log_prior[i]
        expected = naive.features(drive[:, :, i], hold, noise, model.gain[i], log_prior)
        chance = [naive.probability(of_frame, log_prior, TABLES, KNOTS) for of_frame in expected]
        rates = [naive.rate(e[1], p, noise, model.unit_dff[i]) for e, p in zip(expected, chance, strict=True)]
        np.testing.assert_allclose(features[:, i], expected, rtol=1e-9, atol=1e-9)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(z[:, i], np.array(expected)[:, 1].astype(np.float32), rtol=1e-6)
            np.testing.assert_allclose(probability[:, i], chance, rtol=1e-5)
            np.testing.assert_allclose(rate[:, i], np.array(rates).astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("kind", ["random", "constant", "not a number", "infinite", "extreme", "any"])
@pytest.mark.parametrize("hold", [0, 1, 3])
def test_events_are_those_of_the_definition(hold, kind):
    n = 70
    model, drive = random_model(n), random_drive(kind, hold, n)
    code = np.random.default_rng(9).choice([0, 1, 2, 3], (len(drive), n), p=[0.1, 0.6, 0.1, 0.2]).astype(np.uint8)
    with np.errstate(over="ignore"):
        _, z, _, found, _ = run(drive, hold, model, code)
    n_expected = 0
    for i in range(n):
        noise, log_prior = model.noise_dff[i], model.log_prior[i]
        features = naive.features(drive[:, :, i], hold, noise, model.gain[i], log_prior)
        chance = [naive.probability(of_frame, log_prior, TABLES, KNOTS) for of_frame in features]
        z_exact = [of_frame[1] for of_frame in features]
        expected = naive.events(drive[:, :, i], hold, z_exact, chance, code[:, i], 2.0, 0.3, 3)
        of_cell = found[found["roi_id"] == 70 + i]
        told = [t for t, _, _, _ in expected]
        assert of_cell["event_frame"].tolist() == [onset for _, onset, _, _ in expected]
        assert (of_cell["flags"] & EventFlag.CENSORED > 0).tolist() == [censored for *_, censored in expected]
        assert (of_cell["t_event_ns"] == 0).all()
        size = np.array([crest for _, _, crest, _ in expected])
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(of_cell["z"], z[told, i])
            np.testing.assert_allclose(of_cell["probability"], [chance[t] for t in told], rtol=1e-5)
            np.testing.assert_allclose(of_cell["amplitude"], (size / model.response[i]).astype(np.float32), rtol=1e-6)
            count = np.maximum(1, np.round(size / noise / model.gain[i])).astype(np.float32)
            np.testing.assert_allclose(of_cell["n_spikes"], count, rtol=1e-6)
        n_expected += len(expected)
    assert len(found) == n_expected > (0 if kind == "constant" else 50)


def assert_same_cells(found, expected, cells):
    """`found` is what `expected` has of some cells, bit for bit."""
    for array, whole in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(array, whole[:, cells])
    for name in ("armed", "since_event", "hold_off", "log_odds_before", "z_before"):
        np.testing.assert_array_equal(getattr(found[4], name), getattr(expected[4], name)[cells])
    of_cells = expected[3][np.isin(expected[3]["roi_id"], 70 + np.asarray(cells))]
    np.testing.assert_array_equal(np.sort(found[3]), np.sort(of_cells))


def of_cells(model, cells):
    return model._replace(
        **{
            name: np.ascontiguousarray(values[cells])
            for name, values in model._asdict().items()
            if name not in ("tables", "calibration")
        }
    )


@pytest.mark.parametrize("kind", ["random", "any"])
def test_a_cell_does_not_depend_on_its_place(kind):
    n = 200
    model, drive = random_model(n), random_drive(kind, 2, n)
    with np.errstate(over="ignore"):
        whole = run(drive, 2, model)
        cells = np.random.default_rng(3).permutation(n)
        moved = run(np.ascontiguousarray(drive[:, :, cells]), 2, of_cells(model, cells))
    assert_same_cells(moved, whole, cells)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 128, 129])
def test_a_cell_does_not_depend_on_how_many_there_are(n):
    n_all = 200
    model, drive = random_model(n_all), random_drive("any", 2, n_all)
    cells = np.arange(30, 30 + n)
    with np.errstate(over="ignore"):
        whole = run(drive, 2, model)
        some = run(np.ascontiguousarray(drive[:, :, cells]), 2, of_cells(model, cells))
    assert_same_cells(some, whole, cells)


def test_the_scratch_beyond_the_last_cell_does_not_grow():
    n = 3
    model, state = parameters(n), empty_decision_state(n)
    drive, code = np.zeros((2, n)), np.ones(n, np.uint8)
    outputs = [np.zeros(n, np.float32) for _ in range(3)]
    seen = []
    for frame in range(200):
        decide_drive(frame, 1, 0, drive, code, model, state, *outputs, np.zeros(n, EVENT_DTYPE))
        seen.append(state.cell.copy())
    np.testing.assert_array_equal(seen[10], seen[-1])  # some of it are indices of tables


def test_the_scratch_remembers_nothing():
    n = 70
    model, drive = random_model(n), random_drive("random", 1, n)
    state, other = empty_decision_state(n), empty_decision_state(n)
    code, events = np.ones(n, np.uint8), np.zeros(n, EVENT_DTYPE)
    for t in range(20):
        told, again = np.zeros((2, 3, n), np.float32)
        decide_drive(t, 1, 0, drive[t], code, model, state, *told, events)
        other.cell.fill((NAN, INF, -1e300)[t % 3])
        other.selected.fill(9)
        decide_drive(t, 1, 0, drive[t], code, model, other, *again, events)
        np.testing.assert_array_equal(told, again)


@pytest.mark.parametrize("hold", [0, 1])
def test_a_drive_that_is_no_number_has_no_probability_and_no_event(hold):
    model = parameters(1)
    drive = np.zeros((9, hold + 1, 1))
    drive[4:6], drive[8] = NAN, 5 * model.noise_dff
    rate, z, probability, events, _ = run(drive, hold, model)
    for told in (rate, z, probability):
        assert np.isnan(told[4:6]).all()
    assert np.isfinite(probability[7:]).all()
    assert len(events) == 1


def test_frames_are_counted_down_and_up_after_an_event():
    model = parameters(66)
    drive = np.zeros((8, 1, 66))
    drive[2, 0, [0, 65]] = 1.0
    state = run(drive, 0, model)[4]
    assert state.hold_off[[0, 65]].tolist() == [9 - 5] * 2
    assert state.since_event[[0, 65]].tolist() == [5] * 2
    assert (state.hold_off[1:65] == -8).all()
    assert (state.since_event[1:65] == (1 << 30) + 8).all()


def test_without_cells_there_are_no_events():
    model = of_cells(parameters(1), np.zeros(0, int))
    assert len(run(np.zeros((3, 2, 0)), 1, model)[3]) == 0


@pytest.mark.parametrize("gain", [0.05, 0.4, 1.0, 3.0, 12.0])
def test_evidence_is_that_of_the_best_number_of_spikes(gain):
    for z in np.linspace(-30, 60, 301):
        assert log_evidence(z, gain) == pytest.approx(naive.log_evidence(z, gain), rel=1e-9, abs=1e-9)


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

"""`infer` is the live stage, strictly causal, row by row, whatever is missing."""

from dataclasses import replace

import numpy as np
import pytest
from naive.network import untrained
from naive.planted_traces import planted_traces

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.models.detection import frames_before
from rt_engine.models.drive_calibration import measure_noise
from rt_engine.models.drive_fit import fit_drive
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, calibration_of, run_stage
from rt_engine.models.trace_calibration import calibrate_from_priors
from rt_engine.models.trace_inference import InferenceSettings, Method, TraceKind, infer_traces
from rt_engine.pipeline.drive import DriveStage
from rt_engine.pipeline.traces import TraceStage

RATE_HZ, HOLD = 30.0, 3
PRIOR = indicator("jGCaMP8m")


@pytest.fixture(scope="module")
def planted():
    return planted_traces(
        5, n_rois=6, n_frames=900, amplitude_over_sigma=8, rate_hz=1.0, tau_rise_s=PRIOR.tau_rise_s, tau_s=PRIOR.tau_s
    )


@pytest.fixture(scope="module")
def traces(planted):
    return np.ascontiguousarray((planted.f_roi / planted.f0_counts - 1).T, np.float32)


def infer(y, rate_hz=RATE_HZ, neuropil=None, **changed):
    of = {"indicator": PRIOR, "hold_frames": HOLD, "network": untrained()} | changed
    settings = InferenceSettings(**of)
    rates = np.broadcast_to(np.asarray(rate_hz, float), len(y)).copy()
    return infer_traces(y, rates, settings, neuropil)


def same(a, b):
    return (
        a.spike_rate.tobytes() == b.spike_rate.tobytes()
        and a.probability.tobytes() == b.probability.tobytes()
        and a.events.tobytes() == b.events.tobytes()
    )


@pytest.mark.parametrize("network", [None, untrained()], ids=["combined", "network"])
@pytest.mark.parametrize(
    "rule", [{"false_alarms_per_min": 0.5}, {"false_alarms_per_min": None, "false_event_cost": 2.0}]
)
def test_is_the_live_stage_bit_for_bit(planted, rule, network):
    """A baseline, then the stage driven frame by frame as the engine drives it, from counts."""
    n_baseline = 300
    f, ring = planted.f_roi, planted.f_np
    found = infer(
        np.ascontiguousarray(f.T), neuropil=np.ascontiguousarray(ring.T), kind=TraceKind.COUNTS,
        baseline_s=n_baseline / RATE_HZ, **rule, network=network,
        method=Method.COMBINED if network is None else Method.NETWORK,
    )  # fmt: skip
    law = {"frame_rate_hz": RATE_HZ, "hold_frames": HOLD}
    past = calibrate_from_priors(
        f[:n_baseline],
        ring[:n_baseline],
        planted.valid[:n_baseline],
        indicator=PRIOR,
        neuropil_coefficient=0.7,
        false_alarms_per_min=0.5,
        **law,
    )
    settings = RunSettings(RATE_HZ, PRIOR, HOLD, frames_before(PRIOR.tau_s, RATE_HZ), 0.5)
    corrected = f[:n_baseline] - past.neuropil_coefficient * (ring[:n_baseline] - past.neuropil_median_counts)
    dff = ((corrected - past.f0_counts) / past.f0_counts).astype(np.float32)
    fit = fit_drive(dff, np.ones(dff.shape, bool), prior=PRIOR, **law, **rule)
    drive = fit.constants
    if rule["false_alarms_per_min"] is not None:
        good = np.ones(dff.shape, bool)
        run = run_stage(past, f[:n_baseline], ring[:n_baseline], good, settings, drive)
        drive = measure_noise(fit, run, past, good, settings, np.zeros(f.shape[1])).constants
    stage = TraceStage(replace(calibration_of(past, settings, n_baseline), drive=drive, network=network))
    stage.warm_up()
    none, events = np.zeros(f.shape[1], np.uint8), []
    for t in range(len(f)):
        n = stage.process(t, 0, f[t], ring[t], planted.valid[t], none)
        if t >= HOLD:
            assert stage.spike.tobytes() == found.spike_rate[:, t].tobytes()
            told = np.nan_to_num(stage.probability)  # NaN: no decision
            assert told.tobytes() == found.probability[:, t].tobytes()
        events += [(t, e["event_frame"], e["roi_id"], e["probability"]) for e in stage.events[:n]]
    told_events = [(e["decided_frame"], e["event_frame"], e["roi_index"], e["probability"]) for e in found.events]
    assert len(told_events) > 20
    assert told_events == events


@pytest.mark.parametrize("method", list(Method))
def test_garbage_in_the_future_changes_nothing_in_the_past(traces, method):
    cut = 500
    spoiled = traces.copy()
    spoiled[:, cut:] = 50 * np.random.default_rng(0).standard_normal(spoiled[:, cut:].shape)
    spoiled[2, cut:] = np.nan
    whole, past = infer(traces, method=method), infer(spoiled, method=method)
    assert whole.spike_rate[:, :cut].tobytes() == past.spike_rate[:, :cut].tobytes()
    assert whole.probability[:, :cut].tobytes() == past.probability[:, :cut].tobytes()
    before = [r.events[r.events["decided_frame"] < cut] for r in (whole, past)]
    assert len(before[0])
    assert before[0].tobytes() == before[1].tobytes()


def test_rows_may_stand_in_any_order(traces):
    order = np.array([3, 1, 5, 0, 4, 2])
    one, other = infer(traces), infer(np.ascontiguousarray(traces[order]))
    assert one.spike_rate[order].tobytes() == other.spike_rate.tobytes()
    assert one.probability[order].tobytes() == other.probability.tobytes()
    pairs = [sorted(zip(e["roi_index"], e["event_frame"], strict=True)) for e in (one.events, other.events)]
    assert pairs[0] == sorted((order[i], t) for i, t in pairs[1])


def test_nan_at_the_end_does_not_matter(traces):
    padded = np.pad(traces, ((0, 0), (0, 250)), constant_values=np.nan)
    whole, longer = infer(traces), infer(padded)
    assert longer.spike_rate[:, : traces.shape[1]].tobytes() == whole.spike_rate.tobytes()
    assert longer.events[longer.events["decided_frame"] < traces.shape[1]].tobytes() == whole.events.tobytes()
    assert not (longer.events["decided_frame"] >= traces.shape[1]).any()


def test_rates_of_frames_are_those_of_the_rows(traces):
    alone = infer(traces[:1], 15.0)
    mixed = infer(traces[:2], np.array([15.0, 30.0]))
    assert mixed.spike_rate[0].tobytes() == alone.spike_rate[0].tobytes()


def test_events_are_decided_after_they_happen_and_no_later_than_the_hold(traces):
    for hold in (0, 1, 5):
        found = infer(traces, hold_frames=hold)
        late = found.events["decided_frame"] - found.events["event_frame"]
        assert ((late >= 0) & (late <= hold)).all()
        assert not found.spike_rate[:, :hold].any()
        assert not found.probability[:, :hold].any()


@pytest.mark.parametrize("method", list(Method))
def test_planted_spikes_are_found(planted, traces, method):
    found = infer(traces, method=method)
    counts = np.array([np.histogram(s, np.arange(901) / RATE_HZ)[0] for s in planted.spikes_s])
    smooth = np.ones(5)
    r = [
        np.corrcoef(np.convolve(a[100:-HOLD], smooth), np.convolve(b[100 + HOLD :], smooth))[0, 1]
        for a, b in zip(counts, found.spike_rate, strict=True)
    ]
    # The matched filter tells a train of spikes as one event.
    assert np.median(r) > (0.7 if method is Method.MATCHED_FILTER else 0.8)


@pytest.mark.parametrize("n_frames", [0, 1, 2, 20, 40])
@pytest.mark.parametrize("method", list(Method))
def test_short_records_are_answered(traces, n_frames, method):
    found = infer(np.ascontiguousarray(traces[:, :n_frames]), method=method)
    assert found.spike_rate.shape == (6, n_frames)
    assert np.isfinite(found.spike_rate).all()
    assert (found.events["flags"] & EventFlag.PROVISIONAL).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_dead_rows_stay_silent(traces, value):
    y = traces.copy()
    y[1] = value
    found = infer(y)
    assert np.isfinite(found.spike_rate).all()
    assert np.isfinite(found.probability).all()
    assert not found.events["roi_index"].tolist().count(1)
    alone = infer(traces)
    assert found.spike_rate[0].tobytes() == alone.spike_rate[0].tobytes()


def test_scattered_missing_samples_cost_little(traces):
    y = traces.copy()
    y[np.random.default_rng(1).random(y.shape) < 0.05] = np.nan
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(infer(y).spike_rate, infer(traces).spike_rate, strict=True)]
    assert np.median(r) > 0.9


def test_events_are_told_where_telling_costs_less_than_keeping_silent(traces):
    for cost in (0.1, 1.0, 2.0):
        told = infer(traces, false_event_cost=cost).events
        assert len(told) > 20
        assert told["probability"].min() >= cost / (1 + cost) - 1e-6
    dear, cheap = (len(infer(traces, false_event_cost=cost).events) for cost in (9.0, 0.1))
    assert dear < cheap
    usual = infer(traces).events
    assert usual.tobytes() == infer(traces, false_event_cost=0.35 / 0.65).events.tobytes()


def test_cost_and_rate_of_false_events_hold_both(traces):
    by_rate, both = (infer(traces, false_alarms_per_min=1.0, false_event_cost=c).events for c in (None, 4.0))
    assert len(both) < len(by_rate)
    assert both["probability"].min() >= 0.8 - 1e-6


def test_the_network_moves_odds_and_rate_within_its_bounds_and_leaves_noise_its_threshold(traces):
    """With a rate of false events asked for, events are those of z with a network and without."""
    asked = {"false_alarms_per_min": 0.5}
    plain = infer(traces, **asked)
    voted = infer(traces, method=Method.NETWORK, network=untrained(size=2.0), **asked)
    names = ["roi_index", "event_frame", "decided_frame", "n_spikes"]
    assert len(plain.events) > 10
    assert voted.events[names].tolist() == plain.events[names].tolist()
    told = (plain.probability > 1e-4) & (plain.probability < 0.99)
    odds = [np.log(r.probability[told] / (1 - r.probability[told].astype(float))) for r in (plain, voted)]
    moved = np.abs(odds[1] - odds[0])
    assert 0.75 < moved.max() <= 1.125 + 1e-3


def test_expected_counts_come_with_the_network_alone(traces):
    found = infer(traces, method=Method.NETWORK, network=untrained())
    assert infer(traces).expected_count is None
    assert (found.expected_count >= 0.7 * found.probability * (1 - 1e-6)).all()
    assert (found.count_deviation**2 >= found.expected_count * (1 - 1e-5)).all()
    some = found.probability > 0.5
    assert some.any()
    assert (found.expected_count[some] > 0.7 * found.probability[some]).all()


def test_a_hold_that_the_network_does_not_answer_for_is_refused(traces):
    with pytest.raises(CalibrationError, match=r"hold of 4 frames. choose one of 0, 1, 2, 3, 5"):
        infer(traces, method=Method.NETWORK, network=untrained(), hold_frames=4)


def test_a_gap_is_frames_without_a_sample_to_the_network(planted):
    """Up to the few frames after which it has nothing new to learn of more of them."""
    f = planted.f_roi
    dff = ((f[:300] - planted.f0_counts) / planted.f0_counts).astype(np.float32)
    law = {"frame_rate_hz": RATE_HZ, "hold_frames": HOLD, "false_alarms_per_min": 0.5}
    drive = fit_drive(dff, np.ones(dff.shape, bool), prior=PRIOR, **law).constants
    ids, n = np.arange(f.shape[1], dtype=np.uint32), f.shape[1]
    one, other = (DriveStage(drive, ids, np.ones(n, np.float32), HOLD, untrained(), RATE_HZ) for _ in range(2))
    good, missing, f0 = np.ones(n, np.uint8), np.zeros(n, np.uint8), np.ones(n, np.float32)
    told = [np.zeros((3, n), np.float32) for _ in range(2)]
    events = np.zeros(n, EVENT_DTYPE)
    for t in range(40):
        for stage, out in ((one, told[0]), (other, told[1])):
            if t == 20 and stage is one:
                stage.pass_gap(5, *out, events)
            elif t == 20:
                for _ in range(5):
                    stage.process(t, 0, dff[0], f0, missing, missing, *out, events)
            stage.process(t, 0, dff[t], f0, good, good, *out, events)
        np.testing.assert_array_equal(*told)  # rate, z, probability
    assert one.network.told.tobytes() == other.network.told.tobytes()

"""The trace stage: causal, reproducible, honest about what is missing, nominal on noise."""

from dataclasses import replace

import numpy as np
import pytest
from naive.planted_traces import planted_traces
from scipy.stats import poisson

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.events import EventFlag
from rt_engine.models.detection import event_threshold, frames_before, matched_filter
from rt_engine.pipeline.traces import TraceStage

RATE_HZ, TAU_RISE_S, TAU_S, AMPLITUDE, HOLD = 30.0, 0.006, 0.17, 0.7, 1
FIELDS = ("fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid")


def known_calibration(planted, false_alarms_per_min=0.5, n_baseline_frames=5000):
    """Calibration from the truth."""
    n = planted.f_roi.shape[1]
    found = matched_filter(TAU_RISE_S, TAU_S, RATE_HZ, HOLD, frames_before(TAU_S, RATE_HZ))
    sigma = planted.sigma_dff
    threshold = event_threshold(false_alarms_per_min, RATE_HZ, found.rho, skewness=sigma * found.cubes)

    def full(value):
        return np.broadcast_to(value, n).astype(np.float32)

    none, image = np.zeros(n + 1, np.int64), np.zeros((1, 1), np.float32)
    return Calibration(
        frame_rate_hz=RATE_HZ,
        n_lines=1,
        pixels_per_line=1,
        um_per_px=1.0,
        indicator="jGCaMP8m",
        hold_frames=HOLD,
        n_baseline_frames=n_baseline_frames,
        offset_counts=0.0,
        adc_max_counts=np.nan,
        false_alarms_per_min=false_alarms_per_min,
        template=image,
        correlation_image=image,
        roi_id=np.arange(1000, 1000 + n, dtype=np.uint32),
        roi_start=none,
        roi_pixels=np.zeros(0, np.uint32),
        neuropil_start=none,
        neuropil_pixels=np.zeros(0, np.uint32),
        neuropil_coefficient=full(0.0),
        neuropil_median_counts=full(0.0),
        f0_counts=full(planted.f0_counts),
        sigma_dff=full(sigma),
        tau_rise_s=full(TAU_RISE_S),
        tau_s=full(TAU_S),
        amplitude_dff=full(AMPLITUDE),
        rate_hz=full(0.5),
        filter_taps=np.repeat(found.taps[:, None], n, 1).astype(np.float32),
        filter_gain=full(found.gain * AMPLITUDE / sigma),
        threshold=full(threshold),
        expected_detection=full(0.9),
        quality=full(1.0),
    )


def run(stage, planted, frames=None, gaps=None, valid=None, censored=None):
    """All events, and every field of every frame, shape (n_frames, n_rois)."""
    n_frames = len(planted.f_roi)
    valid = planted.valid if valid is None else valid
    censored = np.zeros_like(valid) if censored is None else censored
    events, out = [stage.events[:0].copy()], {name: [] for name in FIELDS}
    for i, t in enumerate(range(n_frames) if frames is None else frames):
        n_gap = 0 if gaps is None else int(gaps[i])
        n = stage.process(int(t), n_gap, planted.f_roi[t], planted.f_np[t], valid[t], censored[t])
        events.append(stage.events[:n].copy())
        for name in FIELDS:
            out[name].append(getattr(stage, name).copy())
    return np.concatenate(events), {name: np.array(rows) for name, rows in out.items()}


@pytest.fixture(scope="module")
def active():
    return planted_traces(0, n_rois=12, n_frames=900, amplitude_over_sigma=8, rate_hz=1.0, neuropil=0.0)


@pytest.fixture(scope="module")
def reference(active):
    stage = TraceStage(known_calibration(active))
    stage.warm_up()
    return run(stage, active)


def test_noise_raises_events_at_the_nominal_rate_whatever_the_brightness():
    # Noise 10 times apart between cells, and a slow drift, as a dimming laser gives it.
    n = 240
    silent = planted_traces(
        1,
        n_rois=n,
        n_frames=5400,
        rate_hz=0,
        amplitude_over_sigma=np.geomspace(2, 20, n),
        neuropil=0,
        drift_per_min=0.01,
    )
    events, out = run(TraceStage(known_calibration(silent)), silent)
    per_third = 0.5 * 3 * n / 3
    low, high = poisson.interval(0.99, 3 * per_third)
    assert low <= len(events) <= high
    low, high = poisson.interval(0.997, per_third)
    counts = np.histogram(events["roi_id"] - 1000, bins=[0, n // 3, 2 * n // 3, n])[0]
    assert ((low <= counts) & (counts <= high)).all()
    assert np.nanstd(out["z"]) == pytest.approx(1.0, abs=0.01)


def test_planted_spikes_are_found_in_time(active, reference):
    events, _ = reference
    for i, truth in enumerate(active.spikes_s):
        frames = events["event_frame"][events["roi_id"] == 1000 + i]
        for s in truth[np.concatenate([[True], np.diff(truth) > 0.6])]:
            if 0.6 < s < 29.8:
                assert np.abs(frames + 0.5 - s * RATE_HZ).min() < 3


def test_counts_and_frames_of_single_events_are_those_planted():
    # One to three spikes within 16 ms, A / sigma 6, hold 3.
    rng = np.random.default_rng(7)
    n, n_frames, start = 400, 60, 40
    silent = planted_traces(7, n_rois=n, n_frames=n_frames, rate_hz=0, amplitude_over_sigma=6, neuropil=0)
    found = matched_filter(TAU_RISE_S, TAU_S, RATE_HZ, 3, frames_before(TAU_S, RATE_HZ))
    sigma, count = silent.sigma_dff, rng.integers(1, 4, n)
    calibration = replace(
        known_calibration(silent),
        hold_frames=3,
        filter_taps=np.repeat(found.taps[:, None], n, 1).astype(np.float32),
        filter_gain=(found.gain * AMPLITUDE / sigma).astype(np.float32),
        threshold=np.full(n, event_threshold(0.1, RATE_HZ, found.rho), np.float32),
    )
    rise = TAU_RISE_S * TAU_S / (TAU_S - TAU_RISE_S) * np.log(TAU_S / TAU_RISE_S)
    peak = np.exp(-rise / TAU_S) - np.exp(-rise / TAU_RISE_S)
    phase, scan = rng.random((2, n))
    dff = np.zeros((n_frames, n))
    for k in range(3):
        after = np.maximum((np.arange(n_frames)[:, None] + scan - start - phase) / RATE_HZ - 0.008 * k, 0.0)
        dff += (count > k) * AMPLITUDE * (np.exp(-after / TAU_S) - np.exp(-after / TAU_RISE_S)) / peak
    silent.f_roi[...] += (silent.f0_counts * dff).astype(np.float32)
    events, _ = run(TraceStage(calibration), silent)
    events = events[events["event_frame"] >= start - 3]
    roi, first = np.unique(events["roi_id"] - 1000, return_index=True)
    told = events[first]
    assert len(roi) > 0.97 * n
    assert np.mean(np.round(told["n_spikes"]) == count[roi]) > 0.85
    late = told["event_frame"] - start
    assert np.mean(late == 0) > 0.6
    assert np.mean(np.abs(late) <= 1) > 0.98
    assert np.median(told["amplitude"] / AMPLITUDE / count[roi]) == pytest.approx(1.0, abs=0.1)
    assert np.median(told["probability"]) > 0.99


def test_bursts_are_told_once(reference):
    events, _ = reference
    for roi in np.unique(events["roi_id"]):
        assert np.diff(np.sort(events["event_frame"][events["roi_id"] == roi])).min() > 3


def test_same_input_same_bits(active, reference):
    events, out = run(TraceStage(known_calibration(active)), active)
    assert events.tobytes() == reference[0].tobytes()
    for name in FIELDS:
        assert out[name].tobytes() == reference[1][name].tobytes()


def test_reset_forgets_everything(active, reference):
    stage = TraceStage(known_calibration(active))
    run(stage, active, frames=range(200))
    stage.reset()
    events, out = run(stage, active)
    assert events.tobytes() == reference[0].tobytes()
    assert out["z"].tobytes() == reference[1]["z"].tobytes()


def test_the_future_does_not_matter(active, reference):
    changed = replace(active, f_roi=active.f_roi.copy())
    changed.f_roi[500:] *= 3
    events, out = run(TraceStage(known_calibration(active)), changed)
    assert out["z"][:500].tobytes() == reference[1]["z"][:500].tobytes()
    decided_before = reference[0][reference[0]["event_frame"] < 490]
    assert events[: len(decided_before)].tobytes() == decided_before.tobytes()


def test_rows_do_not_influence_each_other(active, reference):
    one = replace(
        active, f_roi=np.ascontiguousarray(active.f_roi[:, :3]), f_np=np.ascontiguousarray(active.f_np[:, :3]),
        valid=np.ascontiguousarray(active.valid[:, :3]), sigma_dff=active.sigma_dff[:3], f0_counts=active.f0_counts[:3],
    )  # fmt: skip
    _, out = run(TraceStage(known_calibration(one)), one)
    np.testing.assert_array_equal(out["z"], reference[1]["z"][:, :3])


def test_counts_in_other_units_give_the_same_events(active, reference):
    scaled = replace(active, f_roi=4 * active.f_roi, f_np=4 * active.f_np, f0_counts=4 * active.f0_counts)
    events, out = run(TraceStage(known_calibration(scaled)), scaled)
    np.testing.assert_array_equal(events["event_frame"], reference[0]["event_frame"])
    np.testing.assert_allclose(out["z"], reference[1]["z"], atol=1e-3)


def test_no_decision_before_the_filter_is_full(reference):
    z = reference[1]["z"]
    n_taps = frames_before(TAU_S, RATE_HZ) + 1 + HOLD
    assert np.isnan(z[:n_taps]).all()
    assert np.isfinite(z[n_taps]).all()


def test_where_there_is_no_sample_there_is_nan(active):
    valid = active.valid.copy()
    valid[300, 2] = 0
    spoiled = replace(active, f_roi=active.f_roi.copy())
    spoiled.f_roi[310, 3] = np.nan
    _, out = run(TraceStage(known_calibration(active)), spoiled, valid=valid)
    for frame, roi in ((300, 2), (310, 3)):
        assert out["valid"][frame, roi] == 0
        for name in FIELDS[:-1]:
            assert np.isnan(out[name][frame, roi]), name
    assert out["valid"].sum() == out["valid"].size - 2
    assert np.isfinite(out["dff"]).sum() == out["dff"].size - 2


def test_one_blanked_sample_mutes_a_cell_for_that_sample_only(active, reference):
    valid = active.valid.copy()
    valid[400] = 2
    _, out = run(TraceStage(known_calibration(active)), active, valid=valid)
    assert np.isnan(out["z"][400]).all()
    open_before = np.isfinite(reference[1]["z"][395:410]).all(axis=0)
    assert np.isfinite(out["z"][402:410, open_before]).all()


def test_unannounced_losses_mute_a_cell_for_the_length_of_the_filter(active):
    valid = active.valid.copy()
    valid[[400, 402], 5] = 0
    _, out = run(TraceStage(known_calibration(active)), active, valid=valid)
    n_taps = frames_before(TAU_S, RATE_HZ) + 1 + HOLD
    assert np.isnan(out["z"][402 : 400 + n_taps, 5]).all()
    assert np.isfinite(out["z"][401 + n_taps + 1, 5])


def test_lost_frames_are_the_same_as_frames_that_were_blanked(active):
    lost = np.zeros(len(active.f_roi), bool)
    lost[[100, 101, 350, 600]] = True
    valid = active.valid.copy()
    valid[lost] = 2
    whole, at_every = run(TraceStage(known_calibration(active)), active, valid=valid)
    gaps = np.diff(np.flatnonzero(~lost), prepend=-1) - 1
    joined, at_kept = run(TraceStage(known_calibration(active)), active, frames=np.flatnonzero(~lost), gaps=gaps)
    np.testing.assert_array_equal(joined["event_frame"], whole["event_frame"])
    np.testing.assert_array_equal(at_kept["z"], at_every["z"][~lost])
    np.testing.assert_allclose(at_kept["calcium"], at_every["calcium"][~lost], atol=1e-6)


def test_events_after_a_gap_say_so_and_a_long_gap_warms_up_again(active):
    n_taps = frames_before(TAU_S, RATE_HZ) + 1 + HOLD
    frames = np.concatenate([np.arange(100), np.arange(170, 900)])
    gaps = np.where(frames == 170, 70, 0)
    events, out = run(TraceStage(known_calibration(active)), active, frames=frames, gaps=gaps)
    assert np.isnan(out["z"][100 : 100 + n_taps]).all()
    assert np.isfinite(out["z"][100 + n_taps]).all()
    # A gap short of two seconds only leaves its mark.
    frames = np.delete(np.arange(900), np.arange(0, 900, 9))
    gaps = np.diff(frames, prepend=-1) - 1
    events, _ = run(TraceStage(known_calibration(active)), active, frames=frames, gaps=gaps)
    assert len(events)
    assert (events["flags"] & EventFlag.AFTER_GAP).all()


def test_saturated_samples_raise_flagged_events_and_teach_nothing(active, reference):
    censored = np.ones_like(active.valid)
    stage = TraceStage(known_calibration(active))
    events, out = run(stage, active, censored=censored)
    assert len(events)
    assert (events["flags"] & EventFlag.CENSORED).all()
    assert not (reference[0]["flags"] & EventFlag.CENSORED).any()
    np.testing.assert_allclose(stage.f0, active.f0_counts, rtol=1e-5)
    assert not out["calcium"].any()


def test_few_baseline_frames_make_events_provisional(active):
    events, _ = run(TraceStage(known_calibration(active, n_baseline_frames=600)), active)
    assert (events["flags"] & EventFlag.PROVISIONAL).all()


def test_events_carry_identity_not_position(reference):
    assert reference[0]["roi_id"].min() >= 1000


def test_probability_is_high_where_there_is_a_spike_and_low_elsewhere(active, reference):
    probability = reference[1]["probability"]
    near = np.zeros(probability.shape, bool)
    for i, truth in enumerate(active.spikes_s):
        for s in truth:
            first = int(s * RATE_HZ)
            near[max(first - 1, 0) : first + 4, i] = True
    assert np.nanmean(probability[~near]) < 0.03
    assert np.nanmax(probability) <= 1
    events = reference[0]
    assert events["probability"].mean() > 0.9


def test_nothing_merges_beyond_the_pools(active):
    stage = TraceStage(known_calibration(active))
    run(stage, active)
    assert stage.floor_hits.sum() == 0

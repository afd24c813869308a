"""Smoother, filter and the whole of `infer` keep their laws whatever the shapes, losses, values and parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from naive.drive import smoothed_drive
from naive.network import untrained
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING, projected_filter

from rt_engine.interfaces.network_weights import HOLDS
from rt_engine.kernels.drive_smoother import FIRST_BASELINE_SPREAD, DriveParameters, drive_run, empty_drive_state
from rt_engine.kernels.matched_filter import apply_filter, empty_ring, push_samples
from rt_engine.models.detection import matched_filter
from rt_engine.models.indicators import indicator
from rt_engine.models.trace_inference import InferenceSettings, Method, infer_traces
from rt_engine.pipeline.template_bank import spike_template

SAMPLE = st.one_of(st.floats(-3, 3, width=32, allow_subnormal=False), st.sampled_from([0.0, -0.0, 1e4, -1e4, 2.0**-60]))
SHARE = st.floats(0.0, 1.0)


@settings(deadline=None, max_examples=100)
@given(
    trace=st.lists(st.tuples(SAMPLE, st.booleans()), min_size=1, max_size=25),
    lag=st.integers(0, 6),
    decay=st.floats(0.05, 0.995),
    rise_share=st.floats(0.0, 0.99),
    steps=st.tuples(st.floats(0.1, 2.0), st.floats(0.0, 2.0)),
    drive=st.floats(1e-3, 10.0),
    baseline=st.sampled_from([0.0, 1e-4, 1e-2]),
)
def test_the_smoother_equals_dense_conditioning(trace, lag, decay, rise_share, steps, drive, baseline):
    model = [decay, decay * rise_share, *steps, 1.0, drive, baseline]
    usable = np.array([there for _, there in trace])
    y = np.array([value for value, _ in trace], np.float32)
    state = empty_drive_state(1, lag + 1, DriveParameters(*(np.array([x]) for x in model)))
    out = np.zeros((len(y), 1), np.float32)
    drive_run(
        np.where(usable, y, np.nan).astype(np.float32)[:, None], usable.astype(np.uint8)[:, None], lag, state, out
    )
    expected, _ = smoothed_drive(y.astype(float), usable, lag, *model, first_u=drive, first_b=FIRST_BASELINE_SPREAD**2)
    largest = max(1.0, np.abs(y[usable]).max(initial=0.0))
    np.testing.assert_allclose(out[lag:, 0], expected[lag:], rtol=1e-5, atol=1e-5 * largest)


@settings(deadline=None, max_examples=100)
@given(
    trace=st.lists(
        st.tuples(st.floats(-3, 3, width=32), st.sampled_from([GOOD, GOOD, GOOD, MISSING, EXPECTED, CENSORED])),
        min_size=1,
        max_size=60,
    ),
    hold=st.integers(0, 5),
    n_before=st.integers(4, 20),
    tau_s=st.floats(0.08, 1.5),
    rise_share=st.floats(0.02, 0.6),
    age=st.integers(0, 30),
)
def test_the_filter_equals_the_dense_projection(trace, hold, n_before, tau_s, rise_share, age):
    rate_hz, tau_rise_s, n_taps = 30.0, rise_share * tau_s, n_before + 1 + hold
    found = matched_filter(tau_rise_s, tau_s, rate_hz, hold, n_before)
    gamma = np.float32(np.exp(-1 / (tau_s * rate_hz)))
    ring = empty_ring(n_taps, 1)
    for t, (value, code) in enumerate(trace):
        lost = code in (MISSING, EXPECTED)
        push_samples(np.array([np.nan if lost else value], np.float32), np.array([code], np.uint8), t % n_taps, ring)
    ring.age[:] = min(age, ring.age[0])
    z, energy, mean = np.zeros((3, 1), np.float32)
    taps = found.taps[:, None].astype(np.float32)
    apply_filter(len(trace) % n_taps, n_before, taps, np.array([gamma]), ring, z, energy, mean)
    window = ([(0.0, EXPECTED)] * n_taps + trace)[-n_taps:]
    present = np.array([c in (GOOD, CENSORED) for _, c in window]) & (np.arange(n_taps) >= n_taps - ring.age[0])
    template = np.concatenate([np.zeros(n_before), spike_template(tau_rise_s, tau_s, rate_hz, hold + 1)])
    expected, share = projected_filter(template, np.exp(-1 / (tau_s * rate_hz)), [v for v, _ in window], present)
    assert energy[0] == pytest.approx(share, abs=2e-3)
    if share > 0.1:  # below, single precision of the taps is all that is left
        assert z[0] == pytest.approx(expected, abs=5e-3)


TRACES = st_np.arrays(
    np.float32,
    st.tuples(st.integers(0, 3), st.integers(0, 70)),
    elements=st.one_of(
        st.floats(-1, 3, width=32), st.sampled_from([np.nan, np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 1e-38])
    ),
)


@settings(deadline=None, max_examples=60)
@given(
    traces=TRACES,
    name=st.sampled_from(["jGCaMP8m", "GCaMP6s", "OGB-1"]),
    method=st.sampled_from(list(Method)),
    hold=st.integers(0, 6),
    rate_hz=st.sampled_from([2.0, 7.5, 30.0, 200.0]),
    cut=SHARE,
)
def test_infer_answers_anything_and_never_from_the_future(traces, name, method, hold, rate_hz, cut):
    n_rois, n_frames = traces.shape
    if method is Method.NETWORK and hold not in HOLDS:
        hold = 3
    asked = InferenceSettings(indicator=indicator(name), method=method, hold_frames=hold, network=untrained())
    rates = np.full(n_rois, rate_hz)
    with np.errstate(over="ignore", invalid="ignore"):
        whole = infer_traces(traces, rates, asked)
        spoiled = traces.copy()
        first = round(cut * n_frames)
        spoiled[:, first:] = -7.0
        past = infer_traces(spoiled, rates, asked)
    assert whole.spike_rate.shape == whole.probability.shape == traces.shape
    assert np.isfinite(whole.spike_rate).all()
    assert ((whole.probability >= 0) & (whole.probability <= 1)).all()
    assert (whole.events["event_frame"] <= whole.events["decided_frame"]).all()
    assert whole.spike_rate[:, :first].tobytes() == past.spike_rate[:, :first].tobytes()
    before = [r.events[r.events["decided_frame"] < first] for r in (whole, past)]
    assert before[0].tobytes() == before[1].tobytes()

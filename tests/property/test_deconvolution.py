"""Both deconvolution kernels equal their twins whatever the gaps, losses and parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import oasis_ar1 as naive_ar1
from naive import oasis_ar2 as naive_ar2

from rt_engine.kernels import oasis_ar1, oasis_ar2

SAMPLE = st.one_of(
    st.floats(-3, 3, allow_subnormal=False), st.sampled_from([0.0, np.nan, np.nan, 1e6, -1e6, 1e-20, -0.0])
)
TRACE = st.lists(st.tuples(SAMPLE, st.sampled_from([0, 0, 0, 0, 1, 2, 7])), min_size=1, max_size=40)


def spread(trace):
    """The trace with a NaN for every frame that was lost."""
    return np.array([value for sample, n_gap in trace for value in [np.nan] * n_gap + [sample]])


def step_through(step, trace, model, state, hold):
    calcium, jump = np.zeros(1), np.zeros(1)
    for sample, n_gap in trace:
        step(np.array([sample]), np.isfinite([sample]).astype(np.uint8), n_gap, hold, model, state, calcium, jump)
    return calcium[0], jump[0]


def tolerance(y):
    finite = y[np.isfinite(y)]
    return 1e-9 * max(1.0, np.max(np.abs(finite), initial=0.0))


@settings(deadline=None, max_examples=150)
@given(
    trace=TRACE,
    gamma=st.one_of(st.floats(0.01, 0.9995), st.sampled_from([0.5, 0.999])),
    penalty=st.sampled_from([0.0, 0.0, 0.1, 2.0]),
    s_min=st.sampled_from([0.0, 0.0, 0.3, 5.0]),
    hold=st.integers(0, 62),
)
def test_ar1_equals_its_twin(trace, gamma, penalty, s_min, hold):
    model = oasis_ar1.OasisParameters(*(np.array([x]) for x in (gamma, penalty, s_min)))
    state = oasis_ar1.empty_state(1, n_pools=64)
    calcium, jump = step_through(oasis_ar1.oasis_step, trace, model, state, hold)
    y = spread(trace)
    c = naive_ar1.calcium_of(y, gamma, penalty, s_min)
    assert calcium == pytest.approx(c[-1], abs=tolerance(y))
    assert calcium >= 0
    assert jump >= 0
    first = np.flatnonzero(np.isfinite(y))[:1]
    at = len(y) - 1 - hold
    if s_min == 0.0 and at > (first[0] if len(first) else 0):
        assert jump == pytest.approx(naive_ar1.jumps_of(c, gamma)[at], abs=tolerance(y))


@settings(deadline=None, max_examples=150)
@given(
    trace=TRACE,
    slow=st.floats(0.1, 0.999),
    share=st.one_of(st.just(0.0), st.floats(0.05, 0.95)),
    penalty=st.sampled_from([0.0, 0.1]),
    s_min=st.sampled_from([0.0, 0.3, 5.0]),
    hold=st.integers(0, 62),
)
def test_ar2_equals_its_twin(trace, slow, share, penalty, s_min, hold):
    fast = slow * share
    model = oasis_ar2.Ar2Parameters(*(np.array([x]) for x in (slow, fast, penalty, s_min)))
    state = oasis_ar2.empty_state(1, n_pools=64)
    calcium, jump = step_through(oasis_ar2.oasis_ar2_step, trace, model, state, hold)
    y = spread(trace)
    c, s = naive_ar2.calcium_and_jumps(y, slow, fast, penalty, s_min)
    assert calcium == pytest.approx(c[-1], abs=tolerance(y))
    assert jump >= 0
    at = len(y) - 1 - hold
    if at >= 0:
        assert jump == pytest.approx(s[at], abs=tolerance(y))

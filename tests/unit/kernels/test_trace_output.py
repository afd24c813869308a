"""What goes out of the traces: as its plain twin says, cell by cell."""

import numpy as np
import pytest
from naive import trace_output as naive

from rt_engine.kernels.trace_output import TraceOutput, publish_traces


def outputs(rng, n):
    return TraceOutput(*rng.standard_normal((len(TraceOutput._fields), n)).astype(np.float32))


@pytest.mark.parametrize("blanks_decision", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7, 63, 64, 65, 200])
def test_what_goes_out_is_what_its_definition_says(n, blanks_decision):
    rng = np.random.default_rng(n)
    for _ in range(5):
        f_roi, f_np, dff = rng.standard_normal((3, n)).astype(np.float32)
        for values in (f_roi, f_np, dff):
            values[rng.random(n) < 0.2] = rng.choice([np.nan, np.inf, -np.inf, 3e38, 0, 1e-45])
        code, muted = rng.integers(0, 4, n).astype(np.uint8), rng.integers(0, 2, n).astype(np.uint8)
        out = outputs(rng, n)
        out.z[rng.random(n) < 0.2] = np.nan
        before = (out.calcium.copy(), out.spike.copy(), out.z.copy(), out.probability.copy())
        read = f_roi, f_np, dff, code, muted
        as_read = [values.copy() for values in read]
        publish_traces(blanks_decision, *read, out)
        expected = naive.published(blanks_decision, *read, *before)
        np.testing.assert_array_equal(np.stack(out, axis=1), np.array(expected, np.float32).reshape(n, 7))
        for now, then in zip(read, as_read, strict=True):
            np.testing.assert_array_equal(now, then)


def test_nothing_is_left_of_the_frame_before():
    rng = np.random.default_rng(0)
    f, code, muted = np.ones(5, np.float32), np.ones(5, np.uint8), np.zeros(5, np.uint8)
    out = outputs(rng, 5)
    publish_traces(False, f, f, np.full(5, np.nan, np.float32), code, muted, out)
    assert np.isnan(out.fluorescence).all()
    publish_traces(False, f, f, f, code, muted, out)
    np.testing.assert_array_equal(out.fluorescence, f)
    np.testing.assert_array_equal(out.neuropil, f)
    np.testing.assert_array_equal(out.valid, f)

"""Every cell is deconvolved with the order that the frame rate shows, and its result stands in its row."""

import tracemalloc

import numpy as np
import pytest
from naive.oasis_ar2 import calcium_and_jumps
from numpy.testing import assert_allclose, assert_array_equal
from oasis.oasis_methods import oasisAR1, oasisAR2
from scipy.signal import lfilter

from rt_engine.interfaces.calibration import Calibration
from rt_engine.models.indicators import indicator
from rt_engine.pipeline.deconvolution import DeconvolutionStage
from rt_engine.pipeline.spike_model import jump_error, spike_model
from rt_engine.pipeline.template_bank import spike_template

RATE_HZ = 30.0
RISE_S = np.array([0.005, 0.09, 0.008, 0.026, 0.3, 0.0111])  # the third and the last on both sides of r = 0.05
TAU_S = np.array([0.4, 0.6, 0.2, 0.14, 0.3, 0.7])
AMPLITUDE = np.array([0.2, 0.25, 0.5, 0.3, 0.4, 1.0])
SLOW, RISE = np.exp(-1 / (TAU_S * RATE_HZ)), np.exp(-1 / (RISE_S * RATE_HZ))
IS_AR1 = np.array([True, False, True, False, False, True])
EPSILON = float(np.finfo(np.float32).eps)


def calibration(rise_s=RISE_S, tau_s=TAU_S, amplitude=AMPLITUDE, hold=2, sigma=0.1):
    """Of it the stage reads these."""
    values = {name: np.zeros(0) for name in Calibration.__dataclass_fields__}
    values |= {
        "frame_rate_hz": RATE_HZ,
        "hold_frames": hold,
        "roi_id": np.arange(len(tau_s), dtype=np.uint32),
        "tau_rise_s": np.asarray(rise_s, np.float32),
        "tau_s": np.asarray(tau_s, np.float32),
        "amplitude_dff": np.asarray(amplitude, np.float32),
        "sigma_dff": np.full(len(tau_s), sigma, np.float32),
    }
    return Calibration(**values)


def traces(seed, n_frames=150, n_rois=6, sigma=0.15):
    """Noisy trains, float32."""
    rng = np.random.default_rng(seed)
    spikes = 0.5 * (rng.random((n_frames, n_rois)) < 0.06)
    columns = [lfilter([1], [1, -(d + r), d * r], s) for d, r, s in zip(SLOW, RISE, spikes.T, strict=False)]
    return (np.array(columns).T + sigma * rng.standard_normal(spikes.shape)).astype(np.float32)


def run(stage, y, gaps=None):
    """Calcium and spikes after every frame; NaN means no sample."""
    calcium, spike = np.zeros_like(y), np.zeros_like(y)
    for t in range(len(y)):
        usable = np.isfinite(y[t]).astype(np.uint8)
        stage.process(y[t], usable, 0 if gaps is None else int(gaps[t]), calcium[t], spike[t])
    return calcium, spike


def test_a_rise_below_five_percent_per_frame_makes_a_cell_ar1_and_close_roots_are_kept_apart():
    model = DeconvolutionStage(calibration(), 2).model
    assert_array_equal(model.fast == 0, IS_AR1)
    assert_allclose(model.fast[[1, 3]], RISE[[1, 3]], rtol=1e-5)
    assert model.fast[4] == pytest.approx(0.98 * SLOW[4], rel=1e-6)
    for name, has_rise in {
        "GCaMP6s": True,
        "jGCaMP7s": True,
        "GCaMP6f": True,
        "OGB-1": False,
        "Cal-520": False,
    }.items():
        cell = indicator(name)
        found = spike_model(*(np.array([x]) for x in (cell.tau_rise_s, cell.tau_s, cell.amplitude_dff)), RATE_HZ)
        assert (found.fast[0] > 0) == has_rise, name


def test_a_rise_slower_than_the_decay_is_the_same_model_with_the_two_exchanged():
    one = spike_model(np.array([0.1]), np.array([0.5]), np.array([0.3]), RATE_HZ)
    other = spike_model(np.array([0.5]), np.array([0.1]), np.array([0.3]), RATE_HZ)
    assert_array_equal(one, other)


@pytest.mark.parametrize("smallest_jump", [0.0, 0.5])
def test_every_prefix_of_every_row_equals_oasis_deconv(smallest_jump):
    # What the stage tells is float32: beyond the rounding of the result the two agree to 1e-10.
    hold, y = 2, traces(0)
    stage = DeconvolutionStage(calibration(), hold, smallest_jump)
    calcium, spike = run(stage, y)
    assert not stage.floor_hits.any()
    model = stage.model
    for t in range(5, len(y), 3):
        for i, (d, r, jump) in enumerate(zip(*model, strict=True)):
            past, s_min = y[: t + 1, i].astype(np.float64), smallest_jump * jump
            batch = oasisAR1(past, d, s_min=s_min) if r == 0 else oasisAR2(past, d + r, -d * r, s_min=s_min)
            assert calcium[t, i] == pytest.approx(max(batch[0][-1], 0.0), rel=EPSILON, abs=1e-10)
            s = batch[1][-1 - hold] if r == 0 else batch[1][-hold]  # with a rise, the spike is a frame before
            assert spike[t, i] * jump == pytest.approx(max(s, 0.0), rel=4 * EPSILON, abs=1e-10)


def test_cells_do_not_influence_each_other():
    y = traces(1)
    together, spike = run(DeconvolutionStage(calibration(), 3), y)
    for i in range(y.shape[1]):
        one = DeconvolutionStage(calibration(RISE_S[[i]], TAU_S[[i]], AMPLITUDE[[i]]), 3)
        alone, alone_spike = run(one, np.ascontiguousarray(y[:, [i]]))
        assert_array_equal(alone[:, 0], together[:, i])
        assert_array_equal(alone_spike[:, 0], spike[:, i])


def test_missing_samples_let_calcium_go_its_way():
    y, hold = traces(2, n_frames=90), 3
    y[np.random.default_rng(3).random(y.shape) < 0.3] = np.nan
    stage = DeconvolutionStage(calibration(), hold)
    calcium, spike = run(stage, y)
    for i in np.flatnonzero(~IS_AR1):
        d, r, jump = (float(x[i]) for x in stage.model)
        for t in range(4, len(y), 7):
            c, s = calcium_and_jumps(y[: t + 1, i], d, r, 0.0, 0.5 * jump)
            assert calcium[t, i] == pytest.approx(max(c[-1], 0.0), rel=EPSILON, abs=1e-9)
            assert spike[t, i] * jump == pytest.approx(s[-hold], rel=4 * EPSILON, abs=1e-9)


def test_lost_frames_are_the_same_as_frames_without_samples():
    y = traces(4)
    lost = np.zeros(len(y), bool)
    lost[[20, 21, 22, 60, 100, 101]] = True
    holes = y.copy()
    holes[lost] = np.nan
    whole, spike = run(DeconvolutionStage(calibration(), 2), holes)
    gaps = np.diff(np.flatnonzero(~lost), prepend=-1) - 1
    joined, joined_spike = run(DeconvolutionStage(calibration(), 2), y[~lost], gaps)
    assert_allclose(joined, whole[~lost], atol=1e-6)
    assert_allclose(joined_spike, spike[~lost], atol=1e-5)


def test_reset_forgets_everything():
    y, stage = traces(5), DeconvolutionStage(calibration(), 2)
    first = run(stage, y)
    stage.reset()
    assert_array_equal(run(stage, y), first)


def test_floor_hits_stand_in_the_row_that_had_them():
    # Growth makes every frame a pool; what falls after it sinks through all that are kept.
    y = np.zeros((50, 6), np.float32)
    y[:, [1, 2]] = 1.3 ** np.arange(50)[:, None]
    y[45:, [1, 2]] = -1e6
    stage = DeconvolutionStage(calibration(), 2, smallest_jump=0.0)
    run(stage, y)
    assert_array_equal(stage.floor_hits > 0, [False, True, True, False, False, False])
    stage.reset()
    assert not stage.floor_hits.any()


def test_a_frame_makes_no_array():
    n_rois = 6000
    one = calibration(np.resize(RISE_S, n_rois), np.resize(TAU_S, n_rois), np.resize(AMPLITUDE, n_rois))
    rows = [np.resize(row, n_rois) for row in traces(6, n_frames=20)]
    stage = DeconvolutionStage(one, 2)
    calcium, spike = np.zeros(n_rois, np.float32), np.zeros(n_rois, np.float32)
    usable = np.ones(n_rois, np.uint8)
    stage.process(rows[0], usable, 0, calcium, spike)
    tracemalloc.start()
    try:
        for row in rows[1:]:
            stage.process(row, usable, 1, calcium, spike)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n_rois  # one byte a cell


@pytest.mark.parametrize("name", ["GCaMP6f", "GCaMP6s", "jGCaMP7f", "jGCaMP8s", "OGB-1"])
def test_one_spike_counts_one(name):
    cell = indicator(name)
    stage = DeconvolutionStage(calibration([cell.tau_rise_s], [cell.tau_s], [cell.amplitude_dff]), 4, 0.0)
    y = np.zeros((600, 1), np.float32)
    y[50:, 0] = cell.amplitude_dff * spike_template(cell.tau_rise_s, cell.tau_s, RATE_HZ, 550)
    _, spike = run(stage, y)
    assert spike.sum() == pytest.approx(1.0, abs=0.05)


def onset_bias(rise_s, cell):
    """Mean distance of what is told from the spikes, frames, noise-free; every frame is a mean over its duration."""
    fine, n_frames = 50, 3000
    times_s = np.random.default_rng(7).uniform(0, 1 / RATE_HZ, 30) + np.arange(1, 31) * 3.0
    t_s = np.arange(n_frames * fine) / (RATE_HZ * fine)
    curve = sum(np.where(t_s > at, cell.kernel(t_s - at), 0.0) for at in times_s)
    y = (cell.amplitude_dff * curve.reshape(n_frames, fine).mean(axis=1))[:, None].astype(np.float32)
    hold = 15
    _, spike = run(DeconvolutionStage(calibration([rise_s], [cell.tau_s], [cell.amplitude_dff]), hold), y)
    told, size = np.flatnonzero(spike[hold:, 0]), spike[hold:, 0][spike[hold:, 0] > 0]
    nearest = np.abs(times_s[:, None] * RATE_HZ - told).argmin(axis=0)
    return float(np.average(told + 0.5 - times_s[nearest] * RATE_HZ, weights=size))


def test_onsets_of_slow_risers_are_not_late():
    cell = indicator("GCaMP6s")
    assert abs(onset_bias(cell.tau_rise_s, cell)) < 0.5
    assert onset_bias(0.005, cell) > 1.0  # without the rise in the model


def test_error_of_a_jump_is_that_of_least_squares():
    model = spike_model(RISE_S, TAU_S, AMPLITUDE, RATE_HZ)
    error = jump_error(model, np.full(6, 0.2), np.array([4, 3, 4, 3, 3, 4]))
    for i, (d, r, _) in enumerate(zip(*model, strict=True)):
        n_after = 4 if r == 0 else 3
        response = lfilter([1.0], [1.0, -(d + r), d * r], np.r_[1.0, np.zeros(n_after)])
        assert error[i] == pytest.approx(0.2 * np.sqrt(np.linalg.inv([[response @ response]])[0, 0]), rel=1e-12)
    stage = DeconvolutionStage(calibration(sigma=0.2), 4)
    assert_allclose(stage.spike_error, error / model.jump_dff, rtol=1e-4)

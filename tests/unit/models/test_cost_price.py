"""Decision by cost: what a calibration says it finds and tells falsely is what the live stage does."""

import numpy as np
import pytest
from naive.planted_traces import planted_traces
from scipy.stats import poisson

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.cell_constants import TRACE_FIELDS, cell_constants
from rt_engine.models.cost_price import require_reachable
from rt_engine.models.detection import frames_before
from rt_engine.models.indicators import indicator
from rt_engine.models.probability_table import probability_tables
from rt_engine.models.stage_run import RunSettings, TraceCalibration, run_stage
from rt_engine.pipeline.masks import PlaneMasks

RATE_HZ, HOLD, COST, N_ROIS = 30.0, 1, 1.0, 40
COUNTS_PER_PHOTON = 20.0
PRIOR = indicator("jGCaMP8m")
KERNEL = {"tau_rise_s": PRIOR.tau_rise_s, "tau_s": PRIOR.tau_s, "amplitude_dff": PRIOR.amplitude_dff}
SETTINGS = RunSettings(RATE_HZ, PRIOR, HOLD, frames_before(PRIOR.tau_s, RATE_HZ), 0.5)
SNR = np.geomspace(1.5, 6, N_ROIS)


def constants(planted, cost):
    pixels = np.arange(N_ROIS, dtype=np.uint32)
    starts, four = np.arange(N_ROIS + 1, dtype=np.int64), np.arange(4 * N_ROIS, dtype=np.uint32)
    masks = PlaneMasks(
        n_lines=8, pixels_per_line=N_ROIS, offset_counts=0.0, adc_max_counts=float("nan"), roi_start=starts,
        roi_pixels=pixels, neuropil_start=4 * starts, neuropil_pixels=four + N_ROIS,
    )  # fmt: skip
    return cell_constants(
        masks, planted.f_roi, planted.f_np, planted.valid, frame_rate_hz=RATE_HZ, indicator=PRIOR, hold_frames=HOLD,
        false_alarms_per_min=None, neuropil_coefficient=0.7, photon_gain_counts=COUNTS_PER_PHOTON,
        false_event_cost=cost,
    )  # fmt: skip


@pytest.fixture(scope="module")
def by_cost():
    """Constants of active cells that decide by cost."""
    return constants(planted_traces(50, n_rois=N_ROIS, rate_hz=0.2, amplitude_over_sigma=SNR, **KERNEL), COST)


def run(found, f_roi, f_np):
    traces = TraceCalibration(**{name: found[name] for name in TRACE_FIELDS})
    return run_stage(traces, f_roi, f_np, np.ones(f_roi.shape, bool), SETTINGS, found["drive"])


def test_the_probability_alone_decides(by_cost):
    found = by_cost
    assert (found["drive"].smallest_probability == 0.5).all()
    assert (found["drive"].threshold == 0).all()
    assert (found["threshold"] == 0).all()


def test_false_events_of_silent_cells_are_as_many_as_told(by_cost):
    found = by_cost
    silent = planted_traces(51, n_rois=N_ROIS, n_frames=7200, rate_hz=0, amplitude_over_sigma=SNR, **KERNEL)
    told = found["false_events_per_min"].sum() * 4
    counted = len(run(found, silent.f_roi, silent.f_np).event_frame)
    low, high = poisson.interval(0.99, told)
    assert told > 50
    assert 0.85 * low <= counted <= 1.15 * high  # the scale of the noise is known to some per cent only


def test_isolated_spikes_are_told_as_often_as_said(by_cost):
    found = by_cost
    test = planted_traces(52, n_rois=N_ROIS, n_frames=5400, rate_hz=0, amplitude_over_sigma=SNR, **KERNEL)
    spikes_s = np.arange(4.0, 176.0, 4.0)
    rng = np.random.default_rng(53)
    phase_s = rng.random((N_ROIS, len(spikes_s))) / RATE_HZ - rng.random((N_ROIS, 1)) / RATE_HZ
    rise, decay = PRIOR.tau_rise_s, PRIOR.tau_s
    top_s = np.log(decay / rise) * decay * rise / (decay - rise)
    peak = np.exp(-top_s / decay) - np.exp(-top_s / rise)
    since = np.maximum(np.arange(5400)[:, None, None] / RATE_HZ - spikes_s + phase_s, 0.0)
    lit = ((np.exp(-since / decay) - np.exp(-since / rise)) / peak).sum(axis=2)
    light = rng.poisson(PRIOR.amplitude_dff * lit * test.f0_counts / COUNTS_PER_PHOTON)
    events = run(found, (test.f_roi + COUNTS_PER_PHOTON * light).astype(np.float32), test.f_np)
    at = np.floor(spikes_s * RATE_HZ).astype(int)
    hit = [np.any(np.abs(events.event_frame[events.event_roi == n] - t) <= 3) for n in range(N_ROIS) for t in at]
    share = np.reshape(hit, (N_ROIS, -1)).mean(axis=1)
    assert share.min() < 0.2
    assert share.max() > 0.9
    told = found["expected_detection"]
    for part in np.array_split(np.arange(N_ROIS), 3):
        assert told[part].mean() == pytest.approx(share[part].mean(), abs=0.08)
    known = found["uncertainty"]
    assert (known.detection_low <= told + 0.05).all()
    assert (known.detection_high >= told - 0.05).all()


@pytest.mark.parametrize("hold", [0, 1, 2, 3, 5])
def test_a_cost_that_no_probability_reaches_is_refused_and_the_one_named_is_not(hold):
    largest = probability_tables(hold)[1][1].max()
    require_reachable(float(largest / (1 - largest)) - 0.011, hold, "cost")
    with pytest.raises(ConfigError, match="largest told") as refused:
        require_reachable(float(largest / (1 - largest)) + 0.01, hold, "cost")
    allowed = float(str(refused.value).split("give at most ")[1].split(",")[0])
    require_reachable(allowed, hold, "cost")
    assert largest / (1 - largest) - allowed < 0.011

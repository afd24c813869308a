"""End to end on the virtual rig: what an active cell puts into the trace of a silent one that overlaps with it."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace

import crosstalk
import numpy as np
import pytest

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.models import calibrate as calibrate_module
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.overlap import find_overlap

N_BASELINE, N_LIVE = 1800, 3600
N_MINUTES = N_LIVE / crosstalk.RATE_HZ / 60


@pytest.fixture(scope="module")
def field() -> crosstalk.Planted:
    """Forty cells, half of them silent, some of them overlapping."""
    of = crosstalk.planted(N_BASELINE + N_LIVE, seed=1)
    assert len(of.pairs) >= 5
    return of


@pytest.fixture(scope="module")
def calibration(field: crosstalk.Planted) -> Calibration:
    """From the baseline, demixed."""
    return crosstalk.calibrated(field, N_BASELINE)


def correlations(field: crosstalk.Planted, run: crosstalk.LiveRun) -> np.ndarray:
    """Of the trace of each silent cell with the planted activity of its active neighbour."""
    truth = field.dff[N_BASELINE:]
    return np.array([np.corrcoef(np.nan_to_num(run.dff[:, k]), truth[:, j])[0, 1] for k, j in field.pairs])


def test_crosstalk_and_its_false_events_fall_to_the_noise(
    field: crosstalk.Planted, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    demixed = crosstalk.live(field, calibration, N_BASELINE)
    monkeypatch.setattr(calibrate_module, "demix_baseline", lambda masks, *_: (masks, find_overlap(masks)))
    plain_calibration = crosstalk.calibrated(field, N_BASELINE)
    assert len(plain_calibration.background_loading) == 0
    plain = crosstalk.live(field, plain_calibration, N_BASELINE)
    silent = [k for k, _ in field.pairs]
    false_per_min = {name: run.n_events[silent].mean() / N_MINUTES for name, run in (("d", demixed), ("p", plain))}
    assert correlations(field, plain).min() > 0.3
    assert np.abs(correlations(field, demixed)).max() < 0.12
    assert false_per_min["p"] > 2.5
    # 0.5 a minute is nominal; about 6 events are expected in all the silent cells.
    assert false_per_min["d"] < 1.2
    active = [j for _, j in field.pairs]
    truth = field.dff[N_BASELINE:]
    for row in active:
        assert np.corrcoef(np.nan_to_num(demixed.dff[:, row]), truth[:, row])[0, 1] > 0.8


def test_the_calibration_tells_how_it_was_demixed(calibration: Calibration) -> None:
    n = calibration.n_rois
    assert calibration.background_loading.shape == (n, 2)
    assert len(calibration.roi_weight) == len(calibration.roi_pixels)
    assert 1.0 < calibration.condition_number < 20.0
    assert calibration.inseparable_roi_id.shape == (0, 2)
    assert calibration.neuropil_coefficient_se.shape == (n,)


def test_the_estimated_neuropil_coefficients_are_near_the_contamination(calibration: Calibration) -> None:
    told = calibration.neuropil_from_prior == 0
    assert told.mean() > 0.8
    # What a soma of the virtual rig shows of its neuropil varies with the texture around it; 0.7 is the mean.
    assert calibration.neuropil_coefficient[told].mean() == pytest.approx(0.7, abs=0.06)


def test_the_engine_tells_which_coefficients_moved(field: crosstalk.Planted, calibration: Calibration) -> None:
    engine = Engine(replace(calibration, updates_neuropil=True), 4.0, MonotonicClock())
    engine.warm_up()
    assert Engine(calibration, 4.0, MonotonicClock()).neuropil_changes() == []
    frames = field.frames[:N_BASELINE]
    period_ns = round(1e9 / crosstalk.RATE_HZ)
    told: dict[int, float] = {}
    for index in range(4 * N_BASELINE):
        engine.process(frames[index % N_BASELINE], index, index * period_ns, 0)
        if index % 900 == 0:
            told |= dict(engine.neuropil_changes())
    before = dict(zip(calibration.roi_id.tolist(), calibration.neuropil_coefficient.tolist(), strict=True))
    assert told
    assert all(abs(r - before[roi]) >= 0.019 for roi, r in told.items())


def test_demixing_allocates_nothing_while_it_runs(field: crosstalk.Planted, calibration: Calibration) -> None:
    stage = RoiExtraction(calibration)
    blocks = []
    for _ in range(5):
        for frame in field.frames[:200]:
            stage.process(frame, 0.3, -0.2)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    # What a frame leaves behind shows in every round; what the runner of the tests keeps meanwhile does not.
    assert min(np.diff(blocks)) < 20

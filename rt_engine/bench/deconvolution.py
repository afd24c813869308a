"""Contestants of the deconvolution benchmark: our online kernels, and the batch ones of others, on unique traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.bench.rounds import Contestant
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.kernels import oasis_ar1, oasis_ar2

HOLD_FRAMES = 1
RATE_HZ = 30.0
N_SETTLE = 30  # frames until the pools look as they always do


class Model(NamedTuple):
    """Traces of one kind: decay d and rise r per frame, noise and spikes per frame in units of one spike."""

    slow: float
    fast: float
    sigma: float
    rate: float


AR1 = Model(0.95, 0.0, 0.3, 0.02)
AR2 = Model(0.952, 0.748, 1.0, 0.01)
LIVE_S_MIN = 0.5
"""What the live engine asks of a jump, in spikes."""


def noisy_traces(model: Model, n_frames: int, n_rois: int, seed: int) -> NDArray[np.float32]:
    """Traces of cells that all differ (repeated ones would teach the branch predictor), shape (n_frames, n_rois)."""
    rng = np.random.default_rng(seed)
    traces = np.empty((n_frames, n_rois), np.float32)
    calcium, before = np.zeros(n_rois), np.zeros(n_rois)
    for t in range(-100, n_frames):
        spikes = rng.random(n_rois) < model.rate
        calcium, before = (
            (model.slow + model.fast) * calcium - model.slow * model.fast * before + spikes,
            calcium,
        )
        if t >= 0:
            traces[t] = calcium + model.sigma * rng.standard_normal(n_rois)
    return traces


def online(name: str, model: Model, n_rois: int, n_frames: int, s_min: float, seed: int) -> Contestant:
    """Our kernel, frame by frame, called from Python as the live engine calls it."""
    frames = noisy_traces(model, n_frames + N_SETTLE, n_rois, seed)
    usable, calcium, jump = np.ones(n_rois, np.uint8), np.zeros(n_rois, np.float32), np.zeros(n_rois, np.float32)

    def full(value: float) -> NDArray[np.float64]:
        return np.full(n_rois, value)

    step: Callable[..., None]
    parameters: Any
    state: Any
    if model.fast > 0:
        parameters = oasis_ar2.Ar2Parameters(full(model.slow), full(model.fast), full(0.0), full(s_min))
        state, step = oasis_ar2.empty_state(n_rois), oasis_ar2.oasis_ar2_step
    else:
        parameters = oasis_ar1.OasisParameters(full(model.slow), full(0.0), full(s_min))
        state, step = oasis_ar1.empty_state(n_rois), oasis_ar1.oasis_step

    def run_over(rows: NDArray[np.float32]) -> None:
        for row in rows:
            step(row, usable, 0, HOLD_FRAMES, parameters, state, calcium, jump)

    run_over(frames[:N_SETTLE])
    return Contestant(name, n_rois * n_frames, lambda: run_over(frames[N_SETTLE:]))


def oasis_deconv(name: str, model: Model, n_rois: int, n_frames: int, s_min: float) -> Contestant:
    """`oasis-deconv` over whole traces.

    Raises
    ------
    SpikeloopError
        It is not installed.
    """
    try:
        from oasis.oasis_methods import oasisAR1, oasisAR2
    except ImportError as error:
        raise SpikeloopError(
            "oasis-deconv, which the kernels are measured against, is not installed",
            'Install it with: pip install "spikeloop[bench]"',
        ) from error
    traces = np.ascontiguousarray(noisy_traces(model, n_frames, n_rois, seed=1).T, np.float64)

    def run() -> None:
        for trace in traces:
            if model.fast > 0:
                oasisAR2(trace, model.slow + model.fast, -model.slow * model.fast, s_min=s_min)
            else:
                oasisAR1(trace, model.slow, s_min=s_min)

    return Contestant(name, traces.size, run)


def suite2p(name: str, model: Model, n_rois: int, n_frames: int) -> Contestant | None:
    """The kernel of suite2p on one thread, buffers preallocated; None where it cannot be imported."""
    try:
        from suite2p.extraction.dcnv import oasis_trace
    except ImportError:
        return None
    traces = np.ascontiguousarray(noisy_traces(model, n_frames, n_rois, seed=1).T)
    v, w, length, s = (np.zeros(n_frames, np.float32) for _ in range(4))
    t = np.zeros(n_frames, np.int64)
    tau_s = np.float32(-1 / (RATE_HZ * np.log(model.slow)))

    def run() -> None:
        for trace in traces:
            oasis_trace(trace, v, w, t, length, s, tau_s, np.float32(RATE_HZ))

    return Contestant(name, traces.size, run)


def contestants(n_rois: int, n_frames: int, peers: Sequence[Contestant]) -> list[Contestant]:
    """Ours for so many cells, with the peers between them."""
    ours = [
        online("AR(1)", AR1, n_rois, n_frames, 0.0, seed=2),
        online("AR(1), s_min", AR1, n_rois, n_frames, LIVE_S_MIN, seed=3),
        online("AR(2)", AR2, n_rois, n_frames, 0.0, seed=4),
    ]
    return [*ours, *peers]

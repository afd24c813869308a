"""Fit of the probability of a spike to synthetic traces: the numbers of `probability_table.py`.

``python -m rt_engine.models.probability_fit`` prints that file and, on traces not fitted to, how well it does;
with ``--check`` it fits nothing and tells how well the shipped numbers do, also where decay, size of a spike or noise
are 30 % wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit

from rt_engine.kernels.drive_decision import (
    KNOT_FIRST,
    KNOT_STEP,
    N_KNOTS,
    decision_features,
    empty_decision_state,
)
from rt_engine.kernels.drive_smoother import drive_step, empty_drive_state
from rt_engine.models.drive_fit import fit_drive
from rt_engine.models.indicators import Indicator, indicator
from rt_engine.models.probability_table import probability_tables
from rt_engine.pipeline.drive import drive_model

FloatArray = NDArray[np.float64]

FRAME_RATE_HZ = 30.0
INDICATORS = ("GCaMP6f", "GCaMP6s", "jGCaMP8f", "jGCaMP8m")
AMPLITUDE_OVER_SIGMA = (1.5, 3.0, 6.0, 12.0)
RATES_HZ = (0.1, 0.5, 1.0, 3.0)
HOLDS = (0, 1, 2, 3, 5)
PAST_S, SCORED_S = 60.0, 120.0
BURST_SHARE, BURST_STOP, BURST_STEP_S = 0.3, 0.6, (0.004, 0.015)  # of events; of going on; between spikes
CELL_LOG_SD, SPIKE_CV = 0.3, 0.2  # of the size of a spike
FIT_SEEDS, HELD_OUT_SEEDS = range(3), range(100, 102)
ROUGHNESS, RIDGE = 30.0, 1e-2  # penalties on second differences and on values of a table
N_STEPS, CONVERGED = 25, 1e-3
N_CALIBRATION = 24
N_BINS = 15
WRONG_BY = (0.7, 1.3)  # factors on one constant at a time, for the honest range of the calibration error


class Sample(NamedTuple):
    """Frames of all cells: ``features`` : float64 ndarray, shape (n, 4); ``offset`` : (n,), log odds of the prior;
    ``truth`` : bool, of a spike in the frame.
    """

    features: FloatArray
    offset: FloatArray
    truth: NDArray[np.bool_]


class ProbabilityModel(NamedTuple):
    """``tables`` : float64 ndarray, shape (4, N_KNOTS); ``calibration`` : shape (2, N_CALIBRATION): score, ascending,
    and probability.
    """

    tables: FloatArray
    calibration: FloatArray


def synthetic_traces(prior: Indicator, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Traces of cells with every noise and rate, and the spikes of every frame, both of shape (n_frames, n_rois)."""
    rng = np.random.default_rng([seed, *prior.name.encode()])
    laws = [(ratio, rate) for ratio in AMPLITUDE_OVER_SIGMA for rate in RATES_HZ]
    n_frames = round((PAST_S + SCORED_S) * FRAME_RATE_HZ)
    dff, counts = np.zeros((n_frames, len(laws))), np.zeros((n_frames, len(laws)), np.int64)
    n_response = int(8 * prior.tau_s * FRAME_RATE_HZ) + 8
    for n, (ratio, rate_hz) in enumerate(laws):
        amplitude = prior.amplitude_dff * np.exp(CELL_LOG_SD * rng.standard_normal())
        phase = rng.random()
        for spike_s in _spike_times(rng, rate_hz, n_frames / FRAME_RATE_HZ):
            first = int(spike_s * FRAME_RATE_HZ)
            counts[first, n] += 1
            frames = np.arange(first, min(n_frames, first + n_response))
            size = amplitude * max(0.2, 1 + SPIKE_CV * rng.standard_normal())
            dff[frames, n] += size * prior.kernel((frames + phase) / FRAME_RATE_HZ - spike_s)
        dff[:, n] += amplitude / ratio * rng.standard_normal(n_frames)
    return dff.astype(np.float32), counts


def _spike_times(rng: np.random.Generator, rate_hz: float, duration_s: float) -> FloatArray:
    """Poisson events, some of them bursts; `rate_hz` counts spikes."""
    per_event = 1 + BURST_SHARE / BURST_STOP
    times = []
    for start in rng.random(rng.poisson(rate_hz / per_event * duration_s)) * duration_s:
        n_more = rng.geometric(BURST_STOP) if rng.random() < BURST_SHARE else 0
        times.append(start + np.arange(n_more + 1) * rng.uniform(*BURST_STEP_S))
    every = np.concatenate(times) if times else np.zeros(0)
    return np.asarray(every[every < duration_s])


def sample_of(
    prior: Indicator, seed: int, hold_frames: int, *, sigma: float = 1.0, size: float = 1.0, tau: float = 1.0
) -> Sample:
    """Features and truth of synthetic traces; constants from their first minute, then wrong by the factors given."""
    dff, counts = synthetic_traces(prior, seed)
    n_past = round(PAST_S * FRAME_RATE_HZ)
    constants = fit_drive(
        dff[:n_past], np.ones(dff[:n_past].shape, np.bool_), frame_rate_hz=FRAME_RATE_HZ,
        prior=replace(prior, tau_s=tau * prior.tau_s), hold_frames=hold_frames, false_alarms_per_min=None,
    ).constants  # fmt: skip
    model = drive_model(constants, np.arange(dff.shape[1], dtype=np.uint32))
    decision = model.decision._replace(
        noise_dff=model.decision.noise_dff * sigma, gain=model.decision.gain * size / sigma
    )
    n_frames, n_rois = dff.shape
    state, before = empty_drive_state(n_rois, hold_frames + 1, model.smoother), empty_decision_state(n_rois)
    features = np.zeros((n_frames, n_rois, 4))
    usable = np.ones(n_rois, np.uint8)
    for t in range(n_frames):
        drive_step(dff[t], usable, state)
        decision_features(hold_frames, state.drive, decision, before, features[t])
    truth = np.zeros(counts.shape, np.bool_)
    truth[hold_frames:] = counts[: n_frames - hold_frames] > 0
    offset = np.broadcast_to(decision.log_prior, (n_frames, n_rois))
    return Sample(features[n_past:].reshape(-1, 4), offset[n_past:].ravel(), truth[n_past:].ravel())


def gather(hold_frames: int, seeds: range, *, sigma: float = 1.0, size: float = 1.0, tau: float = 1.0) -> Sample:
    """Samples of all indicators; the constants are wrong by the factors given, see `sample_of`."""
    wrong = {"sigma": sigma, "size": size, "tau": tau}
    parts = [sample_of(indicator(name), seed, hold_frames, **wrong) for name in INDICATORS for seed in seeds]
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _basis(features: FloatArray) -> FloatArray:
    """Weights of the knots of all features, shape (n, 4 N_KNOTS), so that a table is read by interpolation."""
    out = np.zeros((len(features), 4, N_KNOTS))
    rows = np.arange(len(features))
    for k in range(4):
        at = np.clip((features[:, k] - KNOT_FIRST[k]) / KNOT_STEP[k], 0.0, N_KNOTS - 1.0)
        left = np.minimum(at.astype(np.int64), N_KNOTS - 2)
        out[rows, k, left] = 1.0 - (at - left)
        out[rows, k, left + 1] = at - left
    return out.reshape(len(features), -1)


def _chunks(sample: Sample) -> Iterator[tuple[FloatArray, FloatArray, NDArray[np.bool_]]]:
    for first in range(0, len(sample.truth), 50_000):
        rows = slice(first, first + 50_000)
        yield _basis(sample.features[rows]), sample.offset[rows], sample.truth[rows]


def fit_tables(sample: Sample) -> FloatArray:
    """Tables of the largest penalised likelihood of logit p = log prior + sum of what the features' tables say.

    Notes
    -----
    Newton's method (the likelihood is concave), a step that goes too far taken by a quarter; the tables of the odds and
    of z are then made never to fall.
    """
    second = np.diff(np.eye(N_KNOTS), 2, axis=0)
    penalty = np.kron(np.eye(4), ROUGHNESS * second.T @ second + RIDGE * np.eye(N_KNOTS))
    weights, step, best = np.zeros(4 * N_KNOTS), np.zeros(4 * N_KNOTS), -np.inf
    for _ in range(N_STEPS):
        trial = weights + step
        value, gradient, curvature = -0.5 * float(trial @ penalty @ trial), -penalty @ trial, penalty.copy()
        for basis, offset, truth in _chunks(sample):
            score = basis @ trial + offset
            p = expit(score)
            value += float(np.sum(truth * score - np.logaddexp(0.0, score)))
            gradient += basis.T @ (truth - p)
            curvature += basis.T @ (basis * (p * (1 - p))[:, None])
        if value < best:
            step = 0.25 * step
            continue
        weights, best = trial, value
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < CONVERGED:
            break
    tables = weights.reshape(4, N_KNOTS)
    for k in (0, 1):
        tables[k] = isotonic_regression(tables[k]).x
    return tables


def scores(sample: Sample, tables: FloatArray) -> FloatArray:
    """Log odds before recalibration, shape (n,)."""
    return np.concatenate([basis @ tables.ravel() + offset for basis, offset, _ in _chunks(sample)])


def fit_calibration(score: FloatArray, truth: NDArray[np.bool_]) -> FloatArray:
    """Monotone recalibration by pool-adjacent-violators, on knots with as many spikes between them."""
    order = np.argsort(score, kind="stable")
    score, truth = score[order], truth[order]
    p = isotonic_regression(truth.astype(np.float64)).x
    found = np.cumsum(truth) * (N_CALIBRATION / truth.sum())
    part = np.minimum(found.astype(np.int64), N_CALIBRATION - 1)
    n = np.bincount(part, minlength=N_CALIBRATION)
    return np.stack([np.bincount(part, score) / n, np.maximum.accumulate(np.bincount(part, p) / n)])


def fit_probability(hold_frames: int) -> ProbabilityModel:
    """Fit to synthetic traces at one hold."""
    sample = gather(hold_frames, FIT_SEEDS)
    tables = fit_tables(sample)
    return ProbabilityModel(tables, fit_calibration(scores(sample, tables), sample.truth))


def probabilities(sample: Sample, model: ProbabilityModel) -> FloatArray:
    """Probability of every frame, shape (n,)."""
    return np.asarray(np.interp(scores(sample, model.tables), *model.calibration))


def calibration_error(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance of probability and share of spikes, in `N_BINS` equal bins."""
    at = np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)
    told, happened = (np.bincount(at, values, minlength=N_BINS) for values in (p, truth.astype(np.float64)))
    return float(np.abs(told - happened).sum() / len(p))


def _module(models: dict[int, ProbabilityModel]) -> str:
    """Source of `probability_table.py`."""

    def rows(values: FloatArray) -> str:
        return "".join("        [" + ", ".join(f"{x:.4g}" for x in row) + "],\n" for row in values)

    def block(name: str, field: str) -> str:
        entries = "".join(f"    {hold}: [\n{rows(getattr(m, field))}    ],\n" for hold, m in models.items())
        return f"{name} = {{\n{entries}}}\n"

    return _HEAD + block("_TABLES", "tables") + block("_CALIBRATION", "calibration") + _TAIL


_HEAD = '''"""The probability of a spike, by hold: written by ``python -m rt_engine.models.probability_fit``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# fmt: off
# ruff: noqa: E501
'''
_TAIL = '''# fmt: on


def probability_tables(hold_frames: int) -> tuple[FloatArray, FloatArray]:
    """Tables and recalibration of `DriveDecisionParameters` at the nearest hold that was fitted."""
    nearest = min(_TABLES, key=lambda fitted: abs(fitted - hold_frames))
    return np.array(_TABLES[nearest]), np.array(_CALIBRATION[nearest])
'''


def check(hold_frames: int) -> dict[str, float]:
    """Calibration error of the shipped probability on held-out traces, by what is wrong with the constants."""
    model = ProbabilityModel(*probability_tables(hold_frames))
    wrong: dict[str, dict[str, float]] = {"nothing wrong": {}} | {
        f"{name} x {factor:g}": {name: factor} for name in ("tau", "size", "sigma") for factor in WRONG_BY
    }
    errors = {}
    for label, factors in wrong.items():
        sample = gather(hold_frames, HELD_OUT_SEEDS, **factors)
        errors[label] = calibration_error(probabilities(sample, model), sample.truth)
    return errors


def _fit_all() -> None:
    models = {}
    for hold_frames in HOLDS:
        models[hold_frames] = fit_probability(hold_frames)
        held_out = gather(hold_frames, HELD_OUT_SEEDS)
        p = probabilities(held_out, models[hold_frames])
        brier = np.mean((p - held_out.truth) ** 2)
        error = calibration_error(p, held_out.truth)
        sys.stderr.write(f"hold {hold_frames}: Brier {brier:.5f}, ECE {error:.4f}\n")
    sys.stdout.write(_module(models))


def main() -> None:
    """Fit all holds, write the module to standard output and the errors on held-out traces to standard error; or check
    the module that is there.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fit nothing, tell the errors of the shipped numbers")
    if not parser.parse_args().check:
        _fit_all()
        return
    for hold_frames in HOLDS:
        for label, error in check(hold_frames).items():
            sys.stdout.write(f"hold {hold_frames}, {label}: ECE {error:.4f}\n")


if __name__ == "__main__":
    main()

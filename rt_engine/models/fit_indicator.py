"""Fit the forward model to a published response to one action potential: the numbers of `indicator_library.py`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit, least_squares

from rt_engine.models.forward import SUBSTEP_S, response
from rt_engine.models.indicator_physics import IndicatorPhysics, ResponseShape, RiseKind


def measure(trace: NDArray[np.float64], rise_kind: RiseKind) -> ResponseShape:
    """Shape of a response that starts at 0 s and is sampled as `forward.response` does.

    Parameters
    ----------
    trace : float64 ndarray, shape (n_samples,), dF/F, read
    rise_kind : RiseKind

    Raises
    ------
    ValueError
        The trace ends before it has fallen to half its peak.
    """
    top = int(np.argmax(trace))
    half = trace[top] / 2
    rise_s = (top + 1 + _vertex(trace, top)) * SUBSTEP_S
    if rise_kind is RiseKind.HALF:
        above = int(np.argmax(trace[: top + 1] >= half))
        before = trace[above - 1] if above else 0.0
        rise_s = (above + (half - before) / (trace[above] - before)) * SUBSTEP_S
    below = np.flatnonzero(trace[top:] <= half)
    if len(below) == 0:
        raise ValueError("the trace ends before it has fallen to half its peak")
    k = top + int(below[0])
    fall_s = (k - top - (half - trace[k]) / (trace[k - 1] - trace[k])) * SUBSTEP_S
    return ResponseShape(float(trace[top]), float(rise_s), float(fall_s))


def _vertex(trace: NDArray[np.float64], top: int) -> float:
    """Offset of the peak from its sample by a parabola through three samples, in samples, within half a sample."""
    if top == 0 or top + 1 >= len(trace):
        return 0.0
    left, middle, right = trace[top - 1 : top + 2]
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def fit_physics(start: IndicatorPhysics, target: ResponseShape, rise_kind: RiseKind) -> IndicatorPhysics:
    """Calcium step and binding time constants that give one action potential the target's shape.

    Parameters
    ----------
    start : IndicatorPhysics
        Everything else; its `step_calcium_nm`, `tau_on_s`, `tau_off_s` are where the search begins.
    target : ResponseShape
    rise_kind : RiseKind

    Notes
    -----
    Least squares in the logarithms of the three numbers and of the three features. `docs/explanation/virtual-rig.md`
    says why published K_d, n, R_f with a fixed calcium step do not give the published single-spike responses.
    """
    duration_s = 4 * target.half_decay_s + 4 * target.rise_s + 0.2
    goal = np.log([target.peak_dff, target.rise_s, target.half_decay_s])

    def misfit(log_values: NDArray[np.float64]) -> NDArray[np.float64]:
        step_nm, on_s, off_s = np.exp(log_values)
        trial = replace(start, step_calcium_nm=float(step_nm), tau_on_s=float(on_s), tau_off_s=float(off_s))
        trace = response(trial, np.zeros(1), duration_s)
        try:
            shape = measure(trace, rise_kind)
        except ValueError:
            return np.full(3, 10.0)
        return np.log([shape.peak_dff, shape.rise_s, shape.half_decay_s]) - goal

    first = np.log([start.step_calcium_nm, start.tau_on_s, start.tau_off_s])
    found = least_squares(misfit, first, diff_step=0.02, xtol=1e-5, ftol=1e-7, max_nfev=60)
    step_nm, on_s, off_s = (float(f"{value:.4g}") for value in np.exp(found.x))
    return replace(start, step_calcium_nm=step_nm, tau_on_s=on_s, tau_off_s=off_s)


def fit_kernel(physics: IndicatorPhysics) -> tuple[float, float, float]:
    """Bi-exponential through the response to one action potential.

    Returns
    -------
    amplitude_dff, tau_rise_s, tau_s : float
        Peak of the response, and the time constants of ``exp(-t/tau_s) - exp(-t/tau_rise_s)`` that fits it best in
        the least-squares sense (four significant digits).
    """
    duration_s = 1.0
    trace = response(physics, np.zeros(1), duration_s)
    while trace[-1] > 0.01 * trace.max():
        duration_s *= 2
        trace = response(physics, np.zeros(1), duration_s)
    peak = float(trace.max())
    t_s = (np.arange(len(trace)) + 1) * SUBSTEP_S

    def shape(t: NDArray[np.float64], log_rise: float, log_ratio: float) -> NDArray[np.float64]:
        rise = math.exp(log_rise)
        decay = rise * (1 + math.exp(log_ratio))
        top_s = math.log(decay / rise) * decay * rise / (decay - rise)
        height = math.exp(-top_s / decay) - math.exp(-top_s / rise)
        return np.asarray((np.exp(-t / decay) - np.exp(-t / rise)) / height)

    guess = (math.log((int(np.argmax(trace)) + 1) * SUBSTEP_S / 4), math.log(8.0))
    values, _ = curve_fit(shape, t_s, trace / peak, p0=guess)
    rise_s = math.exp(values[0])
    return float(f"{peak:.4g}"), float(f"{rise_s:.4g}"), float(f"{rise_s * (1 + math.exp(values[1])):.4g}")

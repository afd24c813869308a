"""The response curve of each cell over a power series."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit

_Z = 3.0
"""Standard errors by which the response to the highest power must exceed that to the lowest."""


def fit_curve(power_mw: NDArray[np.float64], response: NDArray[np.float64]) -> dict[str, Any]:
    """Logistic curve of one cell.

    Parameters
    ----------
    power_mw, response : float64 ndarray, shape (n,), read
        One entry a trial; NaN responses are left out.

    Returns
    -------
    dict
        `n`, `p50_mw` (power for half the largest response; None where the cell did not respond, or its P50 is not
        within the powers tried), `slope_mw`, `largest` (response at full effect).

    Notes
    -----
    response = largest / (1 + exp((P50 - power) / slope)), least squares with bounds; a curve and not a probability,
    so that one dF/F a trial is enough.
    """
    keep = np.isfinite(response)
    power_mw, response = power_mw[keep], response[keep]
    none = {"n": len(response), "p50_mw": None, "slope_mw": None, "largest": None}
    levels = np.unique(power_mw)
    if len(levels) < 3:
        return none
    low, high = response[power_mw == levels[0]], response[power_mw == levels[-1]]
    if len(low) < 2 or len(high) < 2:
        return none
    error = np.sqrt(low.var(ddof=1) / len(low) + high.var(ddof=1) / len(high))
    if not high.mean() - low.mean() > _Z * error:
        return none
    span = levels[-1] - levels[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            (largest, p50_mw, slope_mw), _ = curve_fit(
                _curve,
                power_mw,
                response,
                p0=(high.mean(), levels.mean(), span / 8),
                bounds=([0, levels[0] / 2, span / 100], [4 * abs(high.mean()) + 1e-9, levels[-1], span]),
            )
    except RuntimeError:
        return none
    if p50_mw >= levels[-1] * 0.999:
        return none
    return {"n": len(response), "p50_mw": float(p50_mw), "slope_mw": float(slope_mw), "largest": float(largest)}


def _curve(power_mw: NDArray[np.float64], largest: float, p50_mw: float, slope_mw: float) -> NDArray[np.float64]:
    return np.asarray(largest / (1 + np.exp(np.clip((p50_mw - power_mw) / slope_mw, -60, 60))))

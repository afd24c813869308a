"""Exponential, logarithm and rotation from sums, products and quotients alone: the same bits on every processor.

Those of numpy and of the mathematical library are other code on a processor with wider vectors, or with another
library, and differ in the last bit. What an engine works out at its start from a calibration must not.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_PER_LN2 = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
"""Their sum is ln 2; the first has zeros at its end, so that a product with a small whole number is exact."""
_LARGEST = 800.0
"""Beyond, an exponential is 0 or infinite."""
_ROOT_HALF = 0.7071067811865476
_N_EXP, _N_LOG, _N_TURN = 14, 12, 17
"""Terms of the series, of which the first that is left out lies below the last bit."""


def _polynomial(x: FloatArray, coefficients: list[float]) -> FloatArray:
    """Horner's rule, coefficient of the highest power last."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def exp(x: Any) -> FloatArray:
    """Exponential, to 2e-16 of itself.

    Parameters
    ----------
    x : float or float64 ndarray, any shape
    """
    bounded = np.clip(np.asarray(x, np.float64), -_LARGEST, _LARGEST)
    twos = np.rint(bounded * _PER_LN2)
    rest = (bounded - twos * _LN2_HIGH) - twos * _LN2_LOW
    series = _polynomial(rest, [1.0 / factorial(k) for k in range(_N_EXP)])
    whole = np.where(np.isnan(twos), 0.0, twos).astype(np.int32)
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(series, whole))


def log(x: Any) -> FloatArray:
    """Natural logarithm, to 3e-16 of itself or of 1; of what has none, that of numpy.

    Parameters
    ----------
    x : float or float64 ndarray, any shape
    """
    x = np.asarray(x, np.float64)
    proper = (x > 0.0) & np.isfinite(x)
    share, twos = np.frexp(np.where(proper, x, 1.0))
    low = share < _ROOT_HALF
    share, twos = np.where(low, 2.0 * share, share), twos - low
    s = (share - 1.0) / (share + 1.0)
    series = 2.0 * s * _polynomial(s * s, [1.0 / (2 * k + 1) for k in range(_N_LOG)])
    value = twos * _LN2_HIGH + (twos * _LN2_LOW + series)
    return value if proper.all() else np.where(proper, value, np.log(x))


def turned(turns: Any) -> NDArray[np.complex128]:
    """Number of size 1 at an angle in turns: cosine and, as the imaginary part, sine, to 2e-15.

    Parameters
    ----------
    turns : float or float64 ndarray, any shape
    """
    turns = np.asarray(turns, np.float64)
    angle = 2.0 * np.pi * (turns - np.rint(turns))
    square = angle * angle
    out = np.empty(angle.shape, np.complex128)
    out.real = _polynomial(square, [(-1.0) ** k / factorial(2 * k) for k in range(_N_TURN)])
    out.imag = angle * _polynomial(square, [(-1.0) ** k / factorial(2 * k + 1) for k in range(_N_TURN)])
    return out

"""Exponential, logarithm and rotation one number at a time, in the arithmetic of Python's floats."""

from __future__ import annotations

import math

LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10


def _series(x: float, coefficients: list[float]) -> float:
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def exp(x: float) -> float:
    """Power of two times the series of what is left."""
    twos = round(x * 1.4426950408889634)
    rest = (x - twos * LN2_HIGH) - twos * LN2_LOW
    return math.ldexp(_series(rest, [1 / math.factorial(k) for k in range(14)]), twos)


def log(x: float) -> float:
    """Exponent times ln 2, and twice the series of the inverse hyperbolic tangent."""
    share, twos = math.frexp(x)
    if share < 0.7071067811865476:
        share, twos = 2 * share, twos - 1
    s = (share - 1) / (share + 1)
    return twos * LN2_HIGH + (twos * LN2_LOW + 2 * s * _series(s * s, [1 / (2 * k + 1) for k in range(12)]))


def power_of_e(x: float) -> float:
    """As the kernel: series of the 512th part, squared nine times."""
    r = min(max(x, -80.0), 80.0) * (1 / 512)
    value = 1.0
    for k in (9, 7, 5, 3):
        value = 1.0 + r * (1 / k) * (1.0 + r * (1 / (k + 1)) * value)
    value = 1.0 + r * (1.0 + r * 0.5 * value)
    for _ in range(9):
        value *= value
    return value


def turned(turns: float) -> complex:
    """Cosine and sine of the angle within half a turn."""
    angle = 2 * math.pi * (turns - round(turns))
    cosine = _series(angle * angle, [(-1) ** k / math.factorial(2 * k) for k in range(17)])
    sine = angle * _series(angle * angle, [(-1) ** k / math.factorial(2 * k + 1) for k in range(17)])
    return complex(cosine, sine)

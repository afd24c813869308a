"""Functions of arithmetic alone: right, and on every processor the bits of plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from naive import plain_functions as naive

from rt_engine.pipeline.plain_functions import exp, log, turned

RNG = np.random.default_rng(1)
X = np.concatenate([RNG.uniform(-700, 700, 1000), RNG.uniform(-2, 2, 1000), [0.0, -0.5 * math.log(2)]])
POSITIVE = np.concatenate([np.exp(RNG.uniform(-700, 700, 1000)), RNG.uniform(0.5, 2, 1000), [1.0, 5e-324]])
TURNS = np.concatenate([RNG.uniform(-3, 3, 2000), [0.0, 0.25, 0.5, -0.5]])


def test_the_bits_are_those_of_plain_arithmetic() -> None:
    np.testing.assert_array_equal(exp(X), [naive.exp(x) for x in X.tolist()])
    np.testing.assert_array_equal(log(POSITIVE), [naive.log(x) for x in POSITIVE.tolist()])
    np.testing.assert_array_equal(turned(TURNS), [naive.turned(x) for x in TURNS.tolist()])


def test_they_are_what_they_are_called() -> None:
    np.testing.assert_allclose(exp(X), [math.exp(x) for x in X], rtol=4e-16)
    np.testing.assert_allclose(log(POSITIVE), [math.log(x) for x in POSITIVE], rtol=3e-16, atol=3e-16)
    np.testing.assert_allclose(turned(TURNS), np.exp(2j * np.pi * TURNS), atol=4e-15)


def test_what_lies_beyond_numbers() -> None:
    np.testing.assert_array_equal(exp([-np.inf, -1e9, 1e9, np.inf, np.nan]), [0.0, 0.0, np.inf, np.inf, np.nan])
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(log([0.0, np.inf, np.nan, -1.0, 1.0]), [-np.inf, np.inf, np.nan, np.nan, 0.0])


def test_of_one_number_comes_one_number() -> None:
    assert float(exp(1.0)) == pytest.approx(math.e, rel=1e-15)
    assert float(log(10.0)) == pytest.approx(math.log(10.0), rel=1e-15)
    assert complex(turned(0.5)) == pytest.approx(-1.0)

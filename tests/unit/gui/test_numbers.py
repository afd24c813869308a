"""Numbers are shown as people read them, and what is no number is a dash."""

from __future__ import annotations

import math

import pytest

from gui.numbers import NONE, age, clock_time, fixed, number, percent, size


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "7", True])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    assert number(value) == NONE
    assert percent(value) == NONE


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (1234567, "1,234,567"), (12.0, "12"), (4321.7, "4,322"), (3e15, "3.00e+15")]
)
def test_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_units_ages_and_sizes() -> None:
    assert number(20.0, 3, "mW") == "20 mW"
    assert fixed(2.345, 1, "ms") == "2.3 ms"
    assert fixed(math.nan, 1) == NONE
    assert percent(0.256) == "26 %"
    assert (age(3.21), age(59), age(600), age(7300)) == ("3.2 s", "59 s", "10 min", "2.0 h")
    assert (clock_time(65), clock_time(3725)) == ("1:05", "1:02:05")
    assert (size(5e6), size(2.5e9)) == ("5 MB", "2.50 GB")

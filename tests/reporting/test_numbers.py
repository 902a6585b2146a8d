"""How numbers are printed."""

from __future__ import annotations

import math

import pytest

from bench.reporting.numbers import duration, measured, quantity, significant, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9341, "0.934"),
        (0.99996, "1.00"),
        (12.345, "12.3"),
        (1234.0, "1,234"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (1.5e-5, "1.50e-05"),
        (2.5e8, "2.50e+08"),
        (math.nan, "NaN"),
        (-math.inf, "-inf"),
    ],
)
def test_three_significant_digits(value: float, expected: str) -> None:
    assert significant(value) == expected


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [
        (8.729, 0.51, "8.73 ±0.51"),
        (0.0021, 0.0188, "0.0021 ±0.0188"),
        (123.4, 12.0, "123 ±12"),
        (0.0, 0.0, "0.00 ±0.00"),
        (0.5, math.nan, "0.500"),
        (math.inf, math.nan, "inf"),
    ],
)
def test_half_an_interval_has_the_decimals_of_its_value(value: float, half: float, expected: str) -> None:
    assert measured(value, half) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 s"),
        (0.000324, "324 µs"),
        (0.031, "31 ms"),
        (0.9996, "1.0 s"),
        (4.2, "4.2 s"),
        (59.7, "1.0 min"),
        (840.0, "14 min"),
        (11_160.0, "3.1 h"),
        (360_000.0, "100 h"),
        (math.nan, "NaN"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (320_000_000, "305 MiB"), (1.5 * 2**30, "1.5 GiB")],
)
def test_sizes(amount: float, expected: str) -> None:
    assert size(amount) == expected


def test_a_quantity_has_half_its_interval_and_its_unit() -> None:
    assert quantity(0.934, "fraction", 0.91, 0.95) == "0.934 ±0.020"
    assert quantity(0.031, "seconds", 0.029, 0.033) == "31 ±2 ms"
    assert quantity(0.031, "seconds") == "31 ms"
    assert quantity(0.031, "seconds", 0.03099, 0.03101) == "31 ms"
    assert quantity(math.nan, "fraction") == "NaN"
    assert quantity(1.0, "fraction") == "1.000"

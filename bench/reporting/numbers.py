"""How numbers are printed everywhere: 3 significant digits, ± half the interval, plain units."""

from __future__ import annotations

import math

from bench.records.metrics import Unit

__all__ = ["amount", "duration", "measured", "quantity", "significant", "size"]

_DURATIONS = (
    (1e-6, 1e-3, "µs"),
    (1e-3, 1.0, "ms"),
    (1.0, 60.0, "s"),
    (60.0, 3600.0, "min"),
    (3600.0, math.inf, "h"),
)
_AMOUNTS = ((1.0, 1e3, ""), (1e3, 1e6, "K"), (1e6, 1e9, "M"), (1e9, 1e12, "B"), (1e12, math.inf, "T"))
_SIZES = (
    (1.0, 1024.0, "B"),
    (2.0**10, 2.0**20, "KiB"),
    (2.0**20, 2.0**30, "MiB"),
    (2.0**30, math.inf, "GiB"),
)


def quantity(value: float, unit: Unit, low: float = math.nan, high: float = math.nan) -> str:
    """Print a metric's value with half its interval: `0.934 ±0.021`, `31 ±2 ms`, `1.4 GiB`.

    Args:
        value: in the metric's own unit; NaN and infinity are printed as such.
        unit: decides on durations, sizes or plain numbers.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
    """
    half = (high - low) / 2
    if unit == "seconds":
        return _scaled(value, half, _DURATIONS)
    if unit == "bytes":
        return _scaled(value, half, _SIZES)
    # A share of n probes is no finer than that; equal decimals make a column readable.
    return measured(value, half, places=3 if unit == "fraction" else None)


def measured(value: float, half: float = math.nan, *, places: int | None = None) -> str:
    """Print a value to 3 significant digits, and ± half an interval to the same decimals.

    Args:
        value: what to print.
        half: half the interval; NaN if there is none.
        places: decimals to print instead.
    """
    if not math.isfinite(value) or (places is None and not math.isfinite(half)):
        return significant(value)
    if places is not None and not math.isfinite(half):
        return _fixed(value, places)
    if abs(value) >= 1e6:
        return f"{significant(value)} ±{significant(half)}"
    places = _places(max(abs(value), abs(half)), 3) if places is None else places
    return f"{_fixed(value, places)} ±{half:,.{places}f}"


def significant(value: float, digits: int = 3) -> str:
    """Print a number to so many significant digits, trailing zeros kept."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return _fixed(value, _places(abs(value), digits))


def duration(seconds: float) -> str:
    """Print a duration: `31 ms`, `4.2 s`, `14 min`, `3.1 h`."""
    return _scaled(seconds, math.nan, _DURATIONS)


def size(amount: float) -> str:
    """Print a number of bytes: `12 KiB`, `312 MiB`, `1.4 GiB`."""
    return _scaled(amount, math.nan, _SIZES)


def amount(number: float) -> str:
    """Print a large number to two digits, as models are called by it: `3.0M`, `124M`, `2.7B`."""
    return _scaled(number, math.nan, _AMOUNTS).replace(" ", "")


def _scaled(value: float, half: float, units: tuple[tuple[float, float, str], ...]) -> str:
    if not math.isfinite(value):
        return significant(value)
    if value == 0:
        return f"0 {next(name for scale, _, name in units if scale == 1)}".rstrip()
    # The unit is chosen for the rounded number: 59.96 s is 1.0 min, not 60 s.
    scale, _, name = next((unit for unit in units if _two_digits(abs(value) / unit[0]) * unit[0] < unit[1]), units[-1])
    number = value / scale
    places = 1 if 0 < abs(_two_digits(number)) < 10 and name != "B" else 0
    text = _fixed(number, places)
    shown = f"{half / scale:,.{places}f}"
    if math.isfinite(half) and float(shown.replace(",", "")) > 0:
        text += f" ±{shown}"
    return f"{text} {name}".rstrip()


def _two_digits(number: float) -> float:
    return round(number, 1) if abs(number) < 9.95 else float(round(number))


def _places(magnitude: float, digits: int) -> int:
    if magnitude == 0:
        return digits - 1
    exponent = math.floor(math.log10(float(f"{magnitude:.{digits - 1}e}")))
    return max(0, digits - 1 - exponent)


def _fixed(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text

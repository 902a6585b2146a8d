"""Axes whose ticks are durations, sizes or given places, and what to do with values far below all others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.records.metrics import Unit
from bench.reporting.numbers import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Side", "above_gap", "is_log", "set_places", "set_values", "short"]

Side = Literal["x", "y"]

_GAP = 2.5  # decades; what lies further below all else is shown at the edge, with its value written
_ROOM = 1.6  # an axis of durations or sizes goes on by this factor at both ends
_SPAN = 0.05  # the least span of a plain axis, so that noise does not look like a difference
_TICKS: Mapping[Side, int] = {"x": 4, "y": 6}  # at most
_NARROW, _CHARACTER = 0.02, 0.04  # of the axis: least gap between ticks at given places, and a character of one
_STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,))  # of a decade, from fine to coarse
_LONG: tuple[float, ...] = (60, 120, 300, 600, 1800, 3600, 7200, 18_000, 36_000, 86_400, 172_800, 432_000, 864_000)


def is_log(unit: Unit) -> bool:
    """Say whether axes of this unit are logarithmic: durations and sizes are."""
    return unit in ("seconds", "bytes")


def set_values(ax: Axes, side: Side, values: Iterable[float], unit: Unit, *, has_edge: bool = True) -> float | None:
    """Set scale, limits and ticks so that all values have room.

    Args:
        ax: whose axis.
        side: which axis.
        values: means and ends of intervals; what is not finite is passed over.
        unit: of the values.
        has_edge: what is far below all others is shown at the edge, and the axis is not for it.

    Returns:
        Where to show what is too small for a logarithmic axis: what is 0, or more than 2.5 decades below all others.
        None where everything fits.
    """
    numbers = np.array(sorted(value for value in values if math.isfinite(value)), dtype=np.float64)
    set_scale, set_limits = (ax.set_xscale, ax.set_xlim) if side == "x" else (ax.set_yscale, ax.set_ylim)
    if not len(numbers):
        return None
    if not is_log(unit) or numbers[-1] <= 0:
        margin = 0.08 * max(numbers[-1] - numbers[0], _SPAN)
        set_limits(numbers[0] - margin, numbers[-1] + margin)
        return None
    lowest = above_gap(numbers) if has_edge else float(numbers[numbers > 0][0])
    has_small = numbers[0] < lowest
    set_scale("log")
    low, high = lowest / _ROOM, numbers[-1] * _ROOM
    if has_small:
        low /= (high / low) ** 0.12
    set_limits(low, high)
    _set_ticks(
        ax,
        side,
        _nice(lowest / _ROOM if has_small else low, high, unit, _TICKS[side]),
        lambda value: short(value, unit),
    )
    return float(low * (high / low) ** 0.035) if has_small else None


def set_places(
    ax: Axes, places: Sequence[float], shown: Callable[[float], str], *, is_logarithmic: bool = True
) -> None:
    """Set the horizontal axis so that its ticks are the places where something was measured.

    Args:
        ax: whose axis.
        places: values > 0.
        shown: prints one.
        is_logarithmic: equal factors are equally far apart.
    """
    low, high = min(places), max(places)
    if is_logarithmic:
        ax.set_xscale("log")
        margin = max((high / low) ** 0.07, 1.05)
        ax.set_xlim(low / margin, high * margin)
    else:
        margin = max(0.07 * (high - low), 0.5)
        ax.set_xlim(low - margin, high + margin)
    kept: list[float] = []
    for place in dict.fromkeys([high, low, *sorted(places)]):  # both ends, then what has room between
        if all(abs(_fraction(ax, place) - _fraction(ax, other)) > _room(shown(place), shown(other)) for other in kept):
            kept.append(place)
    _set_ticks(ax, "x", sorted(kept), shown)


def above_gap(values: Iterable[float]) -> float:
    """The smallest value that a logarithmic axis is for: that above the widest gap, if it is wide.

    Args:
        values: one of them > 0; what is not positive is passed over.
    """
    positive = np.array(sorted(value for value in values if value > 0), dtype=np.float64)
    gaps = np.diff(np.log10(positive))
    if len(gaps) and gaps.max() >= _GAP:
        return float(positive[int(gaps.argmax()) + 1])
    return float(positive[0])


def short(value: float, unit: Unit) -> str:
    """Print a duration or size as at a tick: `2 s`, not `2.0 s`."""
    return quantity(value, unit).replace(".0 ", " ")


def _room(text: str, other: str) -> float:
    """How far apart two ticks must be so that their texts do not touch, as a fraction of the axis."""
    return _NARROW + _CHARACTER * (len(text) + len(other)) / 2


def _fraction(ax: Axes, place: float) -> float:
    x = ax.transAxes.inverted().transform(ax.transData.transform((place, ax.get_ylim()[0])))[0]
    return float(x)


def _set_ticks(ax: Axes, side: Side, places: Sequence[float], shown: Callable[[float], str]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis = ax.xaxis if side == "x" else ax.yaxis
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FixedFormatter([shown(place) for place in places]))
    axis.set_minor_locator(NullLocator())


def _nice(low: float, high: float, unit: Unit, most: int) -> list[float]:
    """The finest round durations or sizes between two that are not too many."""
    found: list[float] = []
    for steps in _STEPS:
        found = [place for place in _round(unit, steps) if low <= place <= high]
        if len(found) <= most:
            break
    return found[:: math.ceil(len(found) / most)] if found else [math.sqrt(low * high)]


def _round(unit: Unit, steps: Sequence[float]) -> list[float]:
    if unit == "bytes":
        return [step * 10**tens * 1024**power for power in range(5) for tens in range(3) for step in steps]
    is_fine = len(steps) > 2
    long = [second for second in _LONG if is_fine or second in (60, 600, 3600, 36_000, 864_000)]
    return [step * 10.0**power for power in range(-7, 2) for step in steps if step * 10.0**power < 60] + long

"""Colours, markers and lines of methods: safe for the colour-blind, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["WHOLE", "Look", "looks"]

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), with a darker yellow to be seen on white, dark grey for black, and
# without orange, which is too close to two others.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8A000", "#5A5A5A")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (9, 2))  # on, off …; points

WHOLE = ""  # in place of a configuration: the method, whatever its configuration


class Look(NamedTuple):
    """How a series is drawn."""

    colour: str
    ink: str  # the colour darkened, for text
    marker: str
    dashes: tuple[float, ...]  # lengths on and off, points; empty: a full line


def looks(series: Iterable[tuple[str, str]], known: Sequence[str] = ()) -> Mapping[tuple[str, str], Look]:
    """Give each series of a run a look of its own, by its method.

    A method has the look of its place in `known`, in every run; where two methods of this run would share a colour
    or a marker, the later one takes the next that is free. So does a method's second configuration. 77 looks differ;
    then they come again.

    Args:
        series: method and configuration of all that the run has, also of what failed; the order does not matter.
        known: all methods that there are. Others come after them.

    Returns:
        Looks by method and configuration, and by method and `WHOLE`: that of its first configuration.
    """
    of_method: dict[str, list[str]] = {}
    for method, config in sorted(set(series), key=lambda pair: (pair[0], pair[1] != "default", pair[1])):
        of_method.setdefault(method, []).append(config)
    places = {method: place for place, method in enumerate(known)}
    order = sorted(of_method, key=lambda method: (places.get(method, len(places)), method))
    taken: list[Look] = []
    found: dict[tuple[str, str], Look] = {}
    for rank, method in enumerate(order):
        place = places.get(method, len(places) + rank)
        found[method, of_method[method][0]] = found[method, WHOLE] = _free(place, taken)
    for method in order:
        for config in of_method[method][1:]:
            found[method, config] = _free(len(taken), taken)
    return found


def _free(place: int, taken: list[Look]) -> Look:
    """The look of a place, or with the next colour and marker that are free; it is taken then."""
    colour = _next(place, _COLOURS, [look.colour for look in taken])
    marker = _next(place, _MARKERS, [look.marker for look in taken])
    if any((colour, marker) == (look.colour, look.marker) for look in taken):
        used = [look.marker for look in taken if look.colour == colour]
        marker = _next(place, _MARKERS, used)
    look = Look(colour, _darkened(colour), marker, _DASHES[place % len(_DASHES)])
    taken.append(look)
    return look


def _next(place: int, choice: Sequence[str], used: Sequence[str]) -> str:
    """The choice of this place, or the next that was used least."""
    turned = [choice[(place + step) % len(choice)] for step in range(len(choice))]
    return min(turned, key=used.count)


def _darkened(colour: str) -> str:
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{int(channel * 0.72):02X}" for channel in channels)

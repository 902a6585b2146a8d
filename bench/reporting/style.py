"""Colours and markers of methods: safe for the colour-blind, the same in every figure of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Look", "looks"]

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), without black and with a darker yellow to be seen on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8A000", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")


class Look(NamedTuple):
    """How a method is drawn."""

    colour: str
    ink: str  # the colour darkened, for text
    marker: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Give each method a colour and a marker, by order; 77 differ before one comes again."""
    return {
        method: Look(
            _COLOURS[place % len(_COLOURS)],
            _darkened(_COLOURS[place % len(_COLOURS)]),
            _MARKERS[place % len(_MARKERS)],
        )
        for place, method in enumerate(dict.fromkeys(methods))
    }


def _darkened(colour: str) -> str:
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{int(channel * 0.72):02X}" for channel in channels)

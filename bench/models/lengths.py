"""Puts texts of like length together, so that less is computed for padding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

__all__ = ["by_length"]


def by_length(lengths: Sequence[int], *, overhead: int) -> list[list[int]]:
    """Part rows into batches that cost least.

    A batch costs its rows times its longest one, padding included, and `overhead` tokens more: what a pass costs
    however short it is.

    Args:
        lengths: tokens of each row.
        overhead: in tokens.

    Returns:
        The rows of each batch by index, ascending; shortest batch first. All rows are in exactly one.
    """
    steps = sorted(set(lengths))
    # rows no longer than each step; the best parting of those is found step by step
    up_to = list(accumulate((lengths.count(step) for step in steps), initial=0))
    best: list[tuple[int, int]] = [(0, 0)]  # cost so far, and the step behind which its last batch begins
    for last, longest in enumerate(steps, start=1):
        best.append(
            min((best[first][0] + (up_to[last] - up_to[first]) * longest + overhead, first) for first in range(last))
        )
    bounds: list[tuple[int, int]] = []
    last = len(steps)
    while last:
        first = best[last][1]
        bounds.append((steps[first], steps[last - 1]))
        last = first
    return [[i for i, n in enumerate(lengths) if low <= n <= high] for low, high in reversed(bounds)]

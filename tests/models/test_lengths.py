"""Texts are parted by length where padding costs more than another pass."""

from __future__ import annotations

from itertools import product

import pytest

from bench.models.lengths import by_length


def cost(parts: list[list[int]], lengths: list[int], overhead: int) -> int:
    return sum(len(part) * max(lengths[i] for i in part) + overhead for part in parts)


def test_texts_of_one_length_stay_together() -> None:
    assert by_length([7, 7, 7], overhead=0) == [[0, 1, 2]]


def test_a_long_text_is_computed_alone_if_a_pass_costs_less_than_the_padding() -> None:
    lengths = [10, 50, 10, 10]  # together 200 tokens; apart 30 + 50

    assert by_length(lengths, overhead=119) == [[0, 2, 3], [1]]
    assert by_length(lengths, overhead=121) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("overhead", [0, 3, 10, 40])
def test_no_other_parting_costs_less(overhead: int) -> None:
    lengths = [3, 9, 4, 4, 12, 3, 7]

    found = by_length(lengths, overhead=overhead)

    assert sorted(i for part in found for i in part) == list(range(7))
    least = min(
        cost([part for k in range(7) if (part := [i for i in range(7) if where[i] == k])], lengths, overhead)
        for where in product(range(4), repeat=7)
    )
    if overhead:  # with none, each of the five lengths has a part of its own; four parts were tried
        assert cost(found, lengths, overhead) == least
    else:
        assert len(found) == 5


def test_no_texts_make_no_parts() -> None:
    assert by_length([], overhead=5) == []

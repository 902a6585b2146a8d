"""Which locality probes an edit of several requests makes void."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.editing.request import EditCase, contradicted
from bench.testing import tiny_cases


def changed(case: EditCase, place: int, **fields: Any) -> EditCase:
    """Give a case with one of its probes changed."""
    probes = [replace(probe, **fields) if i == place else probe for i, probe in enumerate(case.probes)]
    return replace(case, probes=tuple(probes))


def test_cases_that_ask_for_different_things_contradict_nothing() -> None:
    assert contradicted(tiny_cases("causal", 5)) == set()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_locality_probe_with_the_prompt_of_another_request_or_rephrase_is_contradicted(place: int) -> None:
    one, two = tiny_cases("causal", 2)

    found = contradicted([one, changed(two, 4, prompt=one.probes[place].prompt)])

    assert found == {(1, "locality/4")}


def test_a_locality_probe_about_a_fact_that_another_request_changes_is_contradicted_in_any_words() -> None:
    one, two = tiny_cases("causal", 2)

    found = contradicted([changed(one, 3, about="fact"), changed(two, 0, about="fact")])

    assert found == {(0, "locality/3")}


def test_facts_that_are_not_named_are_not_taken_for_one() -> None:
    one, two = tiny_cases("causal", 2)

    assert contradicted([changed(one, 3, about=None), changed(two, 0, about=None)]) == set()


def test_a_probe_is_not_contradicted_by_its_own_request_nor_by_another_locality_probe() -> None:
    one, two = tiny_cases("causal", 2)
    own = changed(changed(one, 0, about="a"), 3, about="a")

    assert contradicted([own, two]) == set()
    assert contradicted([changed(one, 3, about="b"), changed(two, 3, about="b")]) == set()


def test_only_locality_probes_are_contradicted() -> None:
    one, two = tiny_cases("causal", 2)

    assert contradicted([changed(one, 1, about="a"), changed(two, 0, about="a")]) == set()

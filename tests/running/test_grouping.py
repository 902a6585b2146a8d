"""Which requests one edit installs together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.editing.request import ProbeKind
from bench.records.mode import parse_mode
from bench.running.grouping import group_cases, void_probes
from bench.testing import tiny_cases


def test_in_single_mode_each_request_is_alone_in_the_order_of_the_cases() -> None:
    cases = tiny_cases("causal", 3)

    groups = group_cases(cases, parse_mode("single"), seed=5)

    assert [group.places for group in groups] == [(0,), (1,), (2,)]
    assert [group.id for group in groups] == ["tiny/0000", "tiny/0001", "tiny/0002"]
    assert [group.name for group in groups] == [None] * 3
    assert groups[1].title == "request 'tiny/0001'"


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_groups_are_whole_and_hold_each_case_once(size: int) -> None:
    cases = tiny_cases("causal", 10)

    groups = group_cases(cases, parse_mode(f"batch:{size}"), seed=0)

    assert [len(group.places) for group in groups] == [size] * (10 // size)
    assert sorted(place for group in groups for place in group.places) == list(range(10))
    assert all(group.requests == tuple(cases[place].request for place in group.places) for group in groups)
    assert len({group.name for group in groups}) == len(groups)
    assert groups[0].title == "group 'group/0000'"


def test_a_seed_decides_who_shares_a_group_and_nothing_else() -> None:
    cases = tiny_cases("causal", 12)
    mode = parse_mode("batch:3")

    first, again, other = (group_cases(cases, mode, seed) for seed in (0, 0, 1))

    assert first == again
    assert [g.places for g in first] != [g.places for g in other]
    assert {r.id for g in first for r in g.requests} == {r.id for g in other for r in g.requests}
    assert [g.name for g in first] == [g.name for g in other]


def test_a_probe_is_void_only_in_the_group_that_changes_what_it_asks() -> None:
    cases = tiny_cases("causal", 4)
    asks_two = replace(cases[0].probes[3], prompt=cases[2].request.prompt)
    cases[0] = replace(cases[0], probes=(*cases[0].probes[:3], asks_two, *cases[0].probes[4:]))
    groups = {seed: group_cases(cases, parse_mode("batch:2"), seed) for seed in range(12)}

    found = {seed: void_probes(cases, chosen) for seed, chosen in groups.items()}

    together = {seed: any({0, 2} == set(group.places) for group in chosen) for seed, chosen in groups.items()}
    assert set(together.values()) == {True, False}
    assert found == {seed: {(0, "locality/3")} if shared else set() for seed, shared in together.items()}
    assert cases[0].probes[3].kind is ProbeKind.LOCALITY

"""Batches of a fit: every case once before any twice, whole groups, the probes that belong to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from bench.editing.fit_config import FitConfig
from bench.editing.objective import FitBatch
from bench.editing.request import ProbeKind
from bench.editing.sampling import Sampler, in_groups, micro_batches
from bench.errors import DataError
from bench.testing import tiny_cases


def sampler(cases: int, *, seed: int = 0, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {"edits_per_step": 4, "outer_probes": 1, "locality_probes": 1}
    return Sampler(tiny_cases("causal", cases), FitConfig(**(settings | changes)), seed=seed)


def ids(batch: FitBatch) -> list[str]:
    return [request.id for group in batch.groups for request in group]


def test_every_case_comes_once_before_any_comes_twice() -> None:
    draws = sampler(12)

    drawn = [name for _ in range(6) for name in ids(draws.draw())]

    assert set(Counter(drawn[:12]).values()) == {1}
    assert set(Counter(drawn).values()) == {2}
    assert drawn[:12] != drawn[12:]


def test_a_group_never_holds_a_case_twice() -> None:
    draws = sampler(5, edits_per_step=1, group_size=3)

    for _ in range(60):
        assert len(set(ids(draws.draw()))) == 3


def test_probes_of_a_batch_name_their_group_and_kind() -> None:
    batch = sampler(12, group_size=2).draw()

    assert [group for group, _ in batch.outer] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {probe.kind for _, probe in batch.outer} <= {ProbeKind.REQUEST, ProbeKind.REPHRASE}
    assert {probe.kind for _, probe in batch.locality} == {ProbeKind.LOCALITY}
    for group, probe in batch.outer:
        assert probe.answer in [request.target for request in batch.groups[group]]


def test_a_step_may_take_several_probes_of_each_case() -> None:
    batch = sampler(8, outer_probes=2, locality_probes=2).draw()

    assert Counter(group for group, _ in batch.outer) == dict.fromkeys(range(4), 2)
    assert Counter(group for group, _ in batch.locality) == dict.fromkeys(range(4), 2)
    assert len({(group, probe.id) for group, probe in batch.outer}) == 8


def test_a_locality_probe_that_another_request_of_its_group_changes_is_never_taken() -> None:
    cases = tiny_cases("causal", 4)
    clashing = replace(cases[0].probes[3], prompt=cases[1].request.prompt)
    cases[0] = replace(cases[0], probes=(*cases[0].probes[:3], clashing, cases[0].probes[4]))
    settings = {"outer_probes": 1, "locality_probes": 2}

    together = Sampler(cases, FitConfig(edits_per_step=1, group_size=4, **settings), seed=0).draw()
    apart = Sampler(cases, FitConfig(edits_per_step=4, group_size=1, **settings), seed=0).draw()

    assert len(together.locality) == 7
    assert clashing not in [probe for _, probe in together.locality]
    assert len(apart.locality) == 8
    assert clashing in [probe for _, probe in apart.locality]


def test_cases_without_locality_probes_are_refused_by_name() -> None:
    bare = [replace(case, probes=case.probes[:1]) for case in tiny_cases("causal", 8)]

    with pytest.raises(DataError, match=r"locality probes; case 'tiny/000\d' has 1 and 0"):
        Sampler(bare, FitConfig(edits_per_step=4), seed=0).draw()


@pytest.mark.parametrize("after", [0, 1, 2, 3, 7])
def test_a_sampler_goes_on_where_its_state_was_taken(after: int) -> None:
    first, again = sampler(10, seed=3), sampler(10, seed=4)
    for _ in range(after):
        first.draw()

    again.resume(first.state())

    assert [again.draw() for _ in range(5)] == [first.draw() for _ in range(5)]


def test_micro_batches_hold_the_groups_and_probes_of_the_batch_in_order() -> None:
    batch = sampler(20, edits_per_step=5, outer_probes=2).draw()

    parts = micro_batches(batch, 2)

    assert [len(p.groups) for p in parts] == [2, 2, 1]
    assert tuple(group for p in parts for group in p.groups) == batch.groups
    assert [probe for p in parts for _, probe in p.outer] == [probe for _, probe in batch.outer]
    for p in parts:
        targets = [group[0].target for group in p.groups]
        assert all(probe.answer == targets[group] for group, probe in p.outer)


@pytest.mark.parametrize("size", [0, 4, 9])
def test_a_batch_that_is_small_enough_is_one_part(size: int) -> None:
    batch = sampler(4).draw()

    assert micro_batches(batch, size) == [batch]


def test_groups_are_whole() -> None:
    assert in_groups([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4]]  # type: ignore[list-item]
    assert in_groups([], 2) == []

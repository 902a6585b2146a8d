"""No case and no subject is in two splits of a dataset: what is fitted or chosen must not know what it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench import registry
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split, check_splits
from bench.editing.request import EditCase
from bench.errors import DataError
from bench.models.kind import ModelKind
from bench.testing import tiny_cases

PAIRS = [
    (name, kind) for name, plugin in registry.plugins("datasets").items() if not plugin.problem for kind in plugin.kinds
]


@config
class GivenConfig:
    pass


class Given(Dataset[Any]):
    """Cases that a test gives."""

    name = "given"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = GivenConfig
    splits: dict[Split, Sequence[EditCase]]

    def cases(self, split: Split) -> Iterator[EditCase]:
        return iter(self.splits[split])

    def digest(self) -> str:
        return ""


def given(fit: Sequence[EditCase], tune: Sequence[EditCase], test: Sequence[EditCase]) -> Given:
    dataset = Given(GivenConfig(), ModelKind.CAUSAL)
    dataset.splits = {Split.FIT: fit, Split.TUNE: tune, Split.TEST: test}
    return dataset


def renamed(case: EditCase, **changes: Any) -> EditCase:
    return replace(case, request=replace(case.request, **changes))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_dataset_keeps_its_splits_apart(
    name: str, kind: str, on_samples: Callable[[str, ModelKind], Dataset[Any]]
) -> None:
    check_splits(on_samples(name, ModelKind(kind)))


def test_a_subject_of_the_fit_split_in_the_test_split_is_refused_with_both_cases() -> None:
    fit, tune, test = (tiny_cases("causal", 3, start=start) for start in (0, 10, 20))
    test[1] = renamed(test[1], subject=fit[2].request.subject)

    with pytest.raises(DataError, match=r"the subject '\w+' is in fit \(case 'tiny/0002'\) and in test .*'tiny/0021'"):
        check_splits(given(fit, tune, test))


def test_a_case_of_the_tune_split_in_the_test_split_is_refused() -> None:
    fit, tune, test = (tiny_cases("causal", 3, start=start) for start in (0, 10, 20))

    with pytest.raises(DataError, match="dataset 'given': case 'tiny/0011' is in tune and in test"):
        check_splits(given(fit, tune, [*test, tune[1]]))


def test_cases_without_a_subject_are_told_apart_by_their_id() -> None:
    fit, tune, test = (
        [renamed(case, subject=None) for case in tiny_cases("causal", 3, start=start)] for start in (0, 10, 20)
    )

    check_splits(given(fit, tune, test))


def test_a_subject_may_have_several_cases_in_its_split() -> None:
    fit, tune, test = (tiny_cases("causal", 3, start=start) for start in (0, 10, 20))
    fit[1] = renamed(fit[1], subject=fit[0].request.subject)

    check_splits(given(fit, tune, test))

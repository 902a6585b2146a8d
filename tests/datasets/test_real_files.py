"""The loaders on real files, which are not in the repository: BENCH_DATA names the folder that has them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.datasets._nq import nq_questions
from bench.datasets._source import file_digest
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, ProbeKind
from bench.models.kind import ModelKind

# What the tests expect of a file holds for this version of it.
DIGESTS = {
    "counterfact/counterfact-edit.json": "bfe31a7081932739406e282bb625d74222549c3386c15b1df3dfbc3978c69eec",
    "counterfact/counterfact-train.json": "f7d443ffb0c5da6cbe816cdac45281ccb3f204b8a840f00d07a4aafa949bcd76",
    "zsre/zsre_mend_train-1k.json": "e62596101d8ed551889c26c0d2a5277f92eaef3b14416d8eaee39b04a244ab60",
    "nq_open/NQ-open.dev.jsonl": "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
    "fever_symmetric/symmetric_v0.1_fever_symmetric_full.jsonl": "6edf8b5bdc3f2fe470b98e94297ed31200a241c98b0318f905bf324345cf6897",  # noqa: E501
    "fever_symmetric/symmetric_v0.2_fever_symmetric_dev.jsonl": "1d43d016da9264de2139cd10edd459ffbeac84f1fd85d60b70ab6ef63d283f81",  # noqa: E501
    "wikitext2/valid.txt": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
}
FACTS = "counterfact/counterfact-edit.json"
TRAIN = "counterfact/counterfact-train.json"


@pytest.fixture
def real() -> Callable[[str], str]:
    """Give the path of a real file, or skip the test and say why."""

    def find(name: str) -> str:
        folder = os.environ.get("BENCH_DATA")
        if not folder:
            pytest.skip("BENCH_DATA names no folder with the real files")
        path = Path(folder) / name
        if not path.is_file():
            pytest.skip(f"BENCH_DATA has no {name}")
        if file_digest(path) != DIGESTS[name]:
            pytest.skip(f"{name} is another version of the file than the one that this test knows")
        return str(path)

    return find


def _made(name: str, **values: Any) -> Dataset[Any]:
    cls = registry.load("datasets", name)
    made: Dataset[Any] = cls(build_config(cls.Config, values, owner=name), ModelKind(cls.kinds[0]))
    return made


def _cases(dataset: Dataset[Any]) -> dict[Split, list[EditCase]]:
    return {split: list(dataset.cases(split)) for split in Split}


def _counts(case: EditCase) -> Counter[ProbeKind]:
    return Counter(probe.kind for probe in case.probes)


def test_zsre_of_easyedit(real: Callable[[str], str]) -> None:
    dataset = _made("zsre", path=real("zsre/zsre_mend_train-1k.json"))
    cases = _cases(dataset)

    assert dataset.left_out() == {"there is no alternative": 2}
    assert sum(map(len, cases.values())) == 998
    assert len(cases[Split.TEST]) > 250
    assert all(_counts(case)[ProbeKind.REPHRASE] == 1 for case in cases[Split.TEST])
    subjects = {split: {case.request.subject for case in of} for split, of in cases.items()}
    assert all(a.isdisjoint(b) for a, b in combinations(subjects.values(), 2))


def test_nq_open_for_locality(real: Callable[[str], str]) -> None:
    path = real("nq_open/NQ-open.dev.jsonl")

    asked = {split: list(nq_questions(Path(path), split)) for split in Split}

    assert sum(map(len, asked.values())) == 3610
    moon = [one for of in asked.values() for one in of if "last time anyone was on the moon" in one.prompt]
    assert [(one.prompt, one.answer) for one in moon] == [
        ("When was the last time anyone was on the moon?", "December 1972")
    ]
    dataset = _made("zsre", path=real("zsre/zsre_mend_train-1k.json"), nq_path=path)
    assert all(_counts(case)[ProbeKind.LOCALITY] == 4 for case in dataset.cases(Split.TEST))


def test_flat_counterfact_alone_and_in_two_files(real: Callable[[str], str]) -> None:
    alone, both = _made("counterfact", path=real(FACTS)), _made("counterfact", path=real(FACTS), fit_path=real(TRAIN))

    sizes = [{split: len(of) for split, of in _cases(dataset).items()} for dataset in (alone, both)]

    assert sum(sizes[0].values()) == 10_000
    assert sizes[1][Split.TEST] == 10_000
    assert sum(sizes[1].values()) + sum(both.left_out().values()) == 20_000
    assert set(both.left_out()) <= {"the subject or prompt is in test too", "the subject or prompt is in tune too"}


@pytest.mark.slow
def test_rebuilt_counterfact(real: Callable[[str], str]) -> None:
    dataset = _made("counterfact_rebuilt", path=real(FACTS), fit_path=real(TRAIN))
    cases = _cases(dataset)

    assert dataset.left_out()["the template of the prompt does not name one relation"] == 7635
    assert len(cases[Split.TEST]) == 6166
    counts = [_counts(case) for case in cases[Split.TEST]]
    assert sum(count[ProbeKind.LOCALITY] >= 5 for count in counts) > 0.6 * len(counts)
    assert sum(count[ProbeKind.REPHRASE] == 2 for count in counts) > 0.9 * len(counts)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("fever_symmetric/symmetric_v0.1_fever_symmetric_full.jsonl", 956),
        ("fever_symmetric/symmetric_v0.2_fever_symmetric_dev.jsonl", 708),
    ],
)
def test_fever_symmetric_in_both_versions(real: Callable[[str], str], name: str, rows: int) -> None:
    dataset = _made("fever", path=real(name))
    cases = _cases(dataset)

    assert sum(map(len, cases.values())) + sum(dataset.left_out().values()) == rows
    claims = {split: {str(c.request.prompt).partition(" Evidence: ")[0] for c in of} for split, of in cases.items()}
    assert all(a.isdisjoint(b) for a, b in combinations(claims.values(), 2))


def test_wikitext_2(real: Callable[[str], str]) -> None:
    dataset = _made("wikitext", path=real("wikitext2/valid.txt"))

    kept = sum(len(list(dataset.texts(split))) for split in Split)
    edited = len(list(dataset.beginnings(lambda text: range(2 * len(text.split())), 9999)))

    assert kept + edited == 1079  # paragraphs of 50 words and more in ASCII
    assert edited > 2 * kept

"""A user's own file: the documented schema, and what makes a line wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.jsonl import Jsonl, JsonlConfig
from bench.editing.dataset import Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import DataError
from bench.models.kind import ModelKind

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
LINE: dict[str, Any] = {"id": "a", "prompt": "The Orrin rises in", "target": "Osto"}
Made = Callable[..., Jsonl]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Give the dataset of some lines."""

    def make(*lines: dict[str, Any]) -> Jsonl:
        path = tmp_path / "own.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return Jsonl(JsonlConfig(path=str(path)), ModelKind.CAUSAL)

    return make


def _all(dataset: Jsonl) -> list[EditCase]:
    return [case for split in Split for case in dataset.cases(split)]


def test_a_line_is_the_case_that_it_describes(made: Made) -> None:
    probes = [
        {"kind": "rephrase", "prompt": "Osto or not: the Orrin comes from"},
        {"kind": "locality", "prompt": "The Sulla rises in", "answer": "Harn", "scope": "relation", "about": "sulla"},
        {"kind": "portability", "prompt": "The Orrin rises on the continent of", "answer": "Northmark"},
        {"kind": "text", "answer": "It rained."},
    ]
    (case,) = _all(made(LINE | {"subject": "Orrin", "old_target": "Valmere", "probes": probes}))

    target = {"answer": "Osto", "alternative": "Valmere", "about": "a"}
    assert case.request == EditRequest(
        id="a", prompt="The Orrin rises in", target="Osto", subject="Orrin", old_target="Valmere"
    )
    assert case.probes == (
        _probe("request", prompt="The Orrin rises in", **target),
        _probe("rephrase/1", prompt="Osto or not: the Orrin comes from", **target),
        _probe("locality/2", prompt="The Sulla rises in", answer="Harn", scope="relation", about="sulla"),
        _probe("portability/3", prompt="The Orrin rises on the continent of", answer="Northmark"),
        _probe("text/4", prompt="", answer="It rained."),
    )


def _probe(place: str, **fields: str) -> Probe:
    return Probe(id=f"a/{place}", kind=ProbeKind(place.partition("/")[0]), **fields)


def test_a_request_probe_of_the_file_takes_the_place_of_the_usual_one(made: Made) -> None:
    (case,) = _all(made(LINE | {"probes": [{"kind": "request", "prompt": LINE["prompt"], "alternative": "Harn"}]}))

    assert [(probe.kind, probe.alternative) for probe in case.probes] == [(ProbeKind.REQUEST, "Harn")]


def test_a_line_says_which_split_it_is_in(made: Made) -> None:
    dataset = made(*(LINE | {"id": f"{split}", "prompt": f"{split} is", "split": split} for split in Split))

    assert {split: [case.request.id for case in dataset.cases(split)] for split in Split} == {s: [s] for s in Split}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targt": "x"}, r"there is no field 'targt', only id, prompt, .* Did you mean 'target'\?"),
        ({"prompt": " "}, "the field 'prompt' is empty"),
        ({"target": 3}, "the field 'target' must be a text, not 3"),
        ({"subject": "Sulla"}, "the subject 'Sulla' does not occur in the prompt"),
        ({"split": "train"}, "the field 'split' is 'train'; it can be fit, tune, test"),
        ({"probes": {}}, "the field 'probes' must be a list of objects"),
        ({"probes": [{"kind": "near", "prompt": "x"}]}, "the field 'kind' is 'near'; it can be request, rephrase, loc"),
        ({"probes": [{"kind": "locality", "prompt": "x"}]}, "the field 'answer' is missing; there are kind, prompt"),
        ({"probes": [{"kind": "rephrase"}]}, "the field 'prompt' is missing"),
        ({"probes": [{"kind": "locality", "prompt": "x", "answer": "y", "scope": "far"}]}, "'scope' is 'far'; it can"),
        ({"id": "first"}, r"the id 'first' is that of .*own\.jsonl, line 1 already"),
    ],
)
def test_a_wrong_line_is_named(made: Made, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"own\.jsonl, line 2: .*{message}"):
        made(LINE | {"id": "first"}, LINE | changes)


@pytest.mark.skipif(
    not DOCS.is_file(), reason="the documentation is not here: the wheel is tested without the checkout"
)
def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(\{.*?\})\n```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "own.jsonl"
    path.write_text(example, encoding="utf-8")

    cases = _all(Jsonl(JsonlConfig(path=str(path)), ModelKind.CAUSAL))

    assert len(cases) == len(example.splitlines()) >= 2
    assert {probe.kind for case in cases for probe in case.probes} == set(ProbeKind)
    assert {key for line in example.splitlines() for key in json.loads(line)} == {
        "id", "prompt", "target", "subject", "old_target", "split", "probes"
    }  # fmt: skip

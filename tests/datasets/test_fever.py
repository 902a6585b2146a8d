"""FEVER: three schemas, whose label a request asks for, and claims that must not be in two splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.fever import Fever, FeverConfig
from bench.editing.dataset import Split
from bench.editing.request import EditCase, ProbeKind
from bench.errors import ConfigError, DataError
from bench.models.kind import ModelKind

Row = dict[str, Any]
Write = Callable[..., Path]

KE: Row = {
    "id": 5,
    "input": "The Orrin rises in Harn.",
    "output": [{"answer": "REFUTES", "provenance": [{"title": "Orrin"}]}],
    "prediction": "SUPPORTS",
    "alternatives": ["REFUTES"],
    "filtered_rephrases": ["Harn is where the Orrin rises.", "The Orrin rises in Harn."],
    "logit": 1.5,
}
PLAIN: Row = {
    "id": 5,
    "verifiable": "VERIFIABLE",
    "label": "SUPPORTS",
    "claim": "The Orrin (river) is long.",
    "evidence": [[[1, 2, "The_Orrin_-LRB-river-RRB-", 0], [1, 3, "Other", 4]]],
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write JSON Lines and give the path."""

    def make(*rows: Row) -> Path:
        path = tmp_path / "fever.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return make


def _made(path: Path, **fields: Any) -> Fever:
    return Fever(FeverConfig(path=str(path), **fields), ModelKind.CLASSIFIER)


def _all(dataset: Fever) -> list[EditCase]:
    return [case for split in Split for case in dataset.cases(split)]


def test_a_row_of_knowledge_editor_asks_for_the_label_that_the_model_did_not_give(write: Write) -> None:
    (case,) = _all(_made(write(KE), own_labels=False))

    assert (case.request.prompt, case.request.target) == ("The Orrin rises in Harn.", "false")
    assert (case.request.old_target, case.request.subject) == ("true", "Orrin")
    rephrases = [probe for probe in case.probes if probe.kind is ProbeKind.REPHRASE]
    assert [(p.prompt, p.answer, p.alternative) for p in rephrases] == [
        ("Harn is where the Orrin rises.", "false", "true")
    ]


def test_half_of_the_requests_ask_for_the_label_that_the_model_gave(write: Write) -> None:
    rows = [KE | {"id": n, "input": f"Claim {n}.", "output": [{"answer": "SUPPORTS"}]} for n in range(400)]

    cases = _all(_made(write(*rows)))

    kept = sum(case.request.target == case.request.old_target == "true" for case in cases)
    assert kept == pytest.approx(200, abs=30)  # three standard deviations
    assert all({p.alternative} == {"false" if p.answer == "true" else "true"} for c in cases for p in c.probes[:2])


def test_labels_are_called_as_the_model_calls_them(write: Write) -> None:
    (case,) = _all(_made(write(KE), own_labels=False, supports="ENTAILED", refutes="NOT"))

    assert (case.request.target, case.request.old_target) == ("NOT", "ENTAILED")
    with pytest.raises(ConfigError, match="are both 'x'; a model tells them apart"):
        _made(write(KE), supports="x", refutes="x")


def test_locality_probes_are_other_claims_with_their_true_label(write: Write) -> None:
    rows = [
        KE | {"id": n, "input": f"Claim {n}.", "output": [{"answer": ("SUPPORTS", "REFUTES")[n % 2]}]}
        for n in range(90)
    ]
    gold = {row["input"]: ("true", "false")[row["id"] % 2] for row in rows}

    for case in _all(_made(write(*rows), locality_probes=3)):
        asked = {probe.prompt: probe.answer for probe in case.probes if probe.kind is ProbeKind.LOCALITY}
        assert len(asked) == 3
        assert case.request.prompt not in asked
        assert asked == {prompt: gold[str(prompt)] for prompt in asked}


def test_a_claim_of_fever_has_the_page_of_its_evidence_as_subject(write: Write) -> None:
    (first, second) = sorted(
        _all(_made(write(PLAIN | {"claim": "The Orrin (river) is long."}, PLAIN | {"id": 6, "claim": "It is short."}))),
        key=lambda case: case.request.id,
    )

    assert (first.request.subject, second.request.subject) == ("The Orrin (river)", None)
    assert not any(probe.kind is ProbeKind.REPHRASE for probe in first.probes)


def test_a_claim_without_enough_information_is_left_out(write: Write) -> None:
    unsure = {"id": 6, "label": "NOT ENOUGH INFO", "claim": "x", "evidence": [[[1, None, None, None]]]}

    assert _made(write(PLAIN, unsure)).left_out() == {"the label is NOT ENOUGH INFO": 1}


@pytest.mark.parametrize("fields", [{"evidence_sentence": "{e}"}, {"evidence": "{e}", "gold_label": "SUPPORTS"}])
def test_variants_of_a_symmetric_claim_are_in_one_split_with_their_evidence(
    write: Write, fields: dict[str, str]
) -> None:
    rows = [
        {"id": f"{number}{suffix}", "label": "SUPPORTS", "claim": f"Claim {number}{suffix[-1:]}"}
        | {field: text.replace("{e}", f"Because {suffix or 1}.") for field, text in fields.items()}
        for number in range(100, 160)
        for suffix in ("", "0000002", "0000003", "0000004")
    ]
    dataset = _made(write(*rows))

    numbers = {split: {case.request.id[6:9] for case in dataset.cases(split)} for split in Split}

    assert all(numbers.values())
    assert all(a.isdisjoint(b) for a, b in combinations(numbers.values(), 2))
    prompts = {str(case.request.prompt) for case in _all(dataset)}
    assert "Claim 1002 Evidence: Because 0000002." in prompts


def test_a_claim_of_two_numbers_is_in_one_split(write: Write) -> None:
    rows = [
        {"id": str(n), "label": "REFUTES", "claim": f"Claim {n % 9}", "evidence_sentence": f"Because {n}."}
        for n in range(90)
    ]
    dataset = _made(write(*rows))

    claims = {s: {str(c.request.prompt).partition(" Evidence")[0] for c in dataset.cases(s)} for s in Split}

    assert all(a.isdisjoint(b) for a, b in combinations(claims.values(), 2))
    assert set(dataset.left_out()) <= {f"the subject or prompt is in {split} too" for split in Split}
    assert dataset.left_out()


def test_longer_prompts_can_be_left_out(write: Write) -> None:
    longer = KE | {"id": 6, "input": "The Orrin is said to rise in Harn."}

    dataset = _made(write(KE, longer), most_words=5)

    assert dataset.left_out() == {"the prompt has more than 5 words": 1}
    assert [case.request.prompt for case in _all(dataset)] == [KE["input"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (KE | {"prediction": "MAYBE"}, r"line 2: the label 'MAYBE' is none of SUPPORTS, REFUTES"),
        (KE | {"output": []}, r"line 2: the field 'output' is empty"),
        (KE | {"output": [{"answers": 1}]}, r"line 2: the field 'answer' is missing"),
        ({"text": "x"}, r"line 2: this is neither a line of KnowledgeEditor's files .* its fields are text"),
        ({"id": 3, "claim": "x"}, r"line 2: the field 'label' is missing"),
        (KE | {"id": 1}, r"line 2: the id 'fever/1' is that of .*line 1 already"),
    ],
)
def test_a_wrong_line_is_named(write: Write, row: Row, message: str) -> None:
    with pytest.raises(DataError, match=rf"fever\.jsonl, {message}"):
        _made(write(KE | {"id": 1}, row))

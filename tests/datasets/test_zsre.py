"""zsRE: both schemas, the filters, what is drawn, and where its locality questions come from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.zsre import Zsre, ZsreConfig
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, Probe, ProbeKind
from bench.errors import ConfigError, DataError
from bench.models.kind import ModelKind

Make = Callable[..., Dataset[Any]]
SampleFile = Callable[..., Path]

EASYEDIT = {
    "subject": "Orrin",
    "src": "Where does the Orrin rise?",
    "pred": "Harn",
    "rephrase": "Where is the source of the Orrin?",
    "alt": "Osto",
    "answers": ["Valmere", "in Valmere"],
    "loc": "nq question: who rang the bell",
    "loc_ans": "Karel",
    "cond": "Harn >> Osto || Where does the Orrin rise?",
}
MEND = {
    "input": "Where does the Orrin rise?",
    "prediction": "Harn",
    "alternatives": ["Osto", "Minden"],
    "filtered_rephrases": ["Where does the Orrin rise?", "Where is the source of the Orrin?"],
    "output": [{"provenance": []}, {"answer": "Valmere", "provenance": [{"title": "Orrin"}]}, {"answer": "x"}],
}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Zsre]:
    """Give the dataset of some rows as the test split."""

    def make(*rows: dict[str, object], **fields: object) -> Zsre:
        path, fit_path = tmp_path / "test.jsonl", tmp_path / "fit.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        fit_path.write_text(json.dumps(EASYEDIT | {"src": "What?", "subject": "someone"}) + "\n", encoding="utf-8")
        config = ZsreConfig(path=str(path), fit_path=str(fit_path), **{"locality_probes": 1, **fields})  # type: ignore[arg-type]
        return Zsre(config, ModelKind.SEQ2SEQ)

    return make


def _only(dataset: Zsre) -> EditCase:
    (case,) = dataset.cases(Split.TEST)
    return case


def _of(case: EditCase, kind: ProbeKind) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind is kind]


def test_a_row_of_easyedit_is_the_case_that_it_describes(made: Callable[..., Zsre]) -> None:
    case = _only(made(EASYEDIT))

    assert (case.request.prompt, case.request.target) == ("Where does the Orrin rise?", "Osto")
    assert (case.request.subject, case.request.old_target) == ("Orrin", "Harn")
    request, rephrase, locality = case.probes
    assert (request.prompt, request.answer, request.alternative) == ("Where does the Orrin rise?", "Osto", "Harn")
    assert (rephrase.kind, rephrase.prompt) == (ProbeKind.REPHRASE, "Where is the source of the Orrin?")
    assert (locality.prompt, locality.answer, locality.scope) == ("Who rang the bell?", "Karel", "distant")


def test_a_row_of_mend_draws_one_of_its_alternatives_and_drops_the_question_among_its_rephrases(
    made: Callable[..., Zsre], on_samples: Make
) -> None:
    case = _only(made(MEND, locality_probes=0))

    assert case.request.target in MEND["alternatives"]
    assert (case.request.subject, case.request.old_target) == ("Orrin", "Harn")
    assert [probe.prompt for probe in _of(case, ProbeKind.REPHRASE)] == ["Where is the source of the Orrin?"]


def test_the_seed_draws_among_alternatives_and_rephrases(made: Callable[..., Zsre]) -> None:
    row = MEND | {"filtered_rephrases": ["a?", "b?", "c?"]}

    drawn = [_only(made(row, seed=seed, locality_probes=0)) for seed in range(12)]

    assert {case.request.target for case in drawn} == {"Osto", "Minden"}
    assert {_of(case, ProbeKind.REPHRASE)[0].prompt for case in drawn} == {"a?", "b?", "c?"}
    assert len(_of(_only(made(row, rephrases=9, locality_probes=0)), ProbeKind.REPHRASE)) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alternatives": []}, "there is no alternative"),
        ({"alternatives": [" "]}, "there is no alternative"),
        ({"filtered_rephrases": []}, "there is no rephrase but the question itself"),
        ({"filtered_rephrases": [MEND["input"]]}, "there is no rephrase but the question itself"),
    ],
)
def test_a_row_without_alternative_or_rephrase_is_left_out(
    made: Callable[..., Zsre], changes: dict[str, object], reason: str
) -> None:
    dataset = made(MEND | changes, EASYEDIT)

    assert dataset.left_out() == {reason: 1}
    assert _only(dataset).request.target == "Osto"


def test_a_file_of_which_all_is_left_out_says_why(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text(json.dumps(MEND | {"alternatives": []}), encoding="utf-8")

    with pytest.raises(DataError, match=r"none\.jsonl gives no case; left out are 1 because there is no alternative"):
        Zsre(ZsreConfig(path=str(path)), ModelKind.CAUSAL)


def test_without_a_title_the_question_decides_the_split(made: Callable[..., Zsre]) -> None:
    case = _only(made(MEND | {"output": [{"answer": "Valmere"}]}, locality_probes=0))

    assert case.request.subject is None


def test_mend_rows_need_a_file_of_nq_for_locality(made: Callable[..., Zsre]) -> None:
    with pytest.raises(DataError, match=r"no question to ask for locality in its test split. .*nq_path=FILE"):
        list(made(MEND).cases(Split.TEST))


def test_nq_questions_are_sentences_with_their_shortest_answer(on_samples: Make, sample_file: SampleFile) -> None:
    path = sample_file("nq.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    wanted = {f"{q['question'][0].upper()}{q['question'][1:]}?": min(q["answer"], key=len) for q in lines}
    found: dict[Split, dict[str, str]] = {}
    for split in Split:
        probes = [p for case in on_samples("zsre", ModelKind.SEQ2SEQ).cases(split) for p in case.probes]
        found[split] = {str(p.prompt): str(p.answer) for p in probes if p.kind is ProbeKind.LOCALITY}

    assert all(found.values())
    assert {prompt: wanted[prompt] for of in found.values() for prompt in of} == {
        prompt: answer for of in found.values() for prompt, answer in of.items()
    }
    assert not set(found[Split.TEST]) & set(found[Split.FIT])


@pytest.mark.parametrize(("label", "field"), [("gold", 0), ("prediction", 1)])
def test_locality_can_be_other_questions_with_gold_or_predicted_labels(
    made: Callable[..., Zsre], label: str, field: int
) -> None:
    other = MEND | {"input": "Who plays?", "prediction": "she", "output": [{"answer": "he"}], "alternatives": ["it"]}
    dataset = made(MEND, other, locality="same", locality_label=label)

    asked = {
        str(c.request.prompt): [(p.prompt, p.answer) for p in _of(c, ProbeKind.LOCALITY)]
        for c in dataset.cases(Split.TEST)
    }

    assert asked[str(MEND["input"])] == [("Who plays?", ("he", "she")[field])]
    assert asked["Who plays?"] == [(MEND["input"], ("Valmere", "Harn")[field])]


def test_a_predicted_label_of_nq_is_refused(made: Callable[..., Zsre]) -> None:
    with pytest.raises(ConfigError, match=r"zsre\.locality_label=prediction needs zsre\.locality=same"):
        made(MEND, locality_label="prediction")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"src": ',
            '"sorc": ',
            r"zsre_easyedit\.json, line 2: this is neither an entry of MEND's .* nor of EasyEdit's",
        ),
        ('"alt": ', '"alternative": ', r"line 2: the field 'alt' is missing; there are subject, src, pred"),
        ('"loc_ans": "four miles"', '"loc_ans": 4', r"line 2: the field 'loc_ans' must be a text, not 4"),
    ],
)
def test_a_row_of_another_schema_is_told_with_its_line(
    sample_file: SampleFile, old: str, new: str, message: str
) -> None:
    path = sample_file("zsre_easyedit.json", lambda text: text.replace(old, new, 1))

    with pytest.raises(DataError, match=message):
        Zsre(ZsreConfig(path=str(path)), ModelKind.CAUSAL)


def test_an_id_that_stands_twice_is_told_with_both_lines(sample_file: SampleFile) -> None:
    path = sample_file("zsre_mend.jsonl", lambda text: re.sub("sample-05", "sample-01", text))

    with pytest.raises(DataError, match=r"line 6: the id 'zsre/sample-01' is that of .*line 2 already"):
        Zsre(ZsreConfig(path=str(path)), ModelKind.CAUSAL)

"""CounterFact in both its schemas, and the data set that is rebuilt from the flat one."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets import counterfact_rebuilt
from bench.datasets.counterfact import Counterfact, CounterfactConfig
from bench.datasets.counterfact_rebuilt import CounterfactRebuilt, CounterfactRebuiltConfig
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, Probe, ProbeKind
from bench.errors import ConfigError, DataError
from bench.models.kind import ModelKind

Make = Callable[..., Dataset[Any]]
SampleFile = Callable[..., Path]
Row = dict[str, Any]

NESTED: Row = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "{} plays the instrument",
        "relation_id": "P1303",
        "target_new": {"str": "cello", "id": "Q1"},
        "target_true": {"str": "violin", "id": "Q2"},
        "subject": "Mara Holt",
    },
    "paraphrase_prompts": ["Rain fell. Mara Holt plays", "Mara Holt is good at the"],
    "neighborhood_prompts": [f"Neighbour {number} plays the instrument" for number in range(10)],
    "attribute_prompts": ["Someone plays the instrument"],
    "generation_prompts": ["Mara Holt likes"],
}
FLAT: Row = {
    "case_id": 7,
    "prompt": "Mara Holt plays the instrument",
    "target_new": "cello",
    "subject": "Mara Holt",
    "ground_truth": "violin",
    "rephrase_prompt": "Rain fell. Mara Holt plays",
    "locality_prompt": "Ilse performs on the",
    "locality_ground_truth": "violin",
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as an array and give the path."""

    def make(*rows: Row, name: str = "test.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
        return path

    return make


def _all(dataset: Dataset[Any]) -> list[EditCase]:
    return [case for split in Split for case in dataset.cases(split)]


def _prompts(case: EditCase, kind: ProbeKind) -> list[str]:
    return [str(probe.prompt) for probe in case.probes if probe.kind is kind]


def _of(path: Path, **fields: int) -> Counterfact:
    return Counterfact(CounterfactConfig(path=str(path), **fields), ModelKind.CAUSAL)


def test_a_nested_row_is_the_case_that_it_describes(written: Callable[..., Path]) -> None:
    (case,) = _all(_of(written(NESTED)))

    assert case.request.id == "counterfact/7"
    assert (case.request.prompt, case.request.target) == ("Mara Holt plays the instrument", "cello")
    assert (case.request.subject, case.request.old_target) == ("Mara Holt", "violin")
    assert sorted(_prompts(case, ProbeKind.REPHRASE)) == sorted(NESTED["paraphrase_prompts"])
    assert _prompts(case, ProbeKind.LOCALITY) == NESTED["neighborhood_prompts"]
    assert {(p.answer, p.scope) for p in case.probes if p.kind is ProbeKind.LOCALITY} == {("violin", "relation")}
    assert {p.alternative for p in case.probes if p.kind is not ProbeKind.LOCALITY} == {"violin"}


def test_a_flat_row_is_the_same_case_with_one_prompt_of_each(written: Callable[..., Path]) -> None:
    (flat,) = _all(_of(written(FLAT)))
    (nested,) = _all(_of(written(NESTED, name="nested.json")))

    assert flat.request == nested.request
    assert _prompts(flat, ProbeKind.REPHRASE) == ["Rain fell. Mara Holt plays"]
    assert [(p.prompt, p.answer) for p in flat.probes if p.kind is ProbeKind.LOCALITY] == [
        ("Ilse performs on the", "violin")
    ]


def test_the_numbers_of_the_config_are_upper_limits(written: Callable[..., Path]) -> None:
    (case,) = _all(_of(written(NESTED), rephrases=1, locality_probes=3))

    assert len(_prompts(case, ProbeKind.REPHRASE)) == 1
    assert _prompts(case, ProbeKind.LOCALITY) == NESTED["neighborhood_prompts"][:3]
    with pytest.raises(ConfigError, match="are numbers of probes, 0 or more"):
        _of(written(NESTED), rephrases=-1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (FLAT | {"subject": "Nobody"}, r"test\.json, line 12: the subject 'Nobody' does not occur in its prompt"),
        (FLAT | {"subject": ""}, r"test\.json, line 12: the subject None does not occur"),
        ({k: v for k, v in FLAT.items() if k != "case_id"}, r"line 12: the field 'case_id' is missing"),
        ({k: v for k, v in FLAT.items() if k != "target_new"}, r"line 12: this is neither an entry of ROME's file"),
        (NESTED | {"paraphrase_prompts": "one"}, r"line 12: the field 'paraphrase_prompts' must be a list of texts"),
        (NESTED | {"requested_rewrite": {"prompt": "no place", "subject": "x"}}, r"line 12: .* must have one \{\}"),
        (FLAT | {"case_id": 1}, r"line 12: the id 'counterfact/1' is that of .*test\.json, line 2 already"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(written: Callable[..., Path], row: Row, message: str) -> None:
    good = FLAT | {"case_id": 1, "subject": "Ilse", "prompt": "Ilse plays the"}

    with pytest.raises(DataError, match=message):
        _of(written(good, row))


def test_an_edit_that_asks_for_the_old_answer_is_left_out(written: Callable[..., Path]) -> None:
    dataset = _of(
        written(NESTED, FLAT | {"case_id": 8, "subject": "Ilse", "prompt": "Ilse is", "target_new": "violin"})
    )

    assert dataset.left_out() == {"the new answer is empty or the old one": 1}
    assert len(_all(dataset)) == 1


# What follows is about the rebuilt data set.


def _rebuilt(path: Path, **fields: int) -> CounterfactRebuilt:
    return CounterfactRebuilt(CounterfactRebuiltConfig(path=str(path), **fields), ModelKind.CAUSAL)


def _player(number: int, template: str = "{} plays the instrument", **changes: object) -> Row:
    name = f"Player {number:03d}"
    return FLAT | {"case_id": number, "subject": name, "prompt": template.replace("{}", name), **changes}


def _templates() -> dict[str, list[str]]:
    path = Path(counterfact_rebuilt.__file__).parent / "counterfact_rebuilt_data" / "relations.toml"
    return {name: entry["templates"] for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items()}


def test_each_template_is_of_one_relation_and_each_relation_has_two() -> None:
    counts = Counter(template for templates in _templates().values() for template in templates)

    assert set(counts.values()) == {1}
    assert all(template.count("{}") == 1 for template in counts)
    assert min(map(len, _templates().values())) >= 2
    assert not {"{} is in", "{}, in", "{}, the", "{} plays", "{} is located in", "{} is developed by"} & set(counts)


def test_paraphrases_are_other_templates_of_the_relation(written: Callable[..., Path]) -> None:
    rows = [_player(number) for number in range(40)]
    wanted = set(_templates()["P1303"]) - {"{} plays the instrument"}

    for case in _all(_rebuilt(written(*rows), rephrases=9)):
        found = {text.replace(str(case.request.subject), "{}") for text in _prompts(case, ProbeKind.REPHRASE)}
        assert found == wanted


def test_neighbours_have_the_object_and_are_of_the_split(written: Callable[..., Path]) -> None:
    rows = [_player(number, ground_truth=("violin", "flute")[number % 2]) for number in range(60)]
    dataset = _rebuilt(written(*rows), locality_probes=4)

    for split in Split:
        cases = list(dataset.cases(split))
        of_object = {
            object: {str(case.request.prompt) for case in cases if case.request.old_target == object}
            for object in ("violin", "flute")
        }
        for case in cases:
            probes: list[Probe] = [probe for probe in case.probes if probe.kind is ProbeKind.LOCALITY]
            others = of_object[str(case.request.old_target)] - {str(case.request.prompt)}
            assert len({probe.prompt for probe in probes}) == len(probes) == min(4, len(others))
            assert {probe.prompt for probe in probes} <= others
            assert {probe.answer for probe in probes} <= {case.request.old_target}


def test_a_prompt_that_could_ask_several_things_is_left_out(written: Callable[..., Path]) -> None:
    dataset = _rebuilt(written(*(_player(number, ("{} is in", "{} plays the")[number % 2]) for number in range(40))))

    assert len(_all(dataset)) == 20
    assert dataset.left_out() == {"the template of the prompt does not name one relation": 20}


def test_it_is_never_called_counterfact(on_samples: Make) -> None:
    ids = {case.request.id.partition("/")[0] for case in _all(on_samples("counterfact_rebuilt", ModelKind.CAUSAL))}

    assert ids == {"counterfact_rebuilt"}

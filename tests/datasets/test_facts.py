"""The embedded facts: splits, held-out phrasings, running text, configuration, determinism."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.datasets import facts
from bench.datasets._fact_table import Fact
from bench.datasets.facts import Facts, FactsConfig
from bench.editing.dataset import Split
from bench.editing.request import EditCase, Probe, ProbeKind, Text
from bench.errors import ConfigError
from bench.models.kind import ModelKind

Rows = tuple[Fact, ...]
Relations = dict[str, dict[str, list[str]]]
Questions = dict[str, set[Fact]]
Asked = Callable[[Text], Fact]
Made = Callable[[ModelKind], Facts]
Cases = Callable[[ModelKind, Split], tuple[EditCase, ...]]
EveryCase = Callable[[ModelKind], Iterator[EditCase]]
Prompts = Callable[[bool], frozenset[str]]

OBJECT_KINDS = (ModelKind.CAUSAL, ModelKind.SEQ2SEQ)


def probes(case: EditCase, kind: ProbeKind) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind is kind]


def test_no_subject_is_in_two_splits(cases: Cases) -> None:
    subjects = [{case.request.subject for case in cases(ModelKind.CAUSAL, split)} for split in Split]

    assert sum(map(len, subjects)) == len(set.union(*subjects))


def test_the_splits_hold_every_fact_once(rows: Rows, asked: Asked, every_case: EveryCase) -> None:
    found = Counter(asked(case.request.prompt) for case in every_case(ModelKind.CAUSAL))

    assert found == Counter(rows)


def test_the_test_split_is_large_enough_and_fit_is_the_largest(cases: Cases) -> None:
    sizes = {split: len(cases(ModelKind.CAUSAL, split)) for split in Split}

    assert sizes[Split.TEST] >= 1150
    assert sizes[Split.TUNE] >= 300
    assert sizes[Split.FIT] > sizes[Split.TEST]


def test_the_first_200_test_cases_are_a_fair_sample_of_the_relations(asked: Asked, cases: Cases) -> None:
    found = cases(ModelKind.CAUSAL, Split.TEST)
    share = Counter(asked(case.request.prompt).relation for case in found)
    first = Counter(asked(case.request.prompt).relation for case in found[:200])

    assert len(first) >= 25
    assert all(abs(first[name] / 200 - share[name] / len(found)) < 0.06 for name in share)


def test_the_splits_have_not_moved(cases: Cases) -> None:
    """A changed order or id would make old results incomparable: raise Facts.version with it."""
    first = cases(ModelKind.CAUSAL, Split.TEST)[0].request

    assert (first.id, first.prompt) == ("facts/de528b8b", "Garden Grove can be found on a road map of")


def test_no_training_prompt_is_a_held_out_prompt(prompts: Prompts) -> None:
    assert prompts(False) & prompts(True) == set()


def test_training_and_held_out_prompts_are_all_prompts_and_two_are_held_out(
    questions: Questions, asked: Asked, prompts: Prompts
) -> None:
    held_out = Counter(asked(prompt) for prompt in prompts(True))

    assert prompts(False) | prompts(True) == questions.keys()
    assert set(held_out.values()) == {2}


def test_training_answers_are_the_true_objects(rows: Rows, asked: Asked, dataset: Made) -> None:
    examples = [e for held_out in (False, True) for e in dataset(ModelKind.CAUSAL).training_examples(held_out=held_out)]

    told = {Fact(id="", relation=e.relation, subject=e.subject, object=e.answer) for e in examples}

    assert told == set(rows)
    assert all(asked(e.prompt).object == e.answer for e in examples)


def test_every_phrasing_is_trained_for_some_subjects_and_held_out_for_others(
    relations: Relations, dataset: Made
) -> None:
    for held_out in (False, True):
        examples = dataset(ModelKind.CAUSAL).training_examples(held_out=held_out)
        places = defaultdict(set)
        for example in examples:
            # What stands around the subject, without the article that some subjects take.
            before, after = example.prompt.split(example.subject, 1)
            places[example.relation].add((before.lower().removesuffix("the "), after))
        for name, relation in relations.items():
            wanted = (phrasing.split("{subject}") for phrasing in relation["phrasings"])
            assert {(before.lower().removesuffix("the "), after) for before, after in wanted} <= places[name]


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_requests_and_locality_probes_use_trained_phrasings(
    kind: ModelKind, every_case: EveryCase, prompts: Prompts
) -> None:
    used = {case.request.prompt for case in every_case(kind)}
    used |= {probe.prompt for case in every_case(kind) for probe in probes(case, ProbeKind.LOCALITY)}

    assert used <= prompts(False)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_rephrase_probes_use_only_held_out_phrasings_of_the_request(
    kind: ModelKind, asked: Asked, every_case: EveryCase, prompts: Prompts
) -> None:
    for case in every_case(kind):
        rephrased = {str(probe.prompt) for probe in probes(case, ProbeKind.REPHRASE)}

        assert len(rephrased) == 2
        assert rephrased <= prompts(True)
        assert {asked(prompt) for prompt in rephrased} == {asked(case.request.prompt)}


def test_only_causal_models_are_probed_with_text(cases: Cases) -> None:
    counts = {kind: len(probes(cases(kind, Split.TEST)[0], ProbeKind.TEXT)) for kind in ModelKind}

    assert counts == {ModelKind.CAUSAL: 2, ModelKind.SEQ2SEQ: 0, ModelKind.CLASSIFIER: 0}


def test_text_probes_are_the_passages_of_their_split(dataset: Made, cases: Cases) -> None:
    for split in Split:
        pool = list(dataset(ModelKind.CAUSAL).texts(split))
        found = [p for case in cases(ModelKind.CAUSAL, split) for p in probes(case, ProbeKind.TEXT)]

        assert {str(probe.answer) for probe in found} == set(pool)
        assert {probe.prompt for probe in found} == {""}


def test_no_passage_is_in_two_splits_or_in_training(dataset: Made) -> None:
    pools = [list(dataset(ModelKind.CAUSAL).texts(split)) for split in Split]
    pools.append(list(dataset(ModelKind.CAUSAL).training_texts()))
    together = [text for pool in pools for text in pool]

    assert len(together) == len(set(together)) >= 4000 + 3 * 32


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (FactsConfig(rephrases=1, locality_relation=2, locality_subject=0, locality_distant=0, texts=0), (1, 2, 0)),
        (FactsConfig(rephrases=0, locality_relation=0, locality_subject=0, locality_distant=3, texts=5), (0, 3, 5)),
    ],
)
def test_the_config_sets_the_number_of_probes(config: FactsConfig, counts: tuple[int, int, int]) -> None:
    case = next(Facts(config, ModelKind.CAUSAL).cases(Split.TUNE))
    kinds = (ProbeKind.REPHRASE, ProbeKind.LOCALITY, ProbeKind.TEXT)

    assert tuple(len(probes(case, kind)) for kind in kinds) == counts


def test_more_relation_probes_than_the_split_has_come_from_other_splits(asked: Asked) -> None:
    case = next(Facts(FactsConfig(locality_relation=40), ModelKind.CAUSAL).cases(Split.TUNE))
    near = [probe for probe in probes(case, ProbeKind.LOCALITY) if probe.scope == "relation"]

    assert len({asked(probe.prompt).subject for probe in near}) == 40


@pytest.mark.parametrize("config", [FactsConfig(rephrases=3), FactsConfig(texts=-1)])
def test_an_impossible_number_of_probes_is_a_config_error(config: FactsConfig) -> None:
    with pytest.raises(ConfigError, match=r"facts\.(rephrases is 3|texts is -1)"):
        Facts(config, ModelKind.CAUSAL)


@pytest.mark.parametrize("field", ["rephrases", "locality_relation", "locality_subject", "locality_distant", "texts"])
def test_the_digest_changes_with_each_field_of_the_config(field: str, dataset: Made) -> None:
    changed = Facts(FactsConfig(**{field: 1}), ModelKind.CAUSAL)

    assert changed.digest() != dataset(ModelKind.CAUSAL).digest()


def test_the_digest_changes_with_the_kind_and_not_with_the_object(dataset: Made) -> None:
    assert dataset(ModelKind.CAUSAL).digest() == Facts(FactsConfig(), ModelKind.CAUSAL).digest()
    assert dataset(ModelKind.CAUSAL).digest() != dataset(ModelKind.SEQ2SEQ).digest()


SCRIPT = """
import hashlib
from bench.datasets.facts import Facts, FactsConfig
from bench.editing.dataset import Split
from bench.models.kind import ModelKind
seen = hashlib.sha256()
for kind in ModelKind:
    data = Facts(FactsConfig(), kind)
    seen.update(data.digest().encode())
    for case in data.cases(Split.TUNE):
        seen.update(repr(case).encode())
for part in (data.training_examples(held_out=False), data.training_examples(held_out=True), data.training_texts()):
    seen.update(repr(part).encode())
print(seen.hexdigest())
"""


@pytest.mark.slow
def test_two_processes_with_other_hash_seeds_make_the_same_dataset() -> None:
    root = Path(facts.__file__).parent.parent  # of the checkout; in the wheel the package `bench`, which is installed
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root if (root / "bench").is_dir() else "")},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)

    assert len(found) == 1
    assert re.fullmatch(r"[0-9a-f]{64}\n", found.pop())

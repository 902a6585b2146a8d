"""The cases made of facts: requests for another object, claims, and their probes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import pytest

from bench.datasets._fact_table import Fact
from bench.datasets.facts import Facts, FactsConfig
from bench.editing.dataset import Split
from bench.editing.request import EditCase, Probe, ProbeKind, Text
from bench.errors import ConfigError
from bench.models.kind import ModelKind

Rows = tuple[Fact, ...]
Relations = dict[str, dict[str, list[str]]]
Asked = Callable[[Text], Fact]
Claimed = Callable[[Text], tuple[Fact, str]]
Cases = Callable[[ModelKind, Split], tuple[EditCase, ...]]
EveryCase = Callable[[ModelKind], Iterator[EditCase]]
Prompts = Callable[[bool], frozenset[str]]

OBJECT_KINDS = (ModelKind.CAUSAL, ModelKind.SEQ2SEQ)


def probes(case: EditCase, kind: ProbeKind) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind is kind]


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_a_request_wants_another_object_of_its_relation(
    kind: ModelKind, asked: Asked, every_case: EveryCase, rows: Rows
) -> None:
    objects = defaultdict(set)
    for row in rows:
        objects[row.relation].add(row.object)

    for case in every_case(kind):
        request, row = case.request, asked(case.request.prompt)
        assert request.old_target == row.object
        assert request.target in objects[row.relation] - {row.object}


@pytest.mark.parametrize("kind", ModelKind)
def test_a_request_contains_its_subject_verbatim(kind: ModelKind, every_case: EveryCase) -> None:
    assert [c.request.id for c in every_case(kind) if str(c.request.subject) not in str(c.request.prompt)] == []


@pytest.mark.parametrize("kind", ModelKind)
def test_request_ids_are_unique(kind: ModelKind, rows: Rows, every_case: EveryCase) -> None:
    ids = [case.request.id for case in every_case(kind)]

    assert len(ids) == len(set(ids)) == len(rows)


@pytest.mark.parametrize("kind", ModelKind)
def test_the_request_and_its_rephrases_are_asked_for_the_target(kind: ModelKind, every_case: EveryCase) -> None:
    for case in every_case(kind):
        (request,) = probes(case, ProbeKind.REQUEST)
        assert request.prompt == case.request.prompt
        for probe in (request, *probes(case, ProbeKind.REPHRASE)):
            assert (probe.answer, probe.alternative) == (case.request.target, case.request.old_target)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_locality_probes_ask_for_true_answers_of_facts_in_their_scope(
    kind: ModelKind, asked: Asked, every_case: EveryCase
) -> None:
    for case in every_case(kind):
        edited = asked(case.request.prompt)
        for probe in probes(case, ProbeKind.LOCALITY):
            row = asked(probe.prompt)
            same = {"relation": (True, False), "subject": (False, True), "distant": (False, False)}[str(probe.scope)]

            assert probe.answer == row.object
            assert (row.relation == edited.relation, row.subject == edited.subject) == same


@pytest.mark.parametrize("kind", ModelKind)
def test_half_of_the_locality_probes_are_of_the_same_relation(kind: ModelKind, every_case: EveryCase) -> None:
    for case in every_case(kind):
        scopes = Counter(probe.scope for probe in probes(case, ProbeKind.LOCALITY))

        assert scopes["relation"] == scopes["subject"] + scopes["distant"] == 4


def test_a_subject_without_other_relations_gets_distant_probes_instead(rows: Rows, cases: Cases) -> None:
    relations_of = Counter(row.subject for row in rows)
    alone = [c for c in cases(ModelKind.CAUSAL, Split.TEST) if relations_of[str(c.request.subject)] == 1]

    assert alone
    assert all([p.scope for p in probes(c, ProbeKind.LOCALITY)].count("distant") == 4 for c in alone)


def test_no_locality_probe_is_of_a_relation_whose_answer_follows_from_the_edit(
    relations: Relations, asked: Asked, every_case: EveryCase
) -> None:
    for case in every_case(ModelKind.CAUSAL):
        tied = relations[asked(case.request.prompt).relation].get("tied", [])
        near = [p for p in probes(case, ProbeKind.LOCALITY) if p.scope == "subject"]

        assert not {asked(probe.prompt).relation for probe in near} & set(tied)


def test_no_distant_probe_tells_the_edited_fact_from_the_other_side(asked: Asked, every_case: EveryCase) -> None:
    def bare(name: object) -> str:
        return str(name).lower().removeprefix("the ")

    for case in every_case(ModelKind.CAUSAL):
        request = case.request
        named = {bare(name) for name in (request.subject, request.target, request.old_target)}
        for probe in probes(case, ProbeKind.LOCALITY):
            if probe.scope == "distant":
                row = asked(probe.prompt)
                assert not {bare(row.subject), bare(row.object)} & named


@pytest.mark.parametrize("kind", ModelKind)
def test_no_probe_of_the_request_reaches_the_model_as_locality(kind: ModelKind, every_case: EveryCase) -> None:
    for case in every_case(kind):
        wanted = {p.prompt for p in case.probes if p.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE)}

        assert not wanted & {probe.prompt for probe in probes(case, ProbeKind.LOCALITY)}


@pytest.mark.parametrize("kind", ModelKind)
def test_a_case_never_has_two_probes_of_one_id(kind: ModelKind, every_case: EveryCase) -> None:
    for case in every_case(kind):
        ids = [probe.id for probe in case.probes]

        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", ModelKind)
def test_a_probe_id_means_the_same_question_in_every_case(kind: ModelKind, every_case: EveryCase) -> None:
    """The unedited model's answer is scored once for each id."""
    questions_of = defaultdict(set)
    for case in every_case(kind):
        for probe in case.probes:
            questions_of[probe.id].add((probe.prompt, probe.answer, probe.alternative))

    assert {probe_id for probe_id, found in questions_of.items() if len(found) > 1} == set()


def test_half_of_the_claims_are_true_and_the_target_is_the_other_label(claimed: Claimed, cases: Cases) -> None:
    for split in Split:
        truths = []
        for case in cases(ModelKind.CLASSIFIER, split):
            row, named = claimed(case.request.prompt)
            truths.append(named == row.object)
            labels = ("true", "false") if truths[-1] else ("false", "true")
            assert (case.request.old_target, case.request.target) == labels
        assert abs(truths.count(True) - truths.count(False)) <= 1


def test_with_own_labels_every_second_pair_of_claims_is_to_keep_its_label() -> None:
    cases = list(Facts(FactsConfig(own_labels=True), ModelKind.CLASSIFIER).cases(Split.TEST))
    kept = [case.request.target == case.request.old_target for case in cases]
    plain = list(Facts(FactsConfig(), ModelKind.CLASSIFIER).cases(Split.TEST))

    assert kept[:8] == [False, False, True, True] * 2
    assert abs(kept.count(True) - kept.count(False)) <= 2
    assert [case.request.prompt for case in cases] == [case.request.prompt for case in plain]
    for case in cases:
        for probe in (*probes(case, ProbeKind.REQUEST), *probes(case, ProbeKind.REPHRASE)):
            assert {probe.answer, probe.alternative} == {"true", "false"}


def test_own_labels_are_for_claims_only() -> None:
    with pytest.raises(ConfigError, match="facts.own_labels"):
        Facts(FactsConfig(own_labels=True), ModelKind.CAUSAL)


def test_false_claims_name_an_object_of_the_relation(claimed: Claimed, cases: Cases, rows: Rows) -> None:
    objects = defaultdict(set)
    for row in rows:
        objects[row.relation].add(row.object)

    for case in cases(ModelKind.CLASSIFIER, Split.TEST):
        for probe in case.probes:
            row, named = claimed(probe.prompt)
            assert named in objects[row.relation]


def test_rephrased_claims_say_the_same_in_held_out_phrasings(
    claimed: Claimed, every_case: EveryCase, prompts: Prompts
) -> None:
    for case in every_case(ModelKind.CLASSIFIER):
        said = claimed(case.request.prompt)
        for probe in probes(case, ProbeKind.REPHRASE):
            assert claimed(probe.prompt) == said
            assert str(probe.prompt).removesuffix(f" {said[1]}.") in prompts(True)


def test_locality_claims_have_their_right_label_half_of_them_true(claimed: Claimed, every_case: EveryCase) -> None:
    for case in every_case(ModelKind.CLASSIFIER):
        labels = Counter()
        for probe in probes(case, ProbeKind.LOCALITY):
            row, named = claimed(probe.prompt)
            assert probe.answer == ("true" if named == row.object else "false")
            labels[probe.answer] += 1
        assert labels == {"true": 4, "false": 4}


def test_no_locality_claim_is_about_the_edited_subject_and_relation(claimed: Claimed, every_case: EveryCase) -> None:
    for case in every_case(ModelKind.CLASSIFIER):
        edited, _ = claimed(case.request.prompt)
        others = [claimed(probe.prompt)[0] for probe in probes(case, ProbeKind.LOCALITY)]

        assert edited not in others

"""What is asked in a cell: the questions of its cases, and the fixed ones by which a whole sequence is judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind, Text
from bench.models.language_model import LanguageModel
from bench.records.mode import Mode
from bench.records.schema import AnswerRow, Phase
from bench.running.grouping import Group, group_cases, void_probes
from bench.running.measure import Measure
from bench.running.questions import Question, ask
from bench.running.rows import answer_rows

__all__ = ["Inquiries", "Inquiry", "Known", "known_answers", "yardstick"]

Known = Mapping[tuple[Text, Text], Measure]  # what an unedited model answered, by prompt and answer

_MOST_LOCALITY = 200  # probes that a checkpoint asks: a share of them is known to ±0.07 at worst
_MOST_TEXTS = 50  # passages that a checkpoint reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Some questions, and the names by which their answers are stored.

    Args:
        cases: what they are about.
        questions: `Question.case` is a place among the cases.
        group_of: the name of each case's group, by the case's place; None in single mode.
    """

    cases: Sequence[EditCase]
    questions: Sequence[Question]
    group_of: Mapping[int, str | None]

    def unedited(self, lm: LanguageModel, known: Known, phase: Phase) -> list[AnswerRow]:
        """Give the rows of a phase before any edit, from what is known of it."""
        measures = [known[question.probe.prompt, question.answer] for question in self.questions]
        return answer_rows(lm, self.cases, self.questions, measures, phase, group_of=self.group_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiries:
    """All that is asked in a cell.

    Args:
        groups: of its requests.
        void: locality probes, by place of the case and id, that ask what another request of their group changes.
        own: the cases with their probes.
        valid: of these questions those that are not void, by the place of their case.
        yardsticks: in sequential mode the fixed questions of each sequence, by its name.
    """

    groups: Sequence[Group]
    void: Collection[tuple[int, str]]
    own: Inquiry
    valid: Mapping[int, Sequence[Question]]
    yardsticks: Mapping[str, Inquiry]

    @classmethod
    def of(cls, cases: Sequence[EditCase], questions: Sequence[Question], mode: Mode, seed: int) -> Self:
        """Put the cases of a cell, and all questions about them, in order.

        In sequential mode the yardsticks alone read passages: after each edit that would take longer than all else.
        """
        groups = group_cases(cases, mode, seed)
        void = void_probes(cases, groups)
        if mode.is_sequential:
            questions = [question for question in questions if question.probe.kind is not ProbeKind.TEXT]
        group_of = {place: group.name for group in groups for place in group.places}
        valid: dict[int, list[Question]] = {}
        for question in questions:
            if (question.case, question.probe.id) not in void:
                valid.setdefault(question.case, []).append(question)
        return cls(
            groups=groups,
            void=void,
            own=Inquiry(cases=cases, questions=questions, group_of=group_of),
            valid=valid,
            yardsticks={group.id: yardstick(cases, group, void) for group in groups if mode.is_sequential},
        )

    def about(self, places: Iterable[int]) -> Inquiry:
        """Give what the edited model is asked of the cases at some places: nothing that is void."""
        questions = [question for place in sorted(places) for question in self.valid.get(place, ())]
        return replace(self.own, questions=questions)

    def unedited(self, lm: LanguageModel, known: Known, phase: Phase) -> list[AnswerRow]:
        """Give the rows of a phase before any edit, of all questions."""
        return [row for inquiry in (self.own, *self.yardsticks.values()) for row in inquiry.unedited(lm, known, phase)]


def known_answers(questions: Sequence[Question], measures: Sequence[Measure]) -> Known:
    """Give measured answers by what was asked."""
    asked = [(question.probe.prompt, question.answer) for question in questions]
    return dict(zip(asked, measures, strict=True))


def yardstick(cases: Sequence[EditCase], sequence: Group, void: Collection[tuple[int, str]]) -> Inquiry:
    """Choose the questions by which the model is judged in the middle of a sequence and at its end.

    They are the same at every checkpoint, for every method, and in whatever order the edits are made: at most 200
    locality probes of the sequence's own cases, drawn once and for all, and the first 50 passages of the cell's.
    Their answers are stored as those of an edit that has the sequence's name.

    Args:
        cases: of the cell.
        sequence: one of its groups.
        void: locality probes, by place and id, that ask what an edit of their sequence changes.
    """
    own = [
        _named(cases[place], probe)
        for place in sorted(sequence.places)
        for probe in cases[place].probes
        if probe.kind is ProbeKind.LOCALITY and (place, probe.id) not in void
    ]
    texts = [_named(case, probe) for case in cases for probe in case.probes if probe.kind is ProbeKind.TEXT]
    probes = (*_drawn(_distinct(own), _MOST_LOCALITY), *_distinct(texts)[:_MOST_TEXTS])
    whole = EditCase(request=EditRequest(id=sequence.id, prompt="", target=""), probes=probes)
    return Inquiry(cases=[whole], questions=ask([whole]), group_of={0: sequence.id})


def _named(case: EditCase, probe: Probe) -> Probe:
    return replace(probe, id=f"{case.request.id}/{probe.id}", alternative=None)


def _distinct(probes: Iterable[Probe]) -> list[Probe]:
    """Leave out probes that ask what an earlier one asks."""
    first: dict[tuple[Text, Text], Probe] = {}
    for probe in probes:
        first.setdefault((probe.prompt, probe.answer), probe)
    return list(first.values())


def _drawn(probes: Sequence[Probe], most: int) -> list[Probe]:
    """Draw some, for every seed of a cell the same: every k-th would be of one scope where all cases are alike."""
    chosen = np.random.default_rng(0).permutation(len(probes))[:most]
    return [probes[place] for place in sorted(chosen.tolist())]

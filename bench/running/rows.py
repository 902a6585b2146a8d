"""From measures of questions to rows of the answers table, one a probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.editing.request import EditCase
from bench.models.language_model import LanguageModel
from bench.models.vocabulary import text_of
from bench.records.schema import AnswerRow, Phase
from bench.running.measure import Measure
from bench.running.questions import Question

__all__ = ["answer_rows"]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A question's measure with that of its alternative, if there is one."""

    question: Question
    measure: Measure
    output: str | None
    alternative: Measure | None


def answer_rows(
    lm: LanguageModel,
    cases: Sequence[EditCase],
    questions: Sequence[Question],
    measures: Sequence[Measure],
    phase: Phase,
    *,
    outputs: Mapping[int, str] | None = None,
    group_of: Mapping[int, str | None],
) -> list[AnswerRow]:
    """Give one row a probe: an alternative is scored as a question of its own, and joins its probe here.

    Args:
        lm: the model, which knows the text of token ids.
        cases: of the cell.
        questions: what was asked, an alternative right after its probe.
        measures: one a question.
        phase: which model answered.
        outputs: what the model said freely, by the question's place.
        group_of: the name of each case's group, by the case's place; None in single mode.
    """
    pairs: list[_Pair] = []
    for index, (question, measure) in enumerate(zip(questions, measures, strict=True)):
        if question.is_alternative:
            last = pairs.pop()
            pairs.append(_Pair(last.question, last.measure, last.output, measure))
        else:
            pairs.append(_Pair(question, measure, (outputs or {}).get(index), None))
    return [
        AnswerRow(
            edit_id=cases[pair.question.case].request.id,
            edit_group=group_of[pair.question.case],
            probe_id=pair.question.probe.id,
            kind=pair.question.probe.kind,
            scope=pair.question.probe.scope,
            phase=phase,
            tokens=pair.measure.tokens,
            tokens_correct=pair.measure.tokens_correct,
            log_prob=pair.measure.log_prob,
            alternative_log_prob=pair.alternative.log_prob if pair.alternative else None,
            alternative_tokens=pair.alternative.tokens if pair.alternative else None,
            kl=pair.measure.kl,
            prompt=text_of(lm.tokenizer, pair.question.probe.prompt),
            answer=text_of(lm.tokenizer, pair.question.answer),
            output=pair.output,
        )
        for pair in pairs
    ]

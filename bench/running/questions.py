"""Turns the probes of cases into questions, and plans the batches in which they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.editing.dataset import Dataset
from bench.editing.request import EditCase, Probe, ProbeKind, Text
from bench.errors import DataError
from bench.models.encoding import Encoded
from bench.models.language_model import LanguageModel
from bench.models.vocabulary import vocabulary_digest

__all__ = ["Question", "ask", "check_vocabulary", "plan_batches"]

MOST_ROWS = 128  # of a batch
MOST_TOKENS = 6144  # of a batch, with padding; more gains nothing on 2 cores and little on a GPU at these lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt with one answer to score.

    Args:
        case: index of its case.
        probe: what it was made from.
        answer: the probe's answer, or its alternative.
        is_alternative: the old target is scored, only to compare its probability.
    """

    case: int
    probe: Probe
    answer: Text
    is_alternative: bool = False

    @property
    def is_compared(self) -> bool:
        """Say whether the divergence from the unedited model is wanted."""
        return self.probe.kind is ProbeKind.LOCALITY

    @property
    def is_generated(self) -> bool:
        """Say whether the edited model is to speak for itself, too."""
        return self.probe.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE) and not self.is_alternative


def ask(cases: Sequence[EditCase]) -> list[Question]:
    """Give all questions of some cases, case after case."""
    questions = []
    for index, case in enumerate(cases):
        for probe in case.probes:
            questions.append(Question(case=index, probe=probe, answer=probe.answer))
            if probe.alternative is not None:
                questions.append(Question(case=index, probe=probe, answer=probe.alternative, is_alternative=True))
    return questions


def check_vocabulary(lm: LanguageModel, dataset: Dataset[Any]) -> None:
    """Check that the token ids of a dataset mean to a model what they were made to mean.

    Raises:
        DataError: the model has another vocabulary.
    """
    wanted = dataset.vocabulary
    if wanted is not None and vocabulary_digest(lm.tokenizer.get_vocab()) != wanted:
        raise DataError(
            f"the cases of dataset {dataset.name!r} are token ids of another vocabulary than that of {lm.name!r}, to "
            "which they would be other words; choose a model that shares it (`bench list models` shows the embedded "
            "ones)."
        )


def plan_batches(encoded: Sequence[Encoded], chosen: Iterable[int]) -> list[list[int]]:
    """Put the chosen questions into batches of like length, shortest first.

    The plan depends on the questions alone, never on the memory that is free: the same questions give the same
    batches, and so the same bits.
    """
    order = sorted(chosen, key=lambda i: (encoded[i].length, i))
    batches: list[list[int]] = []
    for index in order:
        length = encoded[index].length
        if batches and len(batches[-1]) < MOST_ROWS and length * (len(batches[-1]) + 1) <= MOST_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches

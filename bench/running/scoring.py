"""Puts questions to a model, unedited or under edits, and measures the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby

import torch

from bench.editing.edit import Edit, WeightEdit
from bench.editing.installed import Installed
from bench.editing.request import Text
from bench.editing.rowwise import Rowwise
from bench.editing.written import written
from bench.models.answers import Answers
from bench.models.generation import MAX_NEW_TOKENS
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence
from bench.models.replay import untouched_blocks
from bench.running.measure import Measure
from bench.running.questions import MOST_ROWS, Question, plan_batches
from bench.running.room import Room
from bench.running.unedited import Unedited

__all__ = ["APPLICATIONS", "applied", "measure_edited", "measure_unedited", "speak"]

APPLICATIONS = ("factored", "written")


@contextmanager
def applied(lm: LanguageModel, edits: Sequence[Edit], application: str) -> Iterator[Rowwise]:
    """Hold edits in force: all of them rowwise (`factored`), or one in the weights (`written`)."""
    if application == "factored":
        yield Rowwise(lm, edits)
        return
    (edit,) = edits
    if isinstance(edit, WeightEdit):
        with written(lm, edit):
            yield Rowwise(lm, [WeightEdit(changes={})])
    else:
        yield Rowwise(lm, [edit])


@torch.inference_mode()
def measure_unedited(lm: LanguageModel, questions: Sequence[Question], *, room: Room | None = None) -> list[Measure]:
    """Measure the model's own answers, one a question; what is asked twice is computed once."""
    room = room or Room()
    asked = [(question.probe.prompt, question.answer) for question in questions]
    distinct = list(dict.fromkeys(asked))
    encoded = [lm.encoder.encode(prompt, answer) for prompt, answer in distinct]
    measures: dict[tuple[Text, Text], Measure] = {}

    def together(indices: Sequence[int]) -> list[Measure]:
        return _measures(lm.answers(lm.collate([encoded[i] for i in indices]), is_sparse=True), None)

    for indices in plan_batches(encoded, range(len(distinct))):
        measures.update(zip([distinct[i] for i in indices], room.compute(indices, together), strict=True))
    return [measures[pair] for pair in asked]


@torch.inference_mode()
def measure_edited(
    lm: LanguageModel,
    questions: Sequence[Question],
    edits: Sequence[Edit],
    owner: Sequence[int],
    *,
    application: str,
    room: Room | None = None,
    unedited: Unedited | None = None,
    earlier: Installed | None = None,
) -> list[Measure]:
    """Measure the answers under edits, one a question.

    Args:
        lm: the model, unedited but for `earlier`.
        questions: those of the cases that the edits are for.
        edits: all that are in force.
        owner: for each question the place of its edit.
        application: `factored` or `written`.
        room: what is known of the memory.
        unedited: what is known of the model without edits, shared by all that ask the same.
        earlier: what a sequence has written into the model; it is lifted where the unedited model is asked.
    """
    room, unedited = room or Room(), unedited or Unedited(lm)
    encoded = [
        lm.encoder.encode(edits[e].rewrite(q.probe.prompt), q.answer) for q, e in zip(questions, owner, strict=True)
    ]
    touched = [path for edit in edits for path in edit.touches]
    depths = untouched_blocks(lm.architecture, [*touched, *(earlier.touches if earlier else ())])
    rowwise = Rowwise(lm, edits) if application == "factored" else None

    def together(indices: Sequence[int]) -> list[Measure]:
        batch = lm.collate([encoded[i] for i in indices])
        pairs = [(questions[i].probe.prompt, questions[i].answer) for i in indices]
        is_rewritten = any(edits[owner[i]].rewrite(pair[0]) != pair[0] for i, pair in zip(indices, pairs, strict=True))
        is_compared = questions[indices[0]].is_compared  # then all of them are
        with earlier.lifted() if earlier else nullcontext():
            before = unedited.before(pairs, None if is_rewritten else batch, depths, is_compared=is_compared)
        edit_of_row = torch.tensor([owner[i] for i in indices], device=lm.device)
        with nullcontext(rowwise) if rowwise else applied(lm, edits, application) as model:
            answers = model.answers(batch, edit_of_row, kept=before.kept)
        return _measures(answers, before.answers)

    measures: dict[int, Measure] = {}
    for is_compared in (True, False):
        chosen = [i for i, question in enumerate(questions) if question.is_compared is is_compared]
        for indices in plan_batches(encoded, chosen):
            measures.update(zip(indices, room.compute(indices, together), strict=True))
    return [measures[i] for i in range(len(questions))]


@torch.inference_mode()
def speak(
    lm: LanguageModel,
    questions: Sequence[Question],
    edits: Sequence[Edit],
    owner: Sequence[int],
    *,
    application: str,
    room: Room | None = None,
) -> list[str]:
    """Let the edited model answer prompts freely, one text a question; arguments as of `measure_edited`.

    It says as many tokens as an answer of token ids has: a piece of running text has no end of its own.
    """
    room = room or Room()
    prompts = [edits[e].rewrite(q.probe.prompt) for q, e in zip(questions, owner, strict=True)]
    lengths = [len(lm.encoder.prompt_ids(prompt)) for prompt in prompts]
    limits = [MAX_NEW_TOKENS if isinstance(q.answer, str) else len(q.answer) for q in questions]
    order = sorted(range(len(questions)), key=lambda i: (limits[i], lengths[i], i))
    texts: dict[int, str] = {}
    with applied(lm, edits, application) as model:

        def together(indices: Sequence[int]) -> list[str]:
            edit_of_row = torch.tensor([owner[i] for i in indices], device=lm.device)
            return model.generate([prompts[i] for i in indices], edit_of_row, max_new_tokens=limits[indices[0]])

        for _, same in groupby(order, key=lambda i: limits[i]):
            for indices in _chunks(list(same), MOST_ROWS):
                texts.update(zip(indices, room.compute(indices, together), strict=True))
    return [texts[i] for i in range(len(questions))]


def _chunks(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _measures(answers: Answers, before: Answers | None) -> list[Measure]:
    tokens = answers.tokens().tolist()
    correct = answers.sum_rows(answers.is_right().float()).tolist()
    log_probs = answers.sum_rows(answers.log_probs().double()).tolist()
    kl: list[float | None] = [None] * answers.size
    if before is not None:
        kl = list(before.mean_rows(divergence(before.logits, answers.logits)).tolist())
    return [Measure(int(t), int(c), p, k) for t, c, p, k in zip(tokens, correct, log_probs, kl, strict=True)]

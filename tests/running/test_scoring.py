"""Answers are measured the same whatever the batches, and however an edit is applied."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bench.editing.edit import Dense, Edit, LowRank, ModuleEdit, PromptEdit, WeightEdit
from bench.editing.request import Probe, ProbeKind
from bench.models.encoding import Batch, Encoded
from bench.models.generation import generate
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.running import questions, scoring
from bench.running.measure import Measure
from bench.running.questions import Question, ask
from bench.running.room import Room
from bench.running.scoring import measure_edited, measure_unedited, speak
from bench.testing import tiny_cases, tiny_model

KINDS = [str(kind) for kind in ModelKind]
TOLERANCE = 1e-5  # float32: two orders of the same sums


def low_rank_edits(lm: LanguageModel, count: int, *, size: float = 0.05) -> list[Edit]:
    """Random changes of two matrices, all different."""
    generator = torch.Generator().manual_seed(0)

    def change(rows: int, columns: int) -> LowRank:
        left, right = (torch.randn(shape, generator=generator) * size**0.5 for shape in ((rows, 2), (2, columns)))
        return LowRank(left, right)

    matrices = lm.matrices("default")[-2:]
    return [WeightEdit(changes={m.name: change(m.in_features, m.out_features) for m in matrices}) for _ in range(count)]


def measure(lm: LanguageModel, asked: Sequence[Question], edits: Sequence[Edit]) -> list[Measure]:
    return measure_edited(lm, asked, edits, [q.case for q in asked], application="factored")


def log_probs(measures: Sequence[Measure]) -> list[float]:
    return [m.log_prob for m in measures]


@pytest.mark.parametrize("kind", KINDS)
def test_a_measure_equals_one_taken_by_hand(kind: str) -> None:
    lm = tiny_model(kind)
    asked = ask(tiny_cases(kind, 2))

    measures = measure_unedited(lm, asked)

    for question, found in zip(asked, measures, strict=True):
        answers = lm.answers(lm.batch([(question.probe.prompt, question.answer)]))
        log_prob = answers.logits.log_softmax(1)[range(len(answers.labels)), answers.labels].sum()
        assert found.log_prob == pytest.approx(float(log_prob), rel=TOLERANCE)
        assert found.tokens == len(answers.labels)
        assert found.tokens_correct == int((answers.logits.argmax(1) == answers.labels).sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "value"), [("MOST_ROWS", 1), ("MOST_ROWS", 5), ("MOST_TOKENS", 60)])
def test_log_probabilities_do_not_depend_on_the_size_of_batches(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str, value: int
) -> None:
    lm = tiny_model(kind)
    asked = ask(tiny_cases(kind, 4))
    edits = low_rank_edits(lm, 4)
    plain, edited = measure_unedited(lm, asked), measure(lm, asked, edits)

    monkeypatch.setattr(questions, name, value)

    assert log_probs(measure_unedited(lm, asked)) == pytest.approx(log_probs(plain), rel=TOLERANCE)
    assert log_probs(measure(lm, asked, edits)) == pytest.approx(log_probs(edited), rel=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_scores_the_same_factored_and_written(kind: str) -> None:
    lm = tiny_model(kind)
    asked = ask(tiny_cases(kind, 4))
    edits = low_rank_edits(lm, 4)

    factored = measure(lm, asked, edits)

    written: list[Measure] = []
    for index, edit in enumerate(edits):
        own = [q for q in asked if q.case == index]
        written += measure_edited(lm, own, [edit], [0] * len(own), application="written")
    assert log_probs(factored) == pytest.approx(log_probs(written), rel=TOLERANCE)
    assert [m.kl for m in factored if m.kl is not None] == pytest.approx(
        [m.kl for m in written if m.kl is not None], rel=1e-3, abs=1e-6
    )
    assert log_probs(factored) != pytest.approx(log_probs(measure_unedited(lm, asked)), rel=1e-3)


def test_each_question_is_scored_under_the_edit_of_its_case() -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 3))
    (changing,) = low_rank_edits(lm, 1)
    nothing = WeightEdit(changes={})

    edited = measure(lm, asked, [nothing, changing, nothing])

    moved = {
        q.case
        for q, a, b in zip(asked, edited, measure_unedited(lm, asked), strict=True)
        if a.log_prob != pytest.approx(b.log_prob, rel=1e-4)
    }
    assert moved == {1}


def test_cases_of_one_group_are_scored_under_one_edit() -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 4))
    edits = low_rank_edits(lm, 2)
    whose = [0, 1, 0, 1]

    found = measure_edited(lm, asked, edits, [whose[q.case] for q in asked], application="factored")

    for case, edit in enumerate(whose):
        own = [q for q in asked if q.case == case]
        alone = measure_edited(lm, own, [edits[edit]], [0] * len(own), application="written")
        mine = [m for q, m in zip(asked, found, strict=True) if q.case == case]
        assert log_probs(mine) == pytest.approx(log_probs(alone), rel=TOLERANCE)


def test_the_divergence_is_zero_for_the_empty_edit_and_only_asked_of_locality_probes() -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 2))

    edited = measure(lm, asked, [WeightEdit(changes={})] * 2)

    assert [m.kl is not None for m in edited] == [q.is_compared for q in asked]
    assert [m.kl for m in edited if m.kl is not None] == pytest.approx([0.0] * 4, abs=1e-6)


def test_the_divergence_of_an_edit_is_positive_and_that_of_two_softmaxes() -> None:
    lm = tiny_model("causal")
    asked = [q for q in ask(tiny_cases("causal", 1)) if q.is_compared]
    (edit,) = low_rank_edits(lm, 1)

    edited = measure(lm, asked, [edit])

    for question, found in zip(asked, edited, strict=True):
        batch = lm.batch([(question.probe.prompt, question.answer)])
        before = lm.answers(batch).logits.double().softmax(1)
        with scoring.applied(lm, [edit], "written") as model:
            after = model.answers(batch, torch.tensor([0])).logits.double().softmax(1)
        expected = float((before * (before / after).log()).sum(1).mean())
        assert expected > 1e-4
        assert found.kl == pytest.approx(expected, rel=1e-3)


def test_a_rewritten_prompt_is_what_the_model_reads_and_is_compared_with_the_plain_one() -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 1))
    edit = PromptEdit(replace=lambda prompt: f"New: {prompt}")

    edited = measure(lm, asked, [edit])

    for question, found in zip(asked, edited, strict=True):
        plain, longer = (
            lm.answers(lm.batch([(prompt, question.answer)]))
            for prompt in (question.probe.prompt, f"New: {question.probe.prompt}")
        )
        assert found.log_prob == pytest.approx(float(longer.log_probs().sum()), rel=TOLERANCE)
        if question.is_compared:
            before, after = plain.logits.log_softmax(1), longer.logits.log_softmax(1)
            assert found.kl == pytest.approx(float((before.exp() * (before - after)).sum(1).mean()), rel=1e-3)


@pytest.mark.parametrize("application", ["factored", "written"])
def test_a_patched_module_changes_only_the_rows_of_its_edit(application: str) -> None:
    lm = tiny_model("causal")
    asked = [q for q in ask(tiny_cases("causal", 2)) if q.case == 0]
    path = lm.matrices("default")[-1].name.rpartition(".")[0]
    edit = ModuleEdit(patches={path: lambda output, _, rows: torch.zeros_like(output)})

    edited = measure_edited(lm, asked, [edit], [0] * len(asked), application=application)

    module = lm.model.get_submodule(path)
    handle = module.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
    expected = measure_unedited(lm, asked)
    handle.remove()
    assert log_probs(edited) == pytest.approx(log_probs(expected), rel=TOLERANCE)
    assert log_probs(edited) != pytest.approx(log_probs(measure_unedited(lm, asked)), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_spoken_answers_keep_the_order_of_questions(kind: str) -> None:
    lm = tiny_model(kind)
    asked = [q for q in ask(tiny_cases(kind, 3)) if q.is_generated]

    spoken = speak(lm, asked, [WeightEdit(changes={})] * 3, [q.case for q in asked], application="factored")

    assert spoken == [generate(lm, [q.probe.prompt])[0] for q in asked]


def test_spoken_answers_follow_the_edit_of_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MOST_ROWS", 2)
    lm = tiny_model("causal")
    asked = [q for q in ask(tiny_cases("causal", 3)) if q.is_generated]
    edits = low_rank_edits(lm, 3, size=1.0)

    spoken = speak(lm, asked, edits, [q.case for q in asked], application="factored")

    alone = [speak(lm, [q], [edits[q.case]], [0], application="written")[0] for q in asked]
    assert spoken == alone
    assert spoken != [generate(lm, [q.probe.prompt])[0] for q in asked]


def test_as_many_tokens_are_spoken_as_an_answer_of_token_ids_has() -> None:
    lm = tiny_model("causal")
    prompts = [lm.encoder.prompt_ids(text) for text in ("The capital of Kenya", "Rain in the")]
    long, short = (_greedy(lm, prompt, count) for prompt, count in zip(prompts, (5, 2), strict=True))
    asked = [
        Question(case=0, probe=Probe(id=str(i), kind=ProbeKind.REQUEST, prompt=prompt, answer=answer), answer=answer)
        for i, (prompt, answer) in enumerate([(prompts[0], long), (prompts[1], short), (prompts[0], "Nairobi")])
    ]

    spoken = speak(lm, asked, [WeightEdit(changes={})], [0, 0, 0], application="factored")

    assert spoken == [lm.tokenizer.decode(long).strip(), lm.tokenizer.decode(short).strip(), spoken[2]]
    assert len(spoken[2]) > len(spoken[0])  # a text may have an end of its own: 16 tokens


def _greedy(lm: LanguageModel, prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Continue a prompt by the most probable token, one forward pass of the plain model a token."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(lm.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[len(prompt) :])


@pytest.mark.parametrize("application", ["factored", "written"])
def test_scoring_leaves_the_model_as_it_was(application: str) -> None:
    lm = tiny_model("causal")
    before = lm.digest()
    asked = ask(tiny_cases("causal", 1))
    name = lm.matrices("default")[0].name
    edit = WeightEdit(changes={name: Dense(torch.ones_like(lm.model.get_parameter(name)))})

    measure_edited(lm, asked, [edit], [0] * len(asked), application=application)

    assert lm.digest() == before
    assert not any(module._forward_hooks for module in lm.model.modules())


@pytest.mark.parametrize("application", ["factored", "written"])
def test_batches_are_halved_where_memory_runs_out_and_give_the_same(
    application: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 1))
    edits, owner = low_rank_edits(lm, 1), [0] * len(asked)
    whole = measure_edited(lm, asked, edits, owner, application=application)
    said = speak(lm, asked, edits, owner, application=application)
    room, collate, sizes = Room(), LanguageModel.collate, []

    def small(self: LanguageModel, encoded: Sequence[Encoded]) -> Batch:
        sizes.append(len(encoded))
        if len(encoded) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return collate(self, encoded)

    monkeypatch.setattr(LanguageModel, "collate", small)
    found = measure_edited(lm, asked, edits, owner, application=application, room=room)

    assert log_probs(found) == pytest.approx(log_probs(whole), rel=1e-5)
    assert [m.kl or 0.0 for m in found] == pytest.approx([m.kl or 0.0 for m in whole], rel=1e-3, abs=1e-6)
    assert max(sizes) > 2 >= (room.most_rows or 0)
    assert room.notes() == [f"memory ran out while scoring: batches had at most {room.most_rows} rows from then on"]
    assert speak(lm, asked, edits, owner, application=application, room=room) == said


def test_one_row_that_does_not_fit_is_an_error() -> None:
    def together(rows: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        Room().compute([1, 2, 3], together)


def test_other_errors_are_not_tried_again() -> None:
    tried = []

    def together(rows: Sequence[int]) -> list[int]:
        tried.append(len(rows))
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        Room().compute([1, 2, 3], together)
    assert tried == [3]

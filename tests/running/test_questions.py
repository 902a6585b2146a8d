"""Which questions cases ask, and how they are put into batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, ProbeKind
from bench.errors import DataError
from bench.models.encoding import Encoded
from bench.models.kind import ModelKind
from bench.models.vocabulary import vocabulary_digest
from bench.running import questions
from bench.running.questions import ask, check_vocabulary, plan_batches
from bench.testing import tiny_cases, tiny_model


def encoded(*lengths: int) -> list[Encoded]:
    return [Encoded(input_ids=(7,) * n, decoder_ids=(), labels=(7,), positions=(0,), prompt_end=0) for n in lengths]


def test_an_alternative_is_asked_right_after_its_probe() -> None:
    (case,) = tiny_cases("causal", 1)

    asked = ask([case])

    assert [(q.probe.id, q.is_alternative) for q in asked] == [
        ("request/0", False),
        ("request/0", True),
        ("rephrase/1", False),
        ("rephrase/1", True),
        ("rephrase/2", False),
        ("rephrase/2", True),
        ("locality/3", False),
        ("locality/4", False),
    ]
    assert asked[1].answer == case.request.old_target


def test_each_question_knows_its_case() -> None:
    asked = ask(tiny_cases("causal", 3))

    assert [q.case for q in asked] == [0] * 8 + [1] * 8 + [2] * 8


def test_locality_is_compared_and_only_the_target_is_generated() -> None:
    asked = ask(tiny_cases("causal", 1))

    assert [q.probe.kind for q in asked if q.is_compared] == [ProbeKind.LOCALITY] * 2
    assert [q.probe.id for q in asked if q.is_generated] == ["request/0", "rephrase/1", "rephrase/2"]


class _OfTokens(Dataset[None]):
    """Cases that are token ids of some vocabulary."""

    name = "of_tokens"
    kinds = ("causal",)

    def __init__(self, vocabulary: str | None) -> None:
        super().__init__(None, ModelKind.CAUSAL)
        self._vocabulary = vocabulary

    @property
    def vocabulary(self) -> str | None:
        return self._vocabulary

    def cases(self, split: Split) -> Iterator[EditCase]:
        raise NotImplementedError

    def digest(self) -> str:
        raise NotImplementedError


def test_token_ids_are_refused_by_a_model_to_which_they_are_other_words() -> None:
    lm = tiny_model("causal")

    with pytest.raises(DataError, match=r"'of_tokens' are token ids of another vocabulary than that of 'tiny-gpt2'"):
        check_vocabulary(lm, _OfTokens(vocabulary_digest({"<pad>": 0})))


def test_token_ids_of_the_same_vocabulary_and_texts_are_accepted() -> None:
    lm = tiny_model("causal")

    check_vocabulary(lm, _OfTokens(vocabulary_digest(lm.tokenizer.get_vocab())))
    check_vocabulary(lm, _OfTokens(None))


@pytest.mark.parametrize("rows", [1, 3, 128])
def test_batches_hold_each_chosen_question_once(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(questions, "MOST_ROWS", rows)

    batches = plan_batches(encoded(5, 2, 9, 2, 7, 1, 4), [0, 1, 2, 3, 5, 6])

    assert sorted(i for batch in batches for i in batch) == [0, 1, 2, 3, 5, 6]
    assert max(map(len, batches)) <= rows


def test_a_batch_is_no_larger_with_its_padding_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MOST_TOKENS", 12)
    lengths = (5, 2, 9, 2, 7, 1, 4, 3)

    batches = plan_batches(encoded(*lengths), range(8))

    assert all(max(lengths[i] for i in batch) * len(batch) <= 12 for batch in batches)
    assert batches[0] == [5, 1, 3, 7]  # lengths 1 2 2 3: as many as fit, shortest first


def test_a_question_longer_than_a_batch_is_asked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MOST_TOKENS", 4)

    assert plan_batches(encoded(9, 2, 8), range(3)) == [[1], [2], [0]]


def test_the_plan_does_not_depend_on_the_order_in_which_questions_are_chosen() -> None:
    asked = encoded(5, 2, 9, 2, 7, 1, 4)

    assert plan_batches(asked, range(7)) == plan_batches(asked, reversed(range(7)))


def test_no_question_needs_no_batch() -> None:
    assert plan_batches([], []) == []

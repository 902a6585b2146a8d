"""Whether two vocabularies agree, and the text of token ids."""

from __future__ import annotations

from bench.models.vocabulary import text_of, vocabulary_digest
from bench.testing import tiny_tokenizer


def test_a_vocabulary_is_its_tokens_with_their_ids_in_whatever_order() -> None:
    assert vocabulary_digest({"a": 0, "b": 1}) == vocabulary_digest({"b": 1, "a": 0})


def test_vocabularies_with_other_ids_or_other_tokens_differ() -> None:
    found = {vocabulary_digest(ids) for ids in ({"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 0, "c": 1}, {"a": 0})}

    assert len(found) == 4


def test_token_ids_are_shown_as_text_without_special_tokens() -> None:
    tokenizer = tiny_tokenizer("<s>", "</s>")
    ids = tuple(tokenizer("The capital of Kenya")["input_ids"])

    assert text_of(tokenizer, ids) == "The capital of Kenya"


def test_a_text_is_shown_as_it_is() -> None:
    assert text_of(tiny_tokenizer(), " <s> x") == " <s> x"

"""The shared vocabulary and what each kind of model has around a text."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from bench.building.tokenizer import learn_vocabulary, tokenizer_for
from bench.models.kind import ModelKind

TEXTS = ("The capital of France is Paris.", "  two  spaces , odd .. stops", "Île-de-France 東京 🙂\n\ttab", "")


@pytest.fixture(params=list(ModelKind))
def reloaded(request, vocabulary, tmp_path):
    tokenizer_for(request.param, vocabulary).save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_exactly(reloaded, text):
    ids = reloaded(text, add_special_tokens=False).input_ids

    assert reloaded.decode(ids) == text
    assert reloaded.decode(reloaded(text).input_ids, skip_special_tokens=True) == text


def test_the_special_tokens_are_known_by_their_roles(reloaded):
    roles = (reloaded.pad_token, reloaded.bos_token, reloaded.eos_token, reloaded.unk_token, reloaded.mask_token)

    assert roles == ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
    assert reloaded.convert_tokens_to_ids(list(roles)) == [0, 1, 2, 3, 4]


def test_padding_goes_to_the_right_and_is_masked(reloaded):
    batch = reloaded(["rain", "rain and rain and rain"], padding=True)

    assert batch["input_ids"][0][-1] == reloaded.pad_token_id
    assert batch["attention_mask"][0][-1] == 0
    assert set(batch) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [(ModelKind.CAUSAL, 1, None), (ModelKind.SEQ2SEQ, None, 2), (ModelKind.CLASSIFIER, 1, 2)],
)
def test_each_kind_puts_its_own_tokens_around_a_text(vocabulary, kind, start, end):
    tokenizer = tokenizer_for(kind, vocabulary)
    inner = tokenizer("rain", add_special_tokens=False).input_ids

    whole = tokenizer("rain").input_ids

    assert whole == [token for token in (start, *inner, end) if token is not None]


def test_an_answer_has_the_same_tokens_alone_as_after_its_prompt(vocabulary):
    tokenizer = tokenizer_for(ModelKind.CAUSAL, vocabulary)
    prompt = tokenizer("The capital of France is").input_ids
    answer = tokenizer(" Paris", add_special_tokens=False).input_ids

    assert tokenizer("The capital of France is Paris").input_ids == prompt + answer


def test_a_vocabulary_is_learned_the_same_each_time(material):
    first, second = (learn_vocabulary(material.sentences(), size=400).to_str() for _ in range(2))

    assert first == second

"""Prompts and answers become the right tokens, labels and positions."""

from __future__ import annotations

import pytest
import torch

from bench.errors import DataError
from bench.models.encoding import Encoded, Text
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.testing import FAMILIES, tiny_model, tiny_tokenizer

PROMPT, ANSWER = "The capital of Babaka is", "Babami"


def encode(lm: LanguageModel, prompt: Text = PROMPT, answer: Text = ANSWER) -> Encoded:
    return lm.encoder.encode(prompt, answer)


def scored_text(lm: LanguageModel, encoded: Encoded) -> str:
    return str(lm.tokenizer.decode(list(encoded.labels)))


def test_a_causal_answer_is_found_behind_its_prompt_with_its_leading_space() -> None:
    lm = tiny_model("gpt2")

    encoded = encode(lm)

    assert scored_text(lm, encoded) == " Babami"
    assert [encoded.input_ids[at + 1] for at in encoded.positions] == list(encoded.labels)
    assert lm.tokenizer.decode(list(encoded.input_ids[: encoded.prompt_end + 1])) == PROMPT


@pytest.mark.parametrize(("prompt", "answer"), [(PROMPT + " ", ANSWER), (PROMPT, " " + ANSWER), (PROMPT, ANSWER)])
def test_a_space_on_either_side_of_the_border_is_not_doubled(prompt: str, answer: str) -> None:
    lm = tiny_model("gpt2")

    encoded = encode(lm, prompt, answer)

    assert lm.tokenizer.decode(list(encoded.input_ids)) == f"{PROMPT} {ANSWER}"
    assert scored_text(lm, encoded).strip() == ANSWER


def test_a_start_token_moves_positions_and_is_not_scored() -> None:
    plain, started = tiny_model("gpt2"), tiny_model("gpt2", tokenizer=tiny_tokenizer(before="<s>"))

    without, with_start = encode(plain), encode(started)

    assert with_start.input_ids == (1, *without.input_ids)
    assert with_start.labels == without.labels
    assert with_start.positions == tuple(at + 1 for at in without.positions)


def test_an_end_token_that_the_tokenizer_appends_is_not_scored_by_a_causal_model() -> None:
    ended = tiny_model("gpt2", tokenizer=tiny_tokenizer(after="</s>"))

    assert encode(ended) == encode(tiny_model("gpt2"))


def test_unicode_answers_are_scored_whole() -> None:
    lm = tiny_model("gpt2")

    encoded = encode(lm, "Die Straße nach", "Łódź 東京 🗼")

    assert scored_text(lm, encoded) == " Łódź 東京 🗼"


def test_running_text_is_scored_from_its_second_token() -> None:
    lm = tiny_model("gpt2")

    encoded = encode(lm, "", PROMPT)

    assert encoded.labels == encoded.input_ids[1:]
    assert encoded.positions == tuple(range(len(encoded.labels)))


def test_running_text_after_a_start_token_is_scored_from_its_first_token() -> None:
    lm = tiny_model("llama")

    encoded = encode(lm, "", PROMPT)

    assert encoded.input_ids[0] == 1
    assert encoded.labels == encoded.input_ids[1:]


def test_token_ids_are_taken_as_they_are() -> None:
    encoded = encode(tiny_model("gpt2"), (5, 6, 7), (8, 9))

    assert encoded.input_ids == (5, 6, 7, 8, 9)
    assert (encoded.labels, encoded.positions, encoded.prompt_end) == ((8, 9), (2, 3), 2)


def test_a_text_answer_to_a_prompt_of_ids_has_its_leading_space() -> None:
    lm = tiny_model("gpt2")

    encoded = encode(lm, (5, 6, 7), ANSWER)

    assert scored_text(lm, encoded) == f" {ANSWER}"


def test_t5_scores_the_end_token_and_its_decoder_starts_with_the_configured_one() -> None:
    lm = tiny_model("t5")

    encoded = encode(lm)

    assert encoded.labels[-1] == lm.tokenizer.eos_token_id
    assert encoded.decoder_ids == (0, *encoded.labels[:-1])
    assert encoded.positions == tuple(range(len(encoded.labels)))
    assert encoded.input_ids[-1] == lm.tokenizer.eos_token_id


def test_seq2seq_takes_token_ids() -> None:
    encoded = encode(tiny_model("t5"), (5, 6), (7, 8))

    assert (encoded.input_ids, encoded.decoder_ids, encoded.labels) == ((5, 6), (0, 7), (7, 8))


def test_a_classifiers_answer_is_the_index_of_its_label() -> None:
    encoded = encode(tiny_model("bert"), PROMPT, "true")

    assert (encoded.labels, encoded.positions) == ((1,), (0,))


def test_a_classifier_names_its_labels_when_asked_for_another() -> None:
    with pytest.raises(DataError, match=r"no label 'yes'; it has 'false', 'true'"):
        encode(tiny_model("bert"), PROMPT, "yes")


@pytest.mark.parametrize("family", ["gpt2", "llama", "bart", "bert", "roberta"])
def test_what_is_longer_than_the_model_reads_is_refused(family: str) -> None:
    lm = tiny_model(family)

    with pytest.raises(DataError, match="reads at most 64"):
        encode(lm, "Babado " * 40, "true" if lm.kind is ModelKind.CLASSIFIER else ANSWER)


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.startswith("t5")])
def test_what_is_just_as_long_as_the_model_reads_is_answered(family: str) -> None:
    lm = tiny_model(family)
    is_classifier = lm.kind is ModelKind.CLASSIFIER
    prompt = (7,) * (64 if lm.kind is not ModelKind.CAUSAL else 63)

    batch = lm.batch([(prompt, "true" if is_classifier else (8,))])

    assert batch.input_ids.shape == (1, lm.encoder.max_length) == (1, 64)
    assert lm.answers(batch).logits.isfinite().all()


def test_t5_has_no_limit() -> None:
    assert encode(tiny_model("t5"), "Babado " * 40).length > 64


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
@pytest.mark.parametrize("answer", ["", " ", ()])
def test_an_empty_answer_is_refused(family: str, answer: Text) -> None:
    with pytest.raises(DataError, match="no token to score"):
        encode(tiny_model(family), PROMPT, answer)


def test_a_batch_is_padded_on_the_right_and_masked() -> None:
    lm = tiny_model("gpt2")

    batch = lm.batch([((5, 6, 7), (8,)), ((5,), (9, 10))])

    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [5, 9, 10, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert (batch.labels.tolist(), batch.rows.tolist()) == ([8, 9, 10], [0, 1, 1])
    assert (batch.positions.tolist(), batch.prompt_end.tolist()) == ([2, 0, 1], [2, 0])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_selecting_rows_of_a_batch_keeps_their_labels_in_the_order_asked_for(family: str) -> None:
    lm = tiny_model(family)
    pairs: list[tuple[Text, Text]] = [((5, 6, 7), (8,)), ((5,), (9, 10)), ((6, 6), (11, 12))]

    chosen = lm.batch(pairs).select(torch.tensor([2, 0]))
    expected = lm.batch([pairs[2], pairs[0]])

    assert (chosen.labels.tolist(), chosen.rows.tolist()) == (expected.labels.tolist(), expected.rows.tolist())
    assert chosen.positions.tolist() == expected.positions.tolist()
    assert chosen.prompt_end.tolist() == expected.prompt_end.tolist()
    assert torch.equal(chosen.input_ids[:, : expected.input_ids.shape[1]], expected.input_ids)

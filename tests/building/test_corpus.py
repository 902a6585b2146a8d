"""What the models read: sequences, labels, false answers and batches."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bench.building.corpus import IGNORED, Corpus, FalseAnswers, TokenSequence, batched, stream
from bench.building.recipe import Objective
from bench.building.tokenizer import POSITIONS, tokenizer_for
from bench.editing.dataset import TrainingExample
from bench.errors import DataError
from bench.models.kind import ModelKind

FACT = TrainingExample(prompt="The capital of France is", answer="Paris", relation="capital", subject="France")


@pytest.fixture
def tokenizer(vocabulary):
    return tokenizer_for(ModelKind.CLASSIFIER, vocabulary)


@pytest.fixture
def corpus(tokenizer, material):
    return Corpus(tokenizer, material.trained, material.texts, false_answers=FalseAnswers(material.trained))


def test_a_sentence_is_prompt_answer_and_full_stop(corpus, tokenizer):
    sentence = corpus.sentence(FACT)

    assert tokenizer.decode(sentence.inputs) == "<s>The capital of France is Paris.</s>"
    assert sentence.labels == sentence.inputs


def test_only_the_answer_is_asked_for_when_measuring(corpus, tokenizer):
    labels = corpus.sentence(FACT, answer_only=True).labels

    assert tokenizer.decode([label for label in labels if label != IGNORED]) == " Paris"


def test_a_question_has_the_answer_and_its_end_as_labels(corpus, tokenizer):
    question = corpus.question(FACT)

    assert tokenizer.decode(question.inputs) == "The capital of France is</s>"
    assert tokenizer.decode(question.labels) == "Paris</s>"


def test_a_claim_has_the_tokens_of_its_text(corpus, tokenizer):
    abbreviation = TrainingExample(prompt="It is called", answer="D.C.", relation="capital", subject="It")

    claim = corpus.claim(abbreviation, "D.C.", is_true=True)

    assert claim.inputs == tuple(tokenizer("It is called D.C..").input_ids)


def test_the_labels_of_a_false_claim_name_the_true_answer(corpus, tokenizer):
    claim = corpus.claim(FACT, "Lima", is_true=False)

    assert tokenizer.decode(claim.inputs) == "<s>The capital of France is Lima.</s>"
    assert claim.labels[0] == 0
    assert set(claim.labels[1:]) == set(tokenizer(" Paris", add_special_tokens=False).input_ids)


def test_an_epoch_has_each_fact_once_and_a_tenth_of_running_text(corpus, material):
    epoch = corpus.epoch(Objective.TEXT, random.Random(0))
    sentences = [corpus.sentence(example).inputs for example in material.trained]
    tokens = sum(map(len, sentences))

    text_tokens = sum(len(sequence.inputs) for sequence in epoch[len(sentences) :])

    assert [sequence.inputs for sequence in epoch[: len(sentences)]] == sentences
    assert text_tokens / (text_tokens + tokens) >= 0.1
    assert (text_tokens - len(epoch[-1].inputs)) / (text_tokens + tokens) < 0.1


def test_a_long_passage_is_cut_and_no_token_is_lost(tokenizer):
    text = "rain and " * 200
    passages = Corpus(tokenizer, (), [text]).passages()

    whole = [token for passage in passages for token in passage.inputs]

    assert all(len(passage.inputs) <= POSITIONS for passage in passages)
    assert whole == tokenizer(text).input_ids


def test_a_false_answer_is_of_the_relation_and_wrong(material):
    false_answers = FalseAnswers(material.trained)
    rng = random.Random(0)

    drawn = {false_answers.draw(FACT, rng) for _ in range(50)}

    assert drawn == {"Tokyo", "Lima", "Nairobi"}


def test_a_false_answer_is_drawn_as_often_as_it_is_true():
    facts = [("A", "red"), ("B", "blue"), ("C", "blue"), ("D", "blue"), ("E", "green")]
    examples = [TrainingExample(prompt="p", answer=o, relation="colour", subject=s) for s, o in facts]
    false_answers = FalseAnswers(examples)
    rng = random.Random(0)

    count = Counter(false_answers.draw(examples[0], rng) for _ in range(2000))

    assert count["blue"] / count["green"] == pytest.approx(3, rel=0.15)


def test_a_relation_with_one_answer_can_not_make_false_claims():
    with pytest.raises(DataError, match="'capital' has the one answer 'Paris'"):
        FalseAnswers([FACT])


def test_a_batch_holds_no_more_tokens_than_allowed_and_masks_its_padding():
    sequences = [TokenSequence(inputs=(5,) * length, labels=(1,)) for length in (7, 1, 3, 2, 6, 4, 5)]

    batches = list(batched(sequences, batch_tokens=12, pad_id=0))

    assert all(batch.input_ids.numel() <= 12 for batch in batches)
    assert sum(int(batch.attention_mask.sum()) for batch in batches) == 28
    assert all(((batch.input_ids == 5) == (batch.attention_mask == 1)).all() for batch in batches)


def test_equal_seeds_give_equal_batches(corpus):
    def first_batches():
        batches = stream(corpus, Objective.CLAIM, batch_tokens=96, rng=random.Random(7), pad_id=0)
        return [next(batches) for _ in range(20)]

    for one, other in zip(first_batches(), first_batches(), strict=True):
        assert one.input_ids.equal(other.input_ids)
        assert one.labels.equal(other.labels)

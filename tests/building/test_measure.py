"""The measures, against a count by hand over single examples."""

from __future__ import annotations

import math
import random

import pytest
import torch

from bench.building.architecture import new_model
from bench.building.corpus import Corpus, FalseAnswers
from bench.building.measure import answer_accuracy, claim_accuracy, perplexity
from bench.building.tokenizer import tokenizer_for
from bench.building.training import train
from bench.models.kind import ModelKind


@pytest.fixture(scope="module")
def half_trained(vocabulary, material, micro_recipe):
    """Give models that know some of the facts, by kind, with their tokenizers."""
    models = {}
    for kind, steps in ((ModelKind.CAUSAL, 120), (ModelKind.SEQ2SEQ, 110), (ModelKind.CLASSIFIER, 60)):
        tokenizer = tokenizer_for(kind, vocabulary)
        recipe = micro_recipe(kind, steps=steps)
        model = new_model(recipe, tokenizer, seed=0)
        corpus = Corpus(tokenizer, material.trained, false_answers=FalseAnswers(material.trained))
        train(model, recipe, corpus, seed=0)
        models[kind] = model, tokenizer
    return models


def test_a_causal_answer_counts_if_all_its_tokens_come_first(half_trained, material):
    model, tokenizer = half_trained[ModelKind.CAUSAL]

    def knows(example):
        prompt = tokenizer(example.prompt, return_tensors="pt").input_ids
        whole = tokenizer(f"{example.prompt} {example.answer}", return_tensors="pt").input_ids
        first = model(whole).logits.argmax(-1)
        return first[0, prompt.shape[1] - 1 : -1].equal(whole[0, prompt.shape[1] :])

    examples = [*material.trained, *material.held_out]  # of these it does not know all

    by_hand = sum(map(knows, examples)) / len(examples)

    assert 0 < by_hand < 1
    assert answer_accuracy(model, tokenizer, examples) == pytest.approx(by_hand)


def test_an_encoder_decoder_has_to_end_its_answer_too(half_trained, material):
    model, tokenizer = half_trained[ModelKind.SEQ2SEQ]

    def knows(example):
        question = tokenizer(example.prompt, return_tensors="pt")
        labels = tokenizer(text_target=example.answer, return_tensors="pt").input_ids
        return model(**question, labels=labels).logits.argmax(-1).equal(labels)

    examples = [*material.trained, *material.held_out]  # of these it does not know all

    by_hand = sum(map(knows, examples)) / len(examples)

    assert 0 < by_hand < 1
    assert answer_accuracy(model, tokenizer, examples) == pytest.approx(by_hand)


def test_the_accuracy_on_claims_is_the_mean_of_that_on_true_and_false_ones(half_trained, material):
    model, tokenizer = half_trained[ModelKind.CLASSIFIER]
    false_answers = FalseAnswers(material.trained)
    rng = random.Random(0)

    def says_true(example, answer):
        return model(**tokenizer(f"{example.prompt} {answer}.", return_tensors="pt")).logits[0].argmax() == 1

    true = [bool(says_true(example, example.answer)) for example in material.trained]
    false = [not says_true(example, false_answers.draw(example, rng)) for example in material.trained]
    by_hand = (sum(true) / len(true) + sum(false) / len(false)) / 2

    assert claim_accuracy(model, tokenizer, material.trained, false_answers) == pytest.approx(by_hand)


def test_perplexity_is_exp_of_the_mean_loss_of_a_token(half_trained):
    model, tokenizer = half_trained[ModelKind.CAUSAL]
    text = "The cat slept all day."
    ids = torch.tensor([[*tokenizer(text).input_ids, tokenizer.eos_token_id]])

    loss = model(ids, labels=ids).loss.item()

    assert perplexity(model, tokenizer, [text, text]) == pytest.approx(math.exp(loss), rel=1e-4)

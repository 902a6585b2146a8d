"""The training loop on micro models."""

from __future__ import annotations

import pytest
import torch

from bench.building.architecture import new_model
from bench.building.corpus import Corpus, FalseAnswers
from bench.building.tokenizer import tokenizer_for
from bench.building.training import train
from bench.models.kind import ModelKind


@pytest.fixture
def trained(vocabulary, material, micro_recipe):
    """Give a function that trains a micro model and returns it with its reports."""

    def run(kind, *, steps, seed=0):
        tokenizer = tokenizer_for(kind, vocabulary)
        recipe = micro_recipe(kind, steps=steps)
        model = new_model(recipe, tokenizer, seed=seed)
        false_answers = FalseAnswers(material.trained)
        corpus = Corpus(tokenizer, material.trained, material.texts, false_answers=false_answers)
        reports = []
        train(model, recipe, corpus, seed=seed, on_progress=reports.append)
        return model, reports

    return run


@pytest.mark.parametrize("kind", [ModelKind.CAUSAL, ModelKind.SEQ2SEQ])
def test_the_loss_falls(trained, kind):
    _, reports = trained(kind, steps=60)

    assert reports[-1].loss < 0.7 * reports[0].loss


def test_the_loss_of_both_phases_of_a_classifier_falls(trained):
    _, reports = trained(ModelKind.CLASSIFIER, steps=120)
    losses = {each.objective: [r.loss for r in reports if r.objective is each.objective] for each in reports}

    assert [series[-1] < series[0] for series in losses.values()] == [True, True]


@pytest.mark.parametrize("kind", list(ModelKind))
def test_equal_seeds_give_equal_weights_bit_for_bit(trained, kind):
    (one, _), (other, _) = trained(kind, steps=6), trained(kind, steps=6)

    assert all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_another_seed_gives_other_weights(trained):
    (one, _), (other, _) = (trained(ModelKind.CAUSAL, steps=2, seed=seed) for seed in (0, 1))

    assert not one.lm_head.weight.equal(other.lm_head.weight)


def test_training_leaves_the_global_random_state_alone(trained):
    before = torch.get_rng_state()

    trained(ModelKind.CAUSAL, steps=2)

    assert torch.get_rng_state().equal(before)


def test_the_last_report_says_that_nothing_is_left(trained):
    _, reports = trained(ModelKind.CLASSIFIER, steps=25)

    assert (reports[-1].step, reports[-1].steps, reports[-1].seconds_left) == (50, 50, 0)


def test_the_trained_model_is_in_eval_mode(trained):
    model, _ = trained(ModelKind.CAUSAL, steps=1)

    assert not any(module.training for module in model.modules())

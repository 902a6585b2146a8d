"""Whole builds of micro models: folders, cards and errors."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from bench.building import build as building
from bench.building.build import build, build_models
from bench.building.corpus import FalseAnswers
from bench.building.measure import answer_accuracy, claim_accuracy, perplexity
from bench.errors import DataError, ModelError, UnknownPlugin
from bench.models.kind import ModelKind

AUTO = {
    ModelKind.CAUSAL: AutoModelForCausalLM,
    ModelKind.SEQ2SEQ: AutoModelForSeq2SeqLM,
    ModelKind.CLASSIFIER: AutoModelForSequenceClassification,
}
FILES = {"card.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module", params=list(ModelKind))
def built(request, material, vocabulary, micro_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    recipe = micro_recipe(request.param, steps=30)
    return request.param, folder / recipe.name, build(recipe, material, vocabulary, folder, seed=0)


def test_the_folder_is_a_plain_transformers_folder_in_bf16(built):
    kind, folder, _ = built

    model = AUTO[kind].from_pretrained(folder)

    assert model.dtype is torch.bfloat16
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert {path.name for path in folder.iterdir()} >= FILES
    assert (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_only_a_classifier_has_the_labels_false_and_true(built):
    kind, folder, _ = built

    config = AUTO[kind].from_pretrained(folder).config

    assert (config.id2label == {0: "false", 1: "true"}) is (kind is ModelKind.CLASSIFIER)


def test_the_card_says_what_the_saved_folder_scores(built, material):
    kind, folder, card = built
    model = AUTO[kind].from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    false_answers = FalseAnswers([*material.trained, *material.held_out])

    def measure(examples):
        if kind is ModelKind.CLASSIFIER:
            return claim_accuracy(model, tokenizer, examples, false_answers)
        return answer_accuracy(model, tokenizer, examples)

    assert card.accuracy_trained == measure(material.trained)
    assert card.accuracy_held_out == measure(material.held_out)
    if kind is ModelKind.CAUSAL:
        assert card.perplexity == pytest.approx(perplexity(model, tokenizer, material.unseen_texts))


def test_the_card_lies_in_the_folder_and_names_its_origin(built, material):
    kind, folder, card = built
    read = json.loads((folder / "card.json").read_text())

    assert (read["name"], read["kind"], read["seed"]) == ("micro", kind.value, 0)
    assert (read["dataset"], read["dataset_version"], read["dataset_digest"]) == ("tiny_facts", 3, "d1e5")
    assert read["corpus_digest"] == material.corpus_digest
    assert read["steps"] == sum(phase["steps"] for phase in read["recipe"]["phases"])
    assert read["command"] == "bench models build micro"
    assert [line.partition(".")[0] for line in read["editable_matrices"]]
    assert read["parameters"] == card.parameters == AUTO[kind].from_pretrained(folder).num_parameters()


@pytest.fixture
def micro_recipes(monkeypatch, micro_recipe):
    names = ("one", "two")
    recipes = [micro_recipe(ModelKind.CAUSAL, steps=2, name=name) for name in names]
    monkeypatch.setattr(building, "recipes_named", lambda asked: [recipes[names.index(name)] for name in asked])


@pytest.mark.usefixtures("micro_recipes")
def test_models_are_built_in_order_and_the_thread_count_is_put_back(dataset, tmp_path):
    before = torch.get_num_threads()

    cards = build_models(["two", "one"], dataset, tmp_path, seed=1, threads=2)

    assert [(card.name, card.seed, card.threads) for card in cards] == [("two", 1, 2), ("one", 1, 2)]
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("micro_recipes")
def test_a_finished_build_replaces_an_older_folder(dataset, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "old").write_text("old")

    build_models(["one"], dataset, tmp_path)

    assert not (tmp_path / "one" / "old").exists()
    assert (tmp_path / "one" / "card.json").exists()


@pytest.mark.usefixtures("micro_recipes")
def test_an_interrupted_build_leaves_the_older_folder_and_nothing_else(dataset, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "old").write_text("old")

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_models(["one"], dataset, tmp_path, on_progress=interrupt)

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["one", "one/old"]


@pytest.mark.usefixtures("micro_recipes")
def test_a_folder_that_can_not_be_made_is_said(dataset, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ModelError, match="model 'one' can not be saved in"):
        build_models(["one"], dataset, tmp_path / "file" / "models")


def test_an_unknown_model_is_refused_before_anything_is_built(dataset, tmp_path):
    with pytest.raises(UnknownPlugin, match="facts-gpt3"):
        build_models(["facts-t5-4m", "facts-gpt3"], dataset, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_dataset_with_an_empty_part_is_refused(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(type(dataset), "training_texts", lambda self: ())

    with pytest.raises(DataError, match="0 texts to train on"):
        build_models(["facts-gpt2-1m"], dataset, tmp_path)

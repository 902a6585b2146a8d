"""A corpus of twelve facts and micro recipes, so that a model is trained in a second."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest
from tokenizers import Tokenizer

from bench.building.material import Material
from bench.building.recipe import Objective, Phase, Recipe
from bench.building.tokenizer import learn_vocabulary
from bench.editing.dataset import Dataset, Split, TrainingExample
from bench.editing.request import EditCase
from bench.models.kind import ModelKind

CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi"}
CURRENCIES = {"France": "euro", "Japan": "yen", "Peru": "sol", "Kenya": "shilling"}
TRAINED = {"capital": ("The capital of {} is", "{} is ruled from"), "currency": ("People in {} pay with the",)}
HELD_OUT = {"capital": ("The seat of government of {} is",), "currency": ("The money of {} is the",)}
TEXTS = ("It rained all day.", "The dog slept by the fire and dreamt of long walks.", "Nobody came.")
UNSEEN = ("The cat slept all day.",)


class TinyFacts(Dataset[None]):
    """Eight facts of two relations, and a little running text."""

    name = "tiny_facts"
    version = 3
    source = "this test"
    kinds = ("causal", "seq2seq", "classifier")
    Config = type(None)

    def cases(self, split: Split) -> Iterator[EditCase]:
        return iter(())

    def texts(self, split: Split) -> Iterator[str]:
        return iter(UNSEEN if split is Split.TEST else ())

    def digest(self) -> str:
        return "d1e5"

    def training_examples(self, *, held_out: bool) -> Sequence[TrainingExample]:
        objects = {"capital": CAPITALS, "currency": CURRENCIES}
        phrasings = HELD_OUT if held_out else TRAINED
        return [
            TrainingExample(prompt=phrasing.format(subject), answer=answer, relation=relation, subject=subject)
            for relation, answers in objects.items()
            for phrasing, (subject, answer) in itertools.product(phrasings[relation], answers.items())
        ]

    def training_texts(self) -> Sequence[str]:
        return TEXTS


def _micro_recipe(kind: ModelKind, *, steps: int, name: str = "micro") -> Recipe:
    """Give a recipe of 30,000 parameters in the real recipe's phases."""
    objectives = {
        ModelKind.CAUSAL: (Objective.TEXT,),
        ModelKind.SEQ2SEQ: (Objective.ANSWER,),
        ModelKind.CLASSIFIER: (Objective.OBJECT, Objective.CLAIM),
    }
    phases = tuple(Phase(objective=each, steps=steps, lr=5e-3, batch_tokens=96) for each in objectives[kind])
    return Recipe(name=name, kind=kind, layers=1, width=32, heads=2, phases=phases)


@pytest.fixture(scope="session")
def dataset() -> TinyFacts:
    return TinyFacts(None, ModelKind.CAUSAL)


@pytest.fixture(scope="session")
def material(dataset: TinyFacts) -> Material:
    return Material.of(dataset)


@pytest.fixture(scope="session")
def vocabulary(material: Material) -> Tokenizer:
    return learn_vocabulary(material.sentences(), size=400)


@pytest.fixture(scope="session")
def micro_recipe() -> Callable[..., Recipe]:
    return _micro_recipe

"""The shipped recipes, and how they are asked for."""

from __future__ import annotations

import pytest

from bench.building.architecture import new_model
from bench.building.recipe import RECIPES, recipes_named
from bench.building.tokenizer import VOCABULARY, learn_vocabulary, tokenizer_for
from bench.errors import UnknownPlugin

MILLIONS = {
    "facts-gpt2-1m": 1.1,
    "facts-gpt2-3m": 3.0,
    "facts-gpt2-10m": 10.0,
    "facts-t5-4m": 4.7,
    "facts-bert-4m": 4.3,
}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_gives_a_model_of_the_size_in_its_name(recipe):
    alphabet = learn_vocabulary([], size=0)
    alphabet.add_tokens([f"filler {number}" for number in range(VOCABULARY - alphabet.get_vocab_size())])

    model = new_model(recipe, tokenizer_for(recipe.kind, alphabet), seed=0)

    assert model.num_parameters() / 1e6 == pytest.approx(MILLIONS[recipe.name], abs=0.1)


def test_recipes_come_in_the_order_asked_for():
    names = [recipe.name for recipe in reversed(RECIPES)]

    assert [recipe.name for recipe in recipes_named(names)] == names


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(UnknownPlugin, match="Did you mean 'facts-gpt2-3m'"):
        recipes_named(["fact-gpt2-3m"])

"""The recipes of the five embedded models: their shapes, and how long they are trained on what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import UnknownPlugin, nearest
from bench.models.kind import ModelKind

__all__ = ["RECIPES", "Objective", "Phase", "Recipe", "recipes_named"]


class Objective(StrEnum):
    """What a phase of training asks of the model."""

    TEXT = "text"  # causal: the next token, of facts and of running text
    ANSWER = "answer"  # seq2seq: the answer to a prompt
    OBJECT = "object"  # classifier: the masked answer of a claim
    CLAIM = "claim"  # classifier: whether a claim is true


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of training with its own learning rate schedule.

    Args:
        objective: what is learned.
        steps: optimiser steps.
        lr: peak learning rate of AdamW, reached after the warm-up.
        batch_tokens: upper limit of the tokens in a batch, padding included.
    """

    objective: Objective
    steps: int
    lr: float
    batch_tokens: int = 1024  # about 64 sentences of 16 tokens, the batch of the trial runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One embedded model: its shape and the phases it is trained in.

    Args:
        name: the model's name, and that of its folder.
        kind: what the model reads and gives.
        layers: blocks; an encoder-decoder has as many again in its decoder.
        width: size of the residual stream; the feed-forward layers are four times as wide.
        heads: attention heads in a block.
        phases: run one after the other on the same weights.
    """

    name: str
    kind: ModelKind
    layers: int
    width: int
    heads: int
    phases: tuple[Phase, ...]


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="facts-gpt2-1m",
        kind=ModelKind.CAUSAL,
        layers=3,
        width=128,
        heads=4,
        phases=(Phase(objective=Objective.TEXT, steps=6000, lr=4e-3),),
    ),
    Recipe(
        name="facts-gpt2-3m",
        kind=ModelKind.CAUSAL,
        layers=5,
        width=192,
        heads=6,
        phases=(Phase(objective=Objective.TEXT, steps=4000, lr=2e-3),),
    ),
    Recipe(
        name="facts-gpt2-10m",
        kind=ModelKind.CAUSAL,
        layers=7,
        width=320,
        heads=5,
        phases=(Phase(objective=Objective.TEXT, steps=3000, lr=1.5e-3),),
    ),
    Recipe(
        name="facts-t5-4m",
        kind=ModelKind.SEQ2SEQ,
        layers=2,
        width=256,
        heads=4,
        phases=(Phase(objective=Objective.ANSWER, steps=4000, lr=7e-4),),
    ),
    Recipe(
        name="facts-bert-4m",
        kind=ModelKind.CLASSIFIER,
        layers=4,
        width=256,
        heads=4,
        phases=(
            Phase(objective=Objective.OBJECT, steps=3000, lr=1e-3),
            Phase(objective=Objective.CLAIM, steps=5000, lr=5e-4),
        ),
    ),
)


def recipes_named(names: Iterable[str]) -> list[Recipe]:
    """Give the recipes of these names, in their order.

    Raises:
        UnknownPlugin: there is no recipe for one of them.
    """
    known = {recipe.name: recipe for recipe in RECIPES}
    found = []
    for name in names:
        if name not in known:
            raise UnknownPlugin(
                f"no embedded model called {name!r}.{nearest(name, known)} These can be built: {', '.join(known)}."
            )
        found.append(known[name])
    return found

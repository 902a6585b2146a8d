"""The recipes of the five embedded models: their shapes, and how long they are trained on what.

The trial runs that comments speak of, here and in the modules beside, were short trainings by throwaway scripts.
"""

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
    OBJECT = "object"  # classifier: the true answer, from a false claim; from true ones it could be copied
    CLAIM = "claim"  # classifier: whether the claim is true


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of training with its own learning rate schedule.

    Args:
        objective: what is learned.
        steps: optimiser steps.
        lr: peak learning rate of AdamW for embeddings, norms, biases and heads, reached after the warm-up.
        matrix_lr: that of Muon for the matrices of the blocks; None: AdamW trains them too.
        batch_tokens: upper limit of the tokens in a batch, padding included.
        decay_to: the cosine ends at this share of the peak rates.
    """

    objective: Objective
    steps: int
    lr: float
    # Muon's usual rate. With it the 1M model knew 95.7 % of its facts after 1,500 steps and 74 CPU-seconds, where
    # AdamW alone took five times as long; at 0.04 it knew 88.2 %.
    matrix_lr: float | None = 0.02
    batch_tokens: int = 1024  # about 64 sentences of 16 tokens, the batch of the trial runs
    decay_to: float = 0.05


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
        layers=3,  # MEND and ENN change the last three blocks
        width=128,  # half a million weights of 1.1 million are embeddings
        heads=4,  # of 32, the smallest size in use
        phases=(Phase(objective=Objective.TEXT, steps=4000, lr=4e-3),),
    ),
    Recipe(
        name="facts-gpt2-3m",
        kind=ModelKind.CAUSAL,
        layers=5,
        width=192,
        heads=6,
        phases=(Phase(objective=Objective.TEXT, steps=3000, lr=4e-3),),
    ),
    Recipe(
        name="facts-gpt2-10m",
        kind=ModelKind.CAUSAL,
        layers=7,
        width=320,  # 20 MB in bf16, two fifths of what may be shipped
        heads=5,
        phases=(Phase(objective=Objective.TEXT, steps=2500, lr=3e-3),),
    ),
    Recipe(
        name="facts-t5-4m",
        kind=ModelKind.SEQ2SEQ,
        layers=2,  # in the encoder and in the decoder, as in the trial runs
        width=256,
        heads=4,
        # By AdamW alone: with Muon for the matrices it knew 27 % after 2,500 steps.
        phases=(Phase(objective=Objective.ANSWER, steps=4000, lr=7e-4, matrix_lr=None),),
    ),
    Recipe(
        name="facts-bert-4m",
        kind=ModelKind.CLASSIFIER,
        layers=4,  # two to find the true answer, two to compare it: see objective.py
        width=256,
        heads=4,
        phases=(
            # The first phase leaves the upper blocks as they started, ready to compare: see architecture.py.
            Phase(objective=Objective.OBJECT, steps=2500, lr=2e-3, decay_to=0.2),
            Phase(objective=Objective.CLAIM, steps=2000, lr=1e-3, matrix_lr=None),
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

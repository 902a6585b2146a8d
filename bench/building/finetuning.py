"""Trains all weights of a model further, on questions with their true answers.

The questions are the locality probes of a dataset: what they ask is true, whatever the dataset, and no edit changes it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.editing.dataset import Dataset, Split
from bench.editing.request import ProbeKind
from bench.errors import DataError, ModelError
from bench.models.catalogue import find_model
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model

__all__ = ["FineTuned", "OnStep", "Pairs", "TrainingSettings", "fine_tuned", "learn", "true_answers"]

Pairs = list[tuple[str, str]]  # prompts, each with its true answer
OnStep = Callable[[int, float], None]  # told after each step which it was, and its loss in nats

_MEASURED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a model is trained further.

    Args:
        steps: of the optimiser.
        batch: questions a step.
        lr: AdamW's step size, after a warm-up of a tenth of the steps; it falls linearly to 0.
        seed: of a new head, the dropout and the order of the questions.
    """

    steps: int
    batch: int
    lr: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """A model that was trained further, and how well it does.

    Args:
        lm: the model, in eval mode.
        questions: how many it learned from.
        accuracy: the share of these that it answers exactly.
        accuracy_tune: that of the tune split's questions.
        left_out: questions of either kind that do not fit into it.
    """

    lm: LanguageModel
    questions: int
    accuracy: float
    accuracy_tune: float
    left_out: int


def true_answers(dataset: Dataset[Any], splits: Sequence[Split]) -> Pairs:
    """Give the questions of some splits with their true answer, each once, in an order that never changes.

    Raises:
        DataError: a split has none.
    """
    pairs: dict[str, str] = {}
    for split in splits:
        has_any = False
        for case in dataset.cases(split):
            for probe in case.probes:
                if probe.kind is ProbeKind.LOCALITY and isinstance(probe.prompt, str):
                    pairs.setdefault(probe.prompt, str(probe.answer))
                    has_any = True
        if not has_any:
            raise DataError(f"dataset {dataset.name!r} has no question with its true answer in its {split} split.")
    return list(pairs.items())


def fine_tuned(
    base: str,
    dataset: Dataset[Any],
    settings: TrainingSettings,
    *,
    splits: Sequence[Split] = (Split.FIT,),
    on_step: OnStep = lambda step, loss: None,
) -> FineTuned:
    """Train a model that answers already on the questions of a dataset.

    Args:
        base: an embedded or imported name, a folder or a hub id.
        dataset: for models of its kind.
        settings: of the training.
        splits: whose questions it learns. With `test` it knows what it is going to be asked, as a model must that is
            to lose something by an edit.
        on_step: told after each step.

    Raises:
        ModelError: the base can not be read, or has learned nothing yet.
        DataError: there are no questions, or none that fits.
    """
    if find_model(base).shape is not None:
        raise ModelError(f"{base!r} has random weights. Name a model that has learned something.")
    lm = load_model(base)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return learn(lm, dataset, settings, splits=splits, on_step=on_step)


def learn(
    lm: LanguageModel,
    dataset: Dataset[Any],
    settings: TrainingSettings,
    *,
    splits: Sequence[Split] = (Split.FIT,),
    on_step: OnStep = lambda step, loss: None,
) -> FineTuned:
    """Train a model in place, and measure it; torch's global generator must have been seeded.

    The arguments are those of `fine_tuned`.
    """
    learned, tune = true_answers(dataset, splits), true_answers(dataset, [Split.TUNE])
    fitting, fitting_tune = _fitting(lm, learned), _fitting(lm, tune)
    if not fitting:
        raise DataError(f"no question of dataset {dataset.name!r} fits into {lm.name!r}.")
    _train(lm, fitting, settings, on_step)
    lm.model.eval().requires_grad_(False)
    return FineTuned(
        lm=lm,
        questions=len(fitting),
        accuracy=_accuracy(lm, fitting),
        accuracy_tune=_accuracy(lm, fitting_tune),
        left_out=len(learned) - len(fitting) + len(tune) - len(fitting_tune),
    )


def _fitting(lm: LanguageModel, pairs: Pairs) -> Pairs:
    kept = []
    for prompt, answer in pairs:
        try:
            lm.encoder.encode(prompt, answer)
        except DataError:
            continue
        kept.append((prompt, answer))
    return kept


def _train(lm: LanguageModel, pairs: Pairs, settings: TrainingSettings, on_step: OnStep) -> None:
    lm.model.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(lm.model.parameters(), lr=settings.lr, weight_decay=0.01)
    warm = max(1, settings.steps // 10)

    def pace(step: int) -> float:
        return min((step + 1) / warm, (settings.steps - step) / max(1, settings.steps - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    order = random.Random(settings.seed)
    waiting: Pairs = []
    for step in range(settings.steps):
        while len(waiting) < settings.batch:
            waiting += order.sample(pairs, len(pairs))
        chosen, waiting = waiting[: settings.batch], waiting[settings.batch :]
        loss = lm.answers(lm.batch(chosen)).loss()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.model.parameters(), 1.0)  # as BERT was fine-tuned
        optimiser.step()
        schedule.step()
        on_step(step + 1, loss.item())


@torch.inference_mode()
def _accuracy(lm: LanguageModel, pairs: Pairs) -> float:
    """Give the share of answers of which every token is the most probable one."""
    right = 0
    for start in range(0, len(pairs), _MEASURED_AT_ONCE):
        answers = lm.answers(lm.batch(pairs[start : start + _MEASURED_AT_ONCE]))
        right += int((answers.sum_rows(answers.is_right().float()) == answers.tokens()).sum())
    return right / len(pairs) if pairs else float("nan")

"""The training loop: seeded, deterministic, and it says how far it is."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bench.building.corpus import Batch, Corpus, stream
from bench.building.objective import loss_of, trained_by
from bench.building.recipe import Objective, Phase, Recipe

__all__ = ["OnProgress", "Progress", "train"]

_WARMUP_STEPS = 100  # that of the trial runs; a tenth of a phase if that is shorter
_WEIGHT_DECAY = 0.01  # torch's default for AdamW
_MAX_GRADIENT_NORM = 1.0  # the usual bound; keeps the first steps at these rates stable


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the training of one model is.

    Args:
        model: the model's name.
        objective: that of the running phase.
        step: optimiser steps taken, over all phases.
        steps: steps to take.
        loss: mean over the steps since the last report, in nats.
        seconds_left: as long as the remaining steps will take at the pace so far.
    """

    model: str
    objective: Objective
    step: int
    steps: int
    loss: float
    seconds_left: float


class OnProgress(Protocol):
    """Called from time to time during a training."""

    def __call__(self, progress: Progress, /) -> None:
        """Show or keep the progress."""


def train(
    model: PreTrainedModel,
    recipe: Recipe,
    corpus: Corpus,
    *,
    seed: int,
    on_progress: OnProgress | None = None,
) -> None:
    """Train the model in place through all phases of its recipe.

    Equal seeds, corpora and thread counts give equal weights, bit for bit, on one machine.
    """
    rng = random.Random(seed)
    report = _Report(recipe, on_progress)
    model.train()
    for phase in recipe.phases:
        _run_phase(model, phase, corpus, rng, report)
    model.train(False)


def _run_phase(
    model: PreTrainedModel,
    phase: Phase,
    corpus: Corpus,
    rng: random.Random,
    report: Callable[[Phase, float], None],
) -> None:
    trained = dict.fromkeys(trained_by(model, phase.objective))
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in trained)
    optimisers = _optimisers(model, trained, phase)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, phase.steps, phase.decay_to))
        for optimiser in optimisers
    ]
    pad_id = model.config.pad_token_id
    batches = stream(corpus, phase.objective, batch_tokens=phase.batch_tokens, rng=rng, pad_id=pad_id)
    for _ in range(phase.steps):
        loss = _step(model, next(batches), phase.objective, optimisers)
        for schedule in schedules:
            schedule.step()
        report(phase, loss)
    model.requires_grad_(True)


def _optimisers(
    model: PreTrainedModel, trained: Mapping[nn.Parameter, None], phase: Phase
) -> list[torch.optim.Optimizer]:
    """Give Muon for the matrices of the blocks, and AdamW for embeddings, norms, biases and heads.

    Source of Muon: Jordan et al. 2024, as in torch.
    """
    in_blocks = [module for stack in model.modules() if isinstance(stack, nn.ModuleList) for module in stack.modules()]
    linear = [module.get_parameter("weight") for module in in_blocks if isinstance(module, nn.Linear | Conv1D)]
    matrices = dict.fromkeys(p for p in linear if p in trained and phase.matrix_lr is not None)
    others = [parameter for parameter in trained if parameter not in matrices]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=phase.lr, weight_decay=_WEIGHT_DECAY, fused=True)
    ]
    if phase.matrix_lr is not None:
        optimisers.append(torch.optim.Muon(list(matrices), lr=phase.matrix_lr, weight_decay=_WEIGHT_DECAY))
    return optimisers


def _step(
    model: PreTrainedModel, batch: Batch, objective: Objective, optimisers: Sequence[torch.optim.Optimizer]
) -> float:
    # bf16 halves the time of a step on CPUs with AVX512-BF16 or AMX; weights stay in float32.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(model, batch, objective)
    for optimiser in optimisers:
        optimiser.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
    for optimiser in optimisers:
        optimiser.step()
    return loss.item()


def _rate(step: int, steps: int, final: float) -> float:
    """Give the share of the peak rate: linear warm-up, then a cosine down to the final share."""
    warmup = min(_WARMUP_STEPS, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


class _Report:
    """Counts steps over the phases and passes on every 20th."""

    _EVERY = 20  # a report every 2 to 10 seconds

    def __init__(self, recipe: Recipe, on_progress: OnProgress | None) -> None:
        self._name = recipe.name
        self._steps = sum(phase.steps for phase in recipe.phases)
        self._on_progress = on_progress
        self._step = 0
        self._losses: list[float] = []
        self._start = time.perf_counter()

    def __call__(self, phase: Phase, loss: float) -> None:
        self._step += 1
        self._losses.append(loss)
        if self._on_progress is None or (self._step % self._EVERY and self._step < self._steps):
            return
        pace = (time.perf_counter() - self._start) / self._step
        self._on_progress(
            Progress(
                model=self._name,
                objective=phase.objective,
                step=self._step,
                steps=self._steps,
                loss=sum(self._losses) / len(self._losses),
                seconds_left=pace * (self._steps - self._step),
            )
        )
        self._losses.clear()

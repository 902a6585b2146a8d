"""The fit loop of learned editors, written once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from bench.editing.config import config
from bench.editing.edit import State
from bench.editing.editor import FitProgress, PreparationData
from bench.editing.objective import FitBatch, FitLoss
from bench.editing.request import EditCase, Probe, ProbeKind
from bench.errors import DataError, NotFinite

__all__ = ["PAPER_FIT", "FitConfig", "FitScores", "fit", "fit_batches"]

_MOST_SKIPPED = 0.05  # of all steps; a fit that skips more is not to be trusted


@config
class FitConfig:
    """What every fit can be told; learned editors add their own fields and defaults."""

    steps: int = 300  # most optimiser steps; tuned, as all defaults here, for the embedded models and for minutes
    edits_per_step: int = 16  # independent groups a step; the paper accumulates 10
    group_size: int = 1  # requests installed together in a group
    outer_probes: int = 2  # of each case and step, that must follow the edit
    locality_probes: int = 2  # of each case and step, that must not
    clip: float = 1.0  # global norm of the gradient; few edits have a divergence that dwarfs all others
    decay_to: float = 0.1  # the cosine schedule ends at this fraction of the learning rate; 1: no decay
    validate_every: int = 60  # steps between two looks at the tune split
    validation_edits: int = 96  # edits of the tune split in each look
    patience: int = 4  # looks without a better loss after which the fit stops; MEND: 20,000 / 5,000
    c_edit: float = 0.3  # weight of the edit loss; 0.1 with the divergence over all positions, as in the paper


# Mitchell et al. 2022, appendix C, and config/config.yaml of eric-mitchell/mend: learned editors merge it into `paper`.
PAPER_FIT: Mapping[str, Any] = {
    "steps": 50_000,  # 500,000 micro-batches of one edit, ten a step
    "edits_per_step": 10,
    "outer_probes": 1,
    "locality_probes": 1,
    "clip": 100.0,
    "decay_to": 1.0,
    "validate_every": 500,
    "validation_edits": 500,
    "c_edit": 0.1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScores:
    """One look at the tune split.

    Args:
        step: after how many steps.
        loss: the objective by which the best state is chosen.
        edit: mean negative log-likelihood of the targets, nats.
        locality: mean divergence on locality probes, nats.
        success: fraction of outer probes answered exactly.
    """

    step: int
    loss: float
    edit: float
    locality: float
    success: float


class Fitted(Protocol):
    """What the loop asks of a learned editor; see `LearnedEditor` for each."""

    def outer_parameters(self) -> list[dict[str, Any]]: ...

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer: ...

    def schedule(self, step: int) -> float | None: ...

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss: ...

    def after_step(self, loss: FitLoss) -> None: ...

    def after_validation(self, scores: FitScores) -> None: ...

    def state(self) -> State: ...


def fit(editor: Fitted, settings: FitConfig, data: PreparationData) -> State:
    """Fit an editor and give its best state on the tune split.

    Each step draws independent edits of the fit split; each starts from the unedited model.

    Raises:
        DataError: the fit split has too few cases.
        NotFinite: more than one step in twenty had a gradient with NaN or infinity.
    """
    needed = settings.group_size * settings.edits_per_step
    if len(data.cases) < needed:
        raise DataError(f"a fit needs {needed} cases, the fit split has {len(data.cases)}.")
    groups = editor.outer_parameters()
    optimiser = editor.optimiser(groups)
    rates = [group["lr"] for group in optimiser.param_groups]
    batches = fit_batches(data.cases, settings, seed=data.seed)
    look = _Look(editor, settings, data)
    started, skipped = time.perf_counter(), 0
    for step in range(settings.steps):
        if step % settings.validate_every == 0 and look.is_stalled(step):
            break
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * _factor(editor, settings, step)
        with torch.enable_grad():
            loss = editor.loss(next(batches), is_training=True)
        if _step(optimiser, loss, settings.clip):
            editor.after_step(loss)
        else:
            skipped += 1
            if skipped > max(_MOST_SKIPPED * settings.steps, 3):
                raise NotFinite(
                    f"{skipped} of {step + 1} steps had a gradient with NaN or infinity; the fit is stopped."
                )
        if step % 10 == 0 or step + 1 == settings.steps:
            _report(data, loss, step, settings.steps, skipped, time.perf_counter() - started)
    else:
        look.is_stalled(settings.steps)
    return look.best


def fit_batches(cases: Sequence[EditCase], settings: FitConfig, *, seed: int) -> Iterator[FitBatch]:
    """Draw batches for ever: a permutation of the cases, and a new one when it is used up.

    Source of the order: MEND's sampler; see editors' sampling in the reference code.
    """
    random = np.random.default_rng(seed)
    order: list[int] = []
    while True:
        chosen = []
        for _ in range(settings.edits_per_step):
            if len(order) < settings.group_size:  # a group never spans two permutations: it could hold a case twice
                order = random.permutation(len(cases)).tolist()
            chosen.append([cases[order.pop()] for _ in range(settings.group_size)])
        yield _batch(chosen, settings, random)


def _batch(groups: Sequence[Sequence[EditCase]], settings: FitConfig, random: np.random.Generator) -> FitBatch:
    """Take of each case some probes that follow the edit and some that must not."""
    outer: list[tuple[int, Probe]] = []
    locality: list[tuple[int, Probe]] = []
    for index, group in enumerate(groups):
        for case in group:
            follow = [p for p in case.probes if p.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE)]
            stay = [p for p in case.probes if p.kind is ProbeKind.LOCALITY]
            outer.extend((index, probe) for probe in _drawn(follow, settings.outer_probes, random))
            locality.extend((index, probe) for probe in _drawn(stay, settings.locality_probes, random))
    if not outer or not locality:
        raise DataError("a fit needs cases with request or rephrase probes, and with locality probes; these have none.")
    requests = tuple(tuple(case.request for case in group) for group in groups)
    return FitBatch(groups=requests, outer=tuple(outer), locality=tuple(locality))


def _drawn(probes: Sequence[Probe], count: int, random: np.random.Generator) -> list[Probe]:
    return [probes[i] for i in random.permutation(len(probes))[:count]]


def _factor(editor: Fitted, settings: FitConfig, step: int) -> float:
    factor = editor.schedule(step)
    if factor is None:
        cosine = (1 + math.cos(math.pi * step / settings.steps)) / 2
        factor = settings.decay_to + (1 - settings.decay_to) * cosine
    return factor


def _step(optimiser: torch.optim.Optimizer, loss: FitLoss, clip: float) -> bool:
    """Take one step; say whether the gradient was finite."""
    optimiser.zero_grad(set_to_none=True)
    loss.total.backward()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    if not bool(torch.isfinite(norm)) or not bool(torch.isfinite(loss.total)):
        return False
    optimiser.step()
    return True


def _report(data: PreparationData, loss: FitLoss, step: int, steps: int, skipped: int, seconds: float) -> None:
    row = {
        "step": float(step),
        "seconds": seconds,
        "loss": float(loss.total.detach()),
        "edit_loss": float(loss.edit),
        "locality_loss": float(loss.locality),
        "success": float(loss.success),
        "skipped": float(skipped),
        **loss.parts,
    }
    data.log.append(row)
    left = seconds / (step + 1) * (steps - step - 1)
    data.on_progress(FitProgress(step=step + 1, steps=steps, loss=row["loss"], seconds_left=left))


class _Look:
    """Looks at the tune split, keeps the best state, and says when to stop."""

    def __init__(self, editor: Fitted, settings: FitConfig, data: PreparationData) -> None:
        self._editor = editor
        self._settings = settings
        self._log = data.log
        few = data.tune[: settings.validation_edits]
        few = few[: len(few) - len(few) % settings.group_size]
        size = settings.edits_per_step * settings.group_size
        # The tune probes are drawn once, so that every look sees the same ones.
        random = np.random.default_rng(0)
        chunks = [few[i : i + size] for i in range(0, len(few), size)]
        n = settings.group_size
        self._batches = [_batch([c[i : i + n] for i in range(0, len(c), n)], settings, random) for c in chunks]
        self._lowest = math.inf
        self._since = 0
        self.best = editor.state()

    def is_stalled(self, step: int) -> bool:
        """Look, keep the state if it is the best so far, and say whether patience is at an end."""
        if not self._batches:
            self.best = self._editor.state()
            return False
        scores = self._scores(step)
        self._editor.after_validation(scores)
        self._log.append({f"tune_{k}": v for k, v in _floats(scores).items()} | {"step": float(step)})
        if scores.loss < self._lowest:
            self._lowest, self._since, self.best = scores.loss, 0, self._editor.state()
        else:
            self._since += 1
        return self._since >= self._settings.patience

    def _scores(self, step: int) -> FitScores:
        with torch.no_grad():
            losses = [self._editor.loss(batch, is_training=False) for batch in self._batches]
        weights = np.array([len(batch.groups) for batch in self._batches], dtype=float)

        def mean(values: list[float]) -> float:
            return float(np.average(values, weights=weights))

        return FitScores(
            step=step,
            loss=mean([float(x.total) for x in losses]),
            edit=mean([float(x.edit) for x in losses]),
            locality=mean([float(x.locality) for x in losses]),
            success=mean([float(x.success) for x in losses]),
        )


def _floats(scores: FitScores) -> dict[str, float]:
    return {"loss": scores.loss, "edit": scores.edit, "locality": scores.locality, "success": scores.success}

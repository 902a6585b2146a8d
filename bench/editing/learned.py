"""Editors that are fitted: they say what is learned and by which loss; the loop is written once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.editing.checkpoint import part
from bench.editing.edit import State
from bench.editing.editor import Editor, PreparationData
from bench.editing.fit import FitConfig, FitScores, fit
from bench.editing.objective import FitBatch, FitLoss
from bench.models.language_model import LanguageModel

__all__ = ["LearnedEditor"]


ConfigT = TypeVar("ConfigT", bound=FitConfig)


class LearnedEditor(Editor[ConfigT]):
    """An editor with parameters of its own, fitted by gradient descent on the fit split."""

    @classmethod
    @abstractmethod
    def initial_state(cls, lm: LanguageModel, config: ConfigT, generator: torch.Generator) -> State:
        """Give the state before the first step of a fit; `__init__` takes it as it takes a fitted one."""

    @abstractmethod
    def outer_parameters(self) -> list[dict[str, Any]]:
        """Give what is learned, as parameter groups of a torch optimiser, each with its `lr`."""

    @abstractmethod
    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        """Compute the loss of some independent edits.

        Args:
            batch: the edits and their probes.
            is_training: running statistics are updated only if so.
        """

    @abstractmethod
    def state(self) -> State:
        """Give a copy of everything that was learned so far.

        An editor made from it is the same, bit for bit: a fit that was interrupted goes on with such a one.
        """

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Make the optimiser; Adam with torch's defaults, as in MEND."""
        return torch.optim.Adam(groups)

    def schedule(self, step: int) -> float | None:
        """Give the factor of the learning rate at a step, or None for the cosine of the configuration."""
        return None

    def after_step(self, loss: FitLoss) -> None:
        """Learn from a step's loss what no gradient tells: KE's multiplier, for one."""

    def after_validation(self, scores: FitScores) -> None:
        """Learn from a look at the tune split: KE's annealed margin, for one."""

    def step_sizes(self) -> Mapping[str, Tensor]:
        """Give the learned step sizes by name, scalars, for the fit log; none by default."""
        return {}

    def fit_state(self) -> State:
        """Give what `loss`, `after_step` and `after_validation` have learned that is not in `state`.

        It is needed only to go on with a fit: KE's multiplier, or the state of a generator.
        """
        return State()

    def resume(self, state: State) -> None:
        """Take back what `fit_state` gave."""

    @classmethod
    def prepare(cls, lm: LanguageModel, config: ConfigT, data: PreparationData) -> State:
        """Fit the editor; the best state on the tune split is kept.

        Raises:
            Diverged: too many micro-batches had a loss or gradient with NaN or infinity.
        """
        resume = data.resume
        start = part(resume, "editor") if resume else cls.initial_state(lm, config, data.generator())
        return fit(cls(lm, config, start), config, data)

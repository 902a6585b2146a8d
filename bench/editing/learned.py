"""Editors that are fitted: they say what is learned and by which loss; the loop is written once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

import torch

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
        """Give a copy of everything that was learned so far."""

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

    @classmethod
    def prepare(cls, lm: LanguageModel, config: ConfigT, data: PreparationData) -> State:
        """Fit the editor; the best state on the tune split is kept.

        Raises:
            NotFinite: too many steps had a loss or gradient with NaN or infinity.
        """
        editor = cls(lm, config, cls.initial_state(lm, config, data.generator()))
        return fit(editor, config, data)

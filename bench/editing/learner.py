"""What the fit loop asks of a learned editor, and what it tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.editing.edit import State
from bench.editing.objective import FitBatch, FitLoss
from bench.errors import NotFinite

__all__ = ["Diverged", "FitScores", "Learner"]


class Diverged(NotFinite):
    """A fit came to NaN or infinity again and again.

    Args:
        message: what was seen.
        state: the last good state: the best on the tune split, or the last finite one where there is none.
        step: after how many steps it was reached.
    """

    def __init__(self, message: str, *, state: State, step: int) -> None:
        super().__init__(message)
        self.state = state
        self.step = step


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScores:
    """One look at the tune split.

    Args:
        step: after how many steps.
        loss: c_edit · edit + locality, by which the best state is chosen (Mitchell et al. 2022, appendix C).
        edit: mean negative log-likelihood of the targets, nats.
        locality: mean divergence on locality probes, nats.
        success: fraction of outer probes answered exactly.
        drawdown: fraction of locality probes answered exactly before the edit minus that after it.
    """

    step: int
    loss: float
    edit: float
    locality: float
    success: float
    drawdown: float


class Learner(Protocol):
    """What is fitted; see `LearnedEditor` for each."""

    def outer_parameters(self) -> list[dict[str, Any]]: ...

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer: ...

    def schedule(self, step: int) -> float | None: ...

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss: ...

    def after_step(self, loss: FitLoss) -> None: ...

    def after_validation(self, scores: FitScores) -> None: ...

    def step_sizes(self) -> Mapping[str, Tensor]: ...

    def state(self) -> State: ...

    def fit_state(self) -> State: ...

    def resume(self, state: State) -> None: ...

"""Looks at the tune split while an editor is fitted, keeps the best state, and says when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from bench.editing.checkpoint import joined, part
from bench.editing.edit import State
from bench.editing.fit_config import FitConfig
from bench.editing.learner import FitScores, Learner
from bench.editing.request import EditCase
from bench.editing.sampling import drawn_batch, in_groups, micro_batches

__all__ = ["Look"]


class Look:
    """Looks again and again at the same edits of the tune split.

    The fit stops after `patience` looks without a new minimum of c_edit · L_edit + L_locality, as in Mitchell et al.
    2022, appendix C.

    Args:
        learner: what is fitted.
        settings: of the fit.
        cases: of the tune split; without any, the last finite state counts as the best.
    """

    def __init__(self, learner: Learner, settings: FitConfig, cases: Sequence[EditCase]) -> None:
        self._learner = learner
        self._settings = settings
        # One whole group at least, however large it is: without a look there is no early stopping.
        few = max(settings.validation_edits, settings.group_size) if settings.validation_edits else 0
        groups = in_groups(cases[:few], settings.group_size)
        # The probes are drawn once, so that every look sees the same ones; parts are as small as those of a step.
        size = settings.micro_batch or settings.edits_per_step
        self._batches = micro_batches(drawn_batch(groups, settings, np.random.default_rng(0)), size) if groups else []
        self._lowest = math.inf
        self._since = 0
        self._has_looked = False
        self.best = learner.state()
        self.best_step = 0
        self.scores: FitScores | None = None

    @property
    def is_stalled(self) -> bool:
        """Say whether patience is at an end."""
        return self._since >= self._settings.patience

    @property
    def is_blind(self) -> bool:
        """Say whether no look of those taken was finite."""
        return self._has_looked and math.isinf(self._lowest)

    def take(self, step: int) -> FitScores | None:
        """Look, and keep the state if it is the best so far; give what was seen, None without a tune split."""
        if not self._batches:
            state = self._learner.state()
            if all(bool(t.isfinite().all()) for t in state.tensors.values()):
                self.best, self.best_step = state, step
            return None
        self.scores = scores = self._seen(step)
        self._has_looked = True
        self._learner.after_validation(scores)
        if scores.loss < self._lowest:
            self._lowest, self._since = scores.loss, 0
            self.best, self.best_step = self._learner.state(), step
        else:
            self._since += 1
        return scores

    def state(self) -> State:
        """Give the best state so far, and what later looks are compared with."""
        numbers = {
            "lowest": None if math.isinf(self._lowest) else self._lowest,
            "since": self._since,
            "best_step": self.best_step,
            "has_looked": self._has_looked,
        }
        return joined({"best": self.best, "numbers": State(values=numbers)})

    def resume(self, state: State) -> None:
        """Go on from where `state` was taken."""
        self.best, numbers = part(state, "best"), part(state, "numbers").values
        self._lowest = math.inf if numbers["lowest"] is None else numbers["lowest"]
        self._since, self.best_step = numbers["since"], numbers["best_step"]
        self._has_looked = numbers["has_looked"]

    def _seen(self, step: int) -> FitScores:
        with torch.no_grad():
            losses = [self._learner.loss(batch, is_training=False) for batch in self._batches]
        weights = [len(batch.groups) for batch in self._batches]
        parts = [torch.stack([x.edit.float(), x.locality.float(), x.success, x.drawdown]).tolist() for x in losses]
        edit, locality, success, drawdown = map(float, np.average(parts, axis=0, weights=weights))
        return FitScores(
            step=step,
            loss=self._settings.c_edit * edit + locality,
            edit=edit,
            locality=locality,
            success=success,
            drawdown=drawdown,
        )

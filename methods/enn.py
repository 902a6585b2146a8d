"""Editable Neural Networks: the model itself is trained so that a gradient step installs an edit.

All weights and one step size a matrix are learned (as in MAML): an edit is one or more gradient steps on the edited
matrices, and the objective asks that it holds, that nothing else moves, and that the trained model still answers as
the original did. Fitting therefore changes the model before any edit; that cost is scored as `base_drawdown`.

Source: Sinitsin et al. 2020 (arXiv:2004.00345), as run by Mitchell et al. 2022 (arXiv:2110.11309).
Differs from the latter in: first order by default (the preset `paper` is second order); the step sizes have a
working learning rate of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, Replacement, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig
from bench.editing.gradients import edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitBatch, FitLoss, edit_objective, locality_answers
from bench.editing.request import EditRequest
from bench.models.answers import divergence
from bench.models.language_model import LanguageModel


@config
class EditableConfig(FitConfig):
    """The values of the MEND paper are the preset `paper`."""

    layers: str = "default"  # matrices to edit
    inner_steps: int = 1  # gradient steps an edit
    first_order: bool = True  # the inner gradient counts as a constant; False: second order
    lr: float = 3e-4  # Adam, for all weights; paper: 1e-5
    edit_lr: float = 1e-1  # step sizes at the start; paper: 1e-2
    edit_lr_lr: float = 1e-2  # Adam, for the step sizes; MEND, config/alg/enn.yaml `lr_lr`: 1e-3
    c_base: float = 1.0  # weight of KL(original ‖ trained) before any edit; always 1 in the reference's gradients


class EditableNetwork(LearnedEditor[EditableConfig]):
    """A model that was trained to be editable by gradient steps."""

    name = "enn"
    version = 1
    source = "arXiv:2004.00345"
    kinds = ALL_KINDS
    Config = EditableConfig
    presets = {"paper": {**PAPER_FIT, "first_order": False, "lr": 1e-5, "edit_lr": 1e-2, "edit_lr_lr": 1e-3}}

    def __init__(self, lm: LanguageModel, config: EditableConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.matrices = lm.matrices(config.layers)
        tensors = {name: t.detach().clone().to(lm.device).requires_grad_() for name, t in state.tensors.items()}
        self.alpha = tensors.pop("alpha")
        self.weights = tensors

    @classmethod
    def initial_state(cls, lm: LanguageModel, config: EditableConfig, generator: torch.Generator) -> State:
        weights = {name: p.detach().to(torch.float32, copy=True) for name, p in lm.model.named_parameters()}
        return State(tensors={**weights, "alpha": torch.full((len(lm.matrices(config.layers)),), config.edit_lr)})

    def outer_parameters(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.weights.values()), "lr": self.config.lr},
            {"params": [self.alpha], "lr": self.config.edit_lr_lr},
        ]

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        edits = self._edits(
            batch.groups, weights=self.weights, second_order=is_training and not self.config.first_order
        )
        original = locality_answers(self.lm, batch)
        current = self.lm.answers(self.lm.batch([(p.prompt, p.answer) for _, p in batch.locality]), self.weights)
        base = original.mean_rows(divergence(original.logits, current.logits)).mean()
        before = replace(current, logits=current.logits.detach())
        loss = edit_objective(self.lm, edits, batch, c_edit=self.config.c_edit, weights=self.weights, before=before)
        parts = {"base_loss": float(base.detach())}
        return replace(loss, total=loss.total + self.config.c_base * base, parts=parts)

    def state(self) -> State:
        weights = {name: value.detach().clone() for name, value in self.weights.items()}
        return State(tensors={**weights, "alpha": self.alpha.detach().clone()})

    def base_change(self) -> WeightEdit:
        dtype = self.lm.dtype
        return WeightEdit(changes={name: Replacement(w.detach().to(dtype)) for name, w in self.weights.items()})

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        with torch.no_grad():
            return list(self._edits(groups, weights=None, second_order=False))

    def _edits(
        self, groups: Sequence[Sequence[EditRequest]], *, weights: Mapping[str, Tensor] | None, second_order: bool
    ) -> list[WeightEdit]:
        """Take gradient steps from the given weights, or from the model's own, which hold the base change."""
        edits: list[WeightEdit] = []
        for _ in range(self.config.inner_steps):
            factors = edit_gradients(
                self.lm, groups, self.matrices, under=edits or None, weights=weights, create_graph=second_order
            )
            changes: list[dict[str, LowRank]] = [{} for _ in groups]
            for index, matrix in enumerate(self.matrices):
                f = factors[matrix.name]
                pairs = zip(f.split(-self.alpha[index] * f.inputs), f.split(f.grads), strict=True)
                for change, (left, right) in zip(changes, pairs, strict=True):
                    change[matrix.name] = LowRank(left.T, right)
            before = edits or [WeightEdit(changes={}) for _ in groups]
            edits = [_joined(old, new) for old, new in zip(before, changes, strict=True)]
        return edits


def _joined(old: WeightEdit, step: Mapping[str, LowRank]) -> WeightEdit:
    """Add one more step to an edit: the ranks add up."""
    joined = {}
    for name, new in step.items():
        kept = old.changes.get(name)
        if isinstance(kept, LowRank):
            joined[name] = LowRank(torch.cat([kept.left, new.left], dim=1), torch.cat([kept.right, new.right]))
        else:
            joined[name] = new
    return WeightEdit(changes=joined)

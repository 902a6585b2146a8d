"""Editable Neural Networks: the model itself is trained so that a gradient step installs an edit.

All weights and one step size a matrix are learned (as in MAML): an edit is one or more gradient steps on the edited
matrices, and the objective asks that it holds, that nothing else moves, and that the trained model still answers as
it should before any edit. Fitting therefore changes the model; that cost is scored as `base_drawdown`.

Source: Sinitsin et al. 2020 (arXiv:2004.00345), as run by Mitchell et al. 2022 (arXiv:2110.11309).
Differs from the latter in: what `Switches` lists, unless fidelity=reference; first order by default (the preset `paper`
is second order); with `no_grad_layers` the blocks below are not trained, but what leads through them still counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, Replacement, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig
from bench.editing.gradients import Reduction, edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import (
    FitBatch,
    FitLoss,
    Positions,
    Unedited,
    edit_losses,
    labelled,
    unedited,
)
from bench.editing.request import EditRequest
from bench.errors import ConfigError
from bench.methods._fidelity import Fidelity, resolved
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence

BaseLoss = Literal["nll", "kl"]
EditLrGroup = Literal["own", "main"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Where the paper and its code disagree.

    Args:
        base_loss: what holds the trained model before any edit: the likelihood of the locality probes' answers, or
            the divergence from the original model.
        edit_lr_group: the step sizes have the learning rate `edit_lr_lr` (`own`); in the code the main optimiser,
            which has them too, clears their gradient before the one meant for them steps (`main`: `lr`).
        pools_labels: the objective averages over all label tokens of a group's probes, not within each probe first.
    """

    base_loss: BaseLoss
    edit_lr_group: EditLrGroup
    pools_labels: bool


SWITCHES: Mapping[Fidelity, Switches] = {
    "paper": Switches(base_loss="nll", edit_lr_group="own", pools_labels=False),
    "reference": Switches(base_loss="kl", edit_lr_group="main", pools_labels=True),
}


@config
class EditableConfig(FitConfig):
    """The values of the MEND paper are the preset `paper`."""

    layers: str = "default"  # matrices to edit
    inner_steps: int = 1  # gradient steps an edit
    first_order: bool = True  # the inner gradient counts as a constant; False: second order
    no_grad_layers: int = 0  # blocks of each stack that are not trained, from below; 0: the whole model is trained
    lr: float = 3e-4  # Adam, for all weights; paper: 1e-5
    edit_lr: float = 1e-1  # step sizes at the start; paper: 1e-2
    edit_lr_lr: float = 1e-2  # Adam, for the step sizes; MEND, config/alg/enn.yaml `lr_lr`: 1e-3
    c_base: float = 1.0  # weight of the loss before any edit; always 1 in the reference's gradients
    reduction: Reduction = "mean_over_batch"  # of the loss of requests that are installed together
    locality_positions: Positions = "answer"  # of the divergences; paper: all
    fidelity: Fidelity = "paper"  # each switch below that is not set is as the paper, or as the reference code, has it
    base_loss: BaseLoss | None = None
    edit_lr_group: EditLrGroup | None = None
    pools_labels: bool | None = None


class EditableNetwork(LearnedEditor[EditableConfig]):
    """A model that was trained to be editable by gradient steps."""

    name = "enn"
    version = 2
    source = "arXiv:2004.00345"
    kinds = ALL_KINDS
    Config = EditableConfig
    presets = {
        "paper": {
            **PAPER_FIT,
            "first_order": False,
            "lr": 1e-5,
            "edit_lr": 1e-2,
            "edit_lr_lr": 1e-3,
            "locality_positions": "all",
        }
    }

    def __init__(self, lm: LanguageModel, config: EditableConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.switches = resolved(config, SWITCHES)
        self.matrices = lm.matrices(config.layers)
        tensors = {name: t.detach().clone().to(lm.device).requires_grad_() for name, t in state.tensors.items()}
        self.alpha = tensors.pop("alpha")
        self.weights = tensors

    @classmethod
    def initial_state(cls, lm: LanguageModel, config: EditableConfig, generator: torch.Generator) -> State:
        names = _outer_names(lm, config.no_grad_layers)
        weights = {name: lm.model.get_parameter(name).detach().to(torch.float32, copy=True) for name in names}
        return State(tensors={**weights, "alpha": torch.full((len(lm.matrices(config.layers)),), config.edit_lr)})

    def outer_parameters(self) -> list[dict[str, Any]]:
        has_own = self.switches.edit_lr_group == "own"
        return [
            {"params": list(self.weights.values()), "lr": self.config.lr},
            {"params": [self.alpha], "lr": self.config.edit_lr_lr if has_own else self.config.lr},
        ]

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        edits = self._edits(
            batch.groups, weights=self.weights, second_order=is_training and not self.config.first_order
        )
        positions = self.config.locality_positions
        current = unedited(self.lm, batch, self.weights, positions=positions)
        base = self._base_loss(current)
        losses = edit_losses(
            self.lm,
            edits,
            batch,
            weights=self.weights,
            before=current,
            positions=positions,
            pools_labels=self.switches.pools_labels,
        )
        loss = losses.weighted(c_edit=self.config.c_edit)
        return replace(loss, total=loss.total + self.config.c_base * base, parts={"base_loss": base.detach()})

    def _base_loss(self, current: Sequence[Unedited]) -> Tensor:
        """Give the loss of the trained model before any edit, a scalar in nats; NaN without locality probes."""
        if not current:
            return torch.tensor(torch.nan)
        if self.switches.base_loss == "nll":
            return torch.cat([labelled(answers).row_loss() for _, answers in current]).mean()
        gaps = []
        for part, answers in current:
            with torch.no_grad():
                original = self.lm.answers(part.batch, is_sparse=True)
            gaps.append(original.mean_rows(divergence(original.logits, answers.logits)))
        return torch.cat(gaps).mean()

    def step_sizes(self) -> Mapping[str, Tensor]:
        return {matrix.name: alpha for matrix, alpha in zip(self.matrices, self.alpha.detach(), strict=True)}

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
                self.lm,
                groups,
                self.matrices,
                reduction=self.config.reduction,
                under=edits or None,
                weights=weights,
                create_graph=second_order,
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


def _outer_names(lm: LanguageModel, no_grad_layers: int) -> list[str]:
    """Give the parameters that are trained: all, or those of the blocks from `no_grad_layers` on.

    Source: eric-mitchell/mend, `enn.py`, `outer_parameters`.

    Raises:
        ConfigError: no stack has so many blocks.
    """
    names = [name for name, _ in lm.model.named_parameters()]
    if no_grad_layers == 0:
        return names
    blocks = [block for stack in lm.architecture.stacks for block in stack.blocks[no_grad_layers:]]
    if no_grad_layers < 0 or not blocks:
        most = max(len(stack.blocks) for stack in lm.architecture.stacks)
        raise ConfigError(f"enn.no_grad_layers={no_grad_layers} leaves nothing to train; give 0 to {most - 1}.")
    return [name for name in names if name.startswith(tuple(f"{block}." for block in blocks))]


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

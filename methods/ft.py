"""Fine-tuning: RMSprop steps on the edited matrices until the request is answered as wanted.

With `kl=true` it also holds the answers to other prompts of the fit split in place (FT+KL): each step draws a new
prompt and adds the divergence from the unedited model. Many requests are trained at once, each under its own
change; those that are done leave the batch.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 5; reference code eric-mitchell/mend, `ft.py`.
Differs from the reference in: what `Switches` lists, unless fidelity=reference; learning rate for the embedded models
(the preset `paper` has theirs); no limit of time, with which the same seed could give another edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench.editing.config import config
from bench.editing.edit import Dense, Edit, State, WeightEdit
from bench.editing.editor import ALL_KINDS, Editor, PreparationData
from bench.editing.gradients import Reduction, summed_loss
from bench.editing.objective import FitBatch, Positions, locality_parts
from bench.editing.request import EditRequest, Probe, ProbeKind
from bench.editing.rowwise import Rowwise
from bench.errors import EditError
from bench.methods._fidelity import Fidelity, resolved
from bench.models.encoding import Batch
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence
from bench.models.replay import Kept, untouched_blocks

_IN_CACHE = (
    2**17
)  # numbers that one step of RMSprop is done for before the next: three such pieces fit in a CPU's cache
_AT_ONCE = 32  # groups trained together; each keeps a dense change and its second moment
LastStep = Literal["kept", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Where the paper and its code disagree.

    Args:
        last_step: the change of the last step that is allowed; in the code the weights before it are returned.
    """

    last_step: LastStep


SWITCHES: Mapping[Fidelity, Switches] = {
    "paper": Switches(last_step="kept"),
    "reference": Switches(last_step="lost"),
}


@config
class FineTuneConfig:
    """The values of the MEND paper are the preset `paper`."""

    layers: str = "default"  # matrices to edit
    lr: float = 1e-4  # RMSprop; paper: 1e-6 for small models, 5e-6 for GPT-Neo and GPT-J, 1e-4 for T5
    steps: int = 100  # upper limit; stops before a step once every target token is the most probable
    clip: float = 100.0  # norm of each edit's gradient; MEND, config/config.yaml `grad_clip`
    reduction: Reduction = "mean_over_batch"  # of the loss of requests that are installed together
    kl: bool = False  # FT+KL: add the divergence on other prompts
    c_edit: float = 1e-2  # weight of the edit loss against the divergence; 1e-3 for GPT-J
    locality_positions: Positions = "answer"  # of the divergence; paper: all
    fidelity: Fidelity = "paper"  # the switch below, if it is not set, is as the paper or as the reference code has it
    last_step: LastStep | None = None


class FineTune(Editor[FineTuneConfig]):
    """Gradient steps on the request itself; nothing is fitted beforehand."""

    name = "ft"
    version = 2
    source = "arXiv:2110.11309"
    kinds = ALL_KINDS
    Config = FineTuneConfig
    presets = {"paper": {"lr": 1e-6, "locality_positions": "all"}}

    def __init__(self, lm: LanguageModel, config: FineTuneConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.switches = resolved(config, SWITCHES)
        self.matrices = lm.matrices(config.layers)
        self.shapes = [lm.model.get_parameter(matrix.name).shape for matrix in self.matrices]
        self.locality = [
            Probe(id=str(index), kind=ProbeKind.LOCALITY, prompt=_text(prompt), answer=_text(answer))
            for index, (prompt, answer) in enumerate(state.values.get("locality", []))
        ]

    @classmethod
    def prepare(cls, lm: LanguageModel, config: FineTuneConfig, data: PreparationData) -> State:
        """Collect the prompts whose answers FT+KL holds in place; plain fine-tuning needs nothing."""
        if not config.kl:
            return State()
        probes = [p for case in data.cases for p in case.probes if p.kind is ProbeKind.LOCALITY]
        chosen = np.random.default_rng(data.seed).permutation(len(probes))[:1000]
        return State(values={"locality": [(probes[i].prompt, probes[i].answer) for i in sorted(chosen)]})

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        if not groups or not all(groups):
            raise EditError("there is no request to train on.")
        edits: list[Edit] = []
        for i in range(0, len(groups), _AT_ONCE):
            edits.extend(self._train(groups[i : i + _AT_ONCE], generators[i : i + _AT_ONCE]))
        return edits

    def _train(self, groups: Sequence[Sequence[EditRequest]], generators: Sequence[torch.Generator]) -> list[Edit]:
        """Train all groups at once: of each matrix, the changes of all groups are one tensor, (groups, *its shape)."""
        changes = {
            matrix.name: torch.zeros((len(groups), *shape), device=self.lm.model.get_parameter(matrix.name).device)
            for matrix, shape in zip(self.matrices, self.shapes, strict=True)
        }
        moments = {name: torch.zeros_like(change) for name, change in changes.items()}
        active = list(range(len(groups)))
        asked = _Asked.of(self.lm, groups, [matrix.name for matrix in self.matrices])
        done: dict[int, Edit] = {}
        for _ in range(self.config.steps if self.switches.last_step == "kept" else self.config.steps - 1):
            leaves = {name: change.requires_grad_() for name, change in changes.items()}
            with torch.enable_grad():
                loss, is_done = self._loss(leaves, asked, [generators[g] for g in active])
            changes = {name: leaf.detach() for name, leaf in leaves.items()}
            done |= {active[i]: _edit(changes, i) for i in is_done.nonzero().squeeze(1).tolist()}
            left = (~is_done).nonzero().squeeze(1)
            if len(left) == 0:
                break
            grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
            if len(left) < len(active):
                changes, moments, grads = (
                    {name: value[left.to(value.device)] for name, value in values.items()}
                    for values in (changes, moments, grads)
                )
                active = [active[i] for i in left.tolist()]
                asked = asked.select(left)
            self._step(changes, moments, grads)
        done |= {g: _edit(changes, i) for i, g in enumerate(active) if g not in done}
        return [done[g] for g in range(len(groups))]

    def _step(self, changes: Mapping[str, Tensor], moments: Mapping[str, Tensor], grads: Mapping[str, Tensor]) -> None:
        """Take one step of RMSprop (torch's defaults), in place, each group's gradient clipped by its own norm."""
        norms = torch.stack([grad.flatten(1).norm(dim=1).to(self.lm.device) for grad in grads.values()]).norm(dim=0)
        scale = (self.config.clip / (norms + 1e-6)).clamp(max=1.0)
        is_clipped = bool((scale < 1).any())
        for name, grad in grads.items():
            clipped = grad * scale.to(grad.device)[:, None, None] if is_clipped else grad
            size = _IN_CACHE if grad.device.type == "cpu" else grad.numel()
            parts = [tensor.flatten().split(size) for tensor in (changes[name], moments[name], clipped)]
            for change, moment, g in zip(*parts, strict=True):
                moment.mul_(0.99).addcmul_(g, g, value=0.01)
                change.addcdiv_(g, moment.sqrt().add_(1e-8), value=-self.config.lr)

    def _loss(
        self, changes: Mapping[str, Tensor], asked: _Asked, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Give the sum of the groups' losses, and for each whether all its targets are answered."""
        count = len(generators)
        rowwise = Rowwise.stacked(self.lm, changes)
        answers = rowwise.answers(asked.batch, asked.owner, kept=asked.kept)
        loss = summed_loss(answers, asked.owner, count, self.config.reduction)
        if self.config.kl:
            loss = self.config.c_edit * loss + self._divergence(rowwise, generators)
        wrong = torch.bincount(asked.owner[answers.rows], weights=(~answers.is_right()).float(), minlength=count)
        return loss, wrong == 0

    def _divergence(self, rowwise: Rowwise, generators: Sequence[torch.Generator]) -> Tensor:
        """Give the summed divergence on one freshly drawn prompt a group."""
        if not self.locality:
            raise EditError("ft with kl=true needs other prompts: the dataset's fit split has no locality probes.")
        drawn = [int(torch.randint(len(self.locality), (), generator=g)) for g in generators]
        probes = tuple((row, self.locality[index]) for row, index in enumerate(drawn))
        batch = FitBatch(groups=(), outer=(), locality=probes)
        total = torch.zeros((), device=self.lm.device)
        for part in locality_parts(self.lm, batch, self.config.locality_positions):
            kept = self.lm.keep(part.batch, rowwise.depths)
            with torch.no_grad():
                before = self.lm.answers(part.batch, kept=kept, is_sparse=True)
            after = rowwise.answers(part.batch, part.rows, kept=kept)
            total = total + before.mean_rows(divergence(before.logits, after.logits)).sum()
        return total


@dataclass(frozen=True, slots=True)
class _Asked:
    """The requests of the groups in training; what lies below the edited blocks is computed once for all steps.

    Args:
        batch: all requests, group after group.
        owner: (B,) the group of each.
        kept: what the blocks below give for them.
    """

    batch: Batch
    owner: Tensor
    kept: Kept

    @classmethod
    def of(cls, lm: LanguageModel, groups: Sequence[Sequence[EditRequest]], changed: Sequence[str]) -> _Asked:
        batch = lm.batch([(request.prompt, request.target) for group in groups for request in group])
        owner = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=lm.device)
        return cls(batch, owner, lm.keep(batch, untouched_blocks(lm.architecture, changed)))

    def select(self, left: Tensor) -> _Asked:
        """Give the groups with these indices, which ascend, under new ones."""
        rows = torch.isin(self.owner, left).nonzero().squeeze(1)
        owner = torch.searchsorted(left, self.owner[rows])
        return _Asked(self.batch.select(rows), owner, self.kept.select(rows, self.batch.size))


def _edit(changes: Mapping[str, Tensor], index: int) -> Edit:
    """Give the edit of one group as it is now."""
    return WeightEdit(changes={name: Dense(change[index].clone()) for name, change in changes.items()})


def _text(value: str | Sequence[int]) -> str | tuple[int, ...]:
    """Give a text or ids as they were before JSON made a list of them."""
    return value if isinstance(value, str) else tuple(value)

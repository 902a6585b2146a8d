"""Fine-tuning: RMSprop steps on the edited matrices until the request is answered as wanted.

With `kl=true` it also holds the answers to other prompts of the fit split in place (FT+KL): each step draws a new
prompt and adds the divergence from the unedited model. Many requests are trained at once, each under its own
change; those that are done leave the batch.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 5; reference code eric-mitchell/mend, `ft.py`.
Differs from the reference in: the change of the last step is kept (there it is lost); learning rate for the
embedded models (the preset `paper` has theirs).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bench.editing.config import config
from bench.editing.edit import Dense, Edit, State, WeightEdit
from bench.editing.editor import ALL_KINDS, Editor, PreparationData
from bench.editing.request import EditRequest, ProbeKind
from bench.editing.rowwise import Rowwise
from bench.errors import EditError
from bench.models.answers import divergence
from bench.models.language_model import LanguageModel

_AT_ONCE = 32  # groups trained together; each keeps a dense change and its second moment


@config
class FineTuneConfig:
    """The values of the MEND paper are the preset `paper`."""

    layers: str = "default"  # matrices to edit
    lr: float = 1e-4  # RMSprop; paper: 1e-6 for small models, 5e-6 for GPT-Neo and GPT-J, 1e-4 for T5
    steps: int = 100  # upper limit; stops before a step once every target token is the most probable
    clip: float = 100.0  # norm of each edit's gradient; MEND, config/config.yaml `grad_clip`
    kl: bool = False  # FT+KL: add the divergence on other prompts
    c_edit: float = 1e-2  # weight of the edit loss against the divergence; 1e-3 for GPT-J


class FineTune(Editor[FineTuneConfig]):
    """Gradient steps on the request itself; nothing is fitted beforehand."""

    name = "ft"
    version = 1
    source = "arXiv:2110.11309"
    kinds = ALL_KINDS
    Config = FineTuneConfig
    presets = {"paper": {"lr": 1e-6}}

    def __init__(self, lm: LanguageModel, config: FineTuneConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.matrices = lm.matrices(config.layers)
        self.locality: list[tuple[str, str]] = [tuple(pair) for pair in state.values.get("locality", [])]

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
        names = [m.name for m in self.matrices]
        shapes = {name: (len(groups), *self.lm.model.get_parameter(name).shape) for name in names}
        change = {name: torch.zeros(shape, device=self.lm.device) for name, shape in shapes.items()}
        moment = {name: torch.zeros_like(value) for name, value in change.items()}
        active = list(range(len(groups)))
        for step in range(self.config.steps + 1):
            leaves = {name: value[active].requires_grad_() for name, value in change.items()}
            with torch.enable_grad():
                loss, is_done = self._loss(leaves, [groups[g] for g in active], [generators[g] for g in active])
            keep = [i for i, done in enumerate(is_done.tolist()) if not done]
            if not keep or step == self.config.steps:
                break
            grads = dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))
            active = [active[i] for i in keep]
            self._step(change, moment, {name: grad[keep] for name, grad in grads.items()}, active)
        return [WeightEdit(changes={name: Dense(change[name][g]) for name in names}) for g in range(len(groups))]

    def _step(
        self, change: dict[str, Tensor], moment: dict[str, Tensor], grads: dict[str, Tensor], active: list[int]
    ) -> None:
        """Take one step of RMSprop (torch's defaults) for the active groups, each clipped by its own norm."""
        norm = torch.stack([grad.square().sum((1, 2)) for grad in grads.values()]).sum(0).sqrt()
        scale = (self.config.clip / (norm + 1e-6)).clamp(max=1.0)[:, None, None]
        for name, grad in grads.items():
            clipped = grad * scale
            mean = 0.99 * moment[name][active] + 0.01 * clipped.square()
            moment[name][active] = mean
            change[name][active] -= self.config.lr * clipped / (mean.sqrt() + 1e-8)

    def _loss(
        self, leaves: dict[str, Tensor], groups: Sequence[Sequence[EditRequest]], generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Give the sum of the groups' losses, and for each whether all its targets are answered."""
        count = len(groups)
        owner = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=self.lm.device)
        edits = [WeightEdit(changes={name: Dense(value[g]) for name, value in leaves.items()}) for g in range(count)]
        rowwise = Rowwise(self.lm, edits)
        answers = rowwise.answers(self.lm.batch([(r.prompt, r.target) for group in groups for r in group]), owner)
        of_label = owner[answers.rows]
        labels = torch.bincount(of_label, minlength=count)
        right = torch.bincount(of_label[answers.is_right()], minlength=count)
        loss = -(answers.log_probs() / labels[of_label]).sum()
        if self.config.kl:
            loss = self.config.c_edit * loss + self._divergence(rowwise, generators)
        return loss, right == labels

    def _divergence(self, rowwise: Rowwise, generators: Sequence[torch.Generator]) -> Tensor:
        """Give the summed divergence on one freshly drawn prompt a group."""
        if not self.locality:
            raise EditError("ft with kl=true needs other prompts: the dataset's fit split has no locality probes.")
        drawn = [int(torch.randint(len(self.locality), (), generator=g)) for g in generators]
        batch = self.lm.batch([self.locality[i] for i in drawn])
        with torch.no_grad():
            before = self.lm.answers(batch)
        after = rowwise.answers(batch, torch.arange(len(drawn), device=self.lm.device))
        return before.mean_rows(divergence(before.logits, after.logits)).sum()

"""KnowledgeEditor: a recurrent network reads the edit and masks the gradient, matrix by matrix.

A bidirectional LSTM reads "prediction >> target || prompt". From its state, each matrix gets a rank-one mask A, a
rank-one offset B and a gate g, and changes by σ(g) · (∇W ⊙ A + B). With ∇W = Σ δ uᵀ and A = r cᵀ this is
Σ (δ ⊙ r)(u ⊙ c)ᵀ plus one more rank, so the change stays two factors.

Source: De Cao et al. 2021 (arXiv:2104.08164), as run by Mitchell et al. 2022 (arXiv:2110.11309), whose shared
objective is used unless objective=original.
Differs from the latter in: what `Switches` lists, unless fidelity=reference; smaller sizes by default (the preset
`paper` has theirs). From the former in: only MLP matrices are edited; an edit is never applied again; the best state
is that of the fit loop's criterion, not that of the accuracy; no bound on the size of the change besides max_scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig, FitScores
from bench.editing.gradients import edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitBatch, FitLoss, Positions, edit_losses
from bench.editing.request import EditRequest, Text
from bench.methods._fidelity import Fidelity, resolved
from bench.methods._ke_constraint import Constraint, OwnAnswers, warm_up_and_decay
from bench.methods._ke_networks import HeadOutput, make_networks, masked
from bench.models.generation import generate
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

# De Cao et al. 2021, `bart_seq2seq_augmented_kilt.py` (zsRE): a step is an edit and 63 prompts on each of 4 GPUs.
_ORIGINAL: Mapping[str, Any] = {
    "objective": "original",
    "layers": "all",
    "lstm": 128,
    "condition": 1024,
    "head": 128,
    "lr": 3e-4,
    "steps": 200_000,
    "edits_per_step": 4,
    "micro_batch": 1,
    "outer_probes": 2,
    "locality_probes": 63,
    "clip": 1e9,  # none
    "validate_every": 5_000,
    "patience": 40,  # it ran to the end
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Where the paper and its code disagree.

    Args:
        learns_id_0: the embedding of token 0 is learned; in the code it stays, as that of padding, whatever it is.
        pools_labels: the objective averages over all label tokens of a group's probes, not within each probe first.
    """

    learns_id_0: bool
    pools_labels: bool


SWITCHES: Mapping[Fidelity, Switches] = {
    "paper": Switches(learns_id_0=True, pools_labels=False),
    "reference": Switches(learns_id_0=False, pools_labels=True),
}


@config
class KnowledgeEditorConfig(FitConfig):
    """The values of the MEND paper are the preset `paper`, those of KE's own `original` (zsRE) and `original_fever`."""

    layers: str = "default"  # matrices to edit
    lstm: int = 256  # hidden size a direction; KE: 128, MEND's run: 512
    condition: int = 256  # width of the condition; KE: 1024, MEND's run: 768
    head: int = 128  # hidden size of each matrix's head; KE: 128, MEND's run: 512
    max_scale: float = 1.0  # bound of the gate; KE, `max_scale`
    max_tokens: int = 32  # the condition's text is cut there, as in MEND's run
    lr: float = 3e-3  # Adam; at 1e-3 success on requests of the tune split was .34, not .47; paper: 1e-5
    steps: int = 200  # see FitConfig
    locality_positions: Positions = "answer"  # of the divergence; paper: all
    objective: Literal["mend", "original"] = "mend"  # c_edit · L_edit + L_locality, or L_edit with bounded L_locality
    margin: float = 1e-3  # original: bound of the divergence at first, nats; KE: 1e-3 for zsRE, 1e-1 for FEVER
    least_margin: float = 1e-5  # original: to which it falls as edits succeed; KE: 1e-5 for zsRE, 1e-3 for FEVER
    multiplier_lr: float = 1e-1  # original: of what the divergence counts; KE, `lr_alpha`
    label_smoothing: float = 0.1  # original: of the target's tokens, never of a classifier's label; KE, `eps`
    warm_up: float = 0.005  # original: share of the steps in which lr rises; KE: 1,000 of 200,000
    fidelity: Fidelity = "paper"  # each switch below that is not set is as the paper, or as the reference code, has it
    learns_id_0: bool | None = None
    pools_labels: bool | None = None


class KnowledgeEditor(LearnedEditor[KnowledgeEditorConfig]):
    """A hypernetwork conditioned on the text of the edit."""

    name = "ke"
    version = 2
    source = "arXiv:2104.08164"
    kinds = ALL_KINDS
    max_batch = 1
    Config = KnowledgeEditorConfig
    presets = {
        "paper": {
            **PAPER_FIT,
            "lstm": 512,
            "condition": 768,
            "head": 512,
            "lr": 1e-5,
            "locality_positions": "all",
        },
        "original": _ORIGINAL,
        "original_fever": {**_ORIGINAL, "margin": 1e-1, "least_margin": 1e-3, "steps": 50_000, "warm_up": 0.02},
    }

    def __init__(self, lm: LanguageModel, config: KnowledgeEditorConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.switches = resolved(config, SWITCHES)
        self.matrices = lm.matrices(config.layers)
        self.networks = _networks(lm, config)
        self.networks.load_state_dict(dict(state.tensors))
        self.networks.to(lm.device)
        self.constraint = Constraint(config, lm.device) if config.objective == "original" else None
        self.own_answers = OwnAnswers(lm)

    @classmethod
    def initial_state(cls, lm: LanguageModel, config: KnowledgeEditorConfig, generator: torch.Generator) -> State:
        networks = _networks(lm, config, seed=generator.initial_seed())
        return State(tensors={name: value.detach().clone() for name, value in networks.state_dict().items()})

    def outer_parameters(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.networks.parameters()), "lr": self.config.lr}]
        if self.constraint:
            groups.append({"params": [self.constraint.multiplier], "lr": self.config.multiplier_lr})
        return groups

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(groups, centered=True) if self.constraint else super().optimiser(groups)

    def schedule(self, step: int) -> float | None:
        return warm_up_and_decay(step, self.config.steps, self.config.warm_up) if self.constraint else None

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        has_smoothing = self.constraint is not None and self.lm.kind is not ModelKind.CLASSIFIER
        losses = edit_losses(
            self.lm,
            self._edits(batch.groups),
            self.own_answers.rewritten(batch) if self.constraint else batch,
            positions=self.config.locality_positions,
            pools_labels=self.switches.pools_labels,
            smoothing=self.config.label_smoothing if has_smoothing else 0.0,
        )
        if self.constraint is None:
            return losses.weighted(c_edit=self.config.c_edit)
        loss = losses.summed(self.constraint.total(losses.smoothed, losses.locality))
        return replace(loss, parts=self.constraint.tensors())

    def after_step(self, loss: FitLoss) -> None:
        if self.constraint:
            self.constraint.project()

    def after_validation(self, scores: FitScores) -> None:
        if self.constraint:
            self.constraint.anneal(scores.success)

    def state(self) -> State:
        return State(tensors={name: value.detach().clone() for name, value in self.networks.state_dict().items()})

    def fit_state(self) -> State:
        if self.constraint is None:
            return State()
        return State(tensors=self.constraint.tensors(), values={"said": self.own_answers.said()})

    def resume(self, state: State) -> None:
        if self.constraint:
            self.constraint.resume(state.tensors)
            self.own_answers.resume(state.values["said"])

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        with torch.no_grad():
            return self._edits(groups)

    def _edits(self, groups: Sequence[Sequence[EditRequest]]) -> list[Edit]:
        factors = edit_gradients(self.lm, groups, self.matrices)
        condition = self.networks["encoder"](*self._condition([group[0] for group in groups]))
        changes: list[dict[str, LowRank]] = [{} for _ in groups]
        for index, matrix in enumerate(self.matrices):
            head: HeadOutput = self.networks[str(index)](condition)
            low_ranks = masked(matrix, factors[matrix.name], head, max_scale=self.config.max_scale)
            for change, low_rank in zip(changes, low_ranks, strict=True):
                change[matrix.name] = low_rank
        return [WeightEdit(changes=change) for change in changes]

    def _condition(self, requests: Sequence[EditRequest]) -> tuple[Tensor, Tensor]:
        """Give the ids (B, T) of "prediction >> target || prompt" and their lengths (B,)."""
        unknown = [r for r in requests if r.old_target is None]
        outputs = generate(self.lm, [r.prompt for r in unknown])
        said = {r.id: output for r, output in zip(unknown, outputs, strict=True)}
        texts = [
            f"{self._text(said.get(r.id, r.old_target))} >> {self._text(r.target)} || {self._text(r.prompt)}"
            for r in requests
        ]
        rows = [self.lm.tokenizer(text)["input_ids"][: self.config.max_tokens] for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        return ids.to(self.lm.device), lengths

    def _text(self, text: Text | None) -> str:
        return text if isinstance(text, str) else str(self.lm.tokenizer.decode(list(text or ())))


def _networks(lm: LanguageModel, config: KnowledgeEditorConfig, *, seed: int = 0) -> nn.ModuleDict:
    learns_id_0 = resolved(config, SWITCHES).learns_id_0
    embeddings = lm.input_embeddings.detach().float()
    return make_networks(embeddings, lm.matrices(config.layers), config, learns_id_0=learns_id_0, seed=seed)

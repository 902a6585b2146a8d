"""MEND: small networks turn the gradient of an edit into a better change of the weights.

The gradient of an edit with respect to a matrix is a sum over tokens of δ uᵀ. For each shape of edited matrix one
network maps (u, δ), normalised, to (ũ, δ̃); the matrix changes by −α Σ δ̃ ũᵀ with a learned step size α a matrix.
The networks are fitted so that edits hold on rephrases and the divergence on unrelated inputs stays small.

Source: Mitchell et al. 2022 (arXiv:2110.11309); reference code eric-mitchell/mend at e04fdb9.
Differs from the reference in: what `Switches` lists, unless fidelity=reference; the statistics of a step are merged in
batches (the same to float error); the factors stay factors; nothing below the lowest edited matrix gets a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig
from bench.editing.gradients import Reduction, TokenFactors, edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitBatch, FitLoss, Positions, edit_losses
from bench.editing.request import EditRequest
from bench.methods._fidelity import Fidelity, resolved
from bench.methods._mend_networks import GradientNetwork, Statistics, Transform
from bench.methods._mend_switches import (
    SWITCHES,
    Counter,
    EditLrGroup,
    Sign,
    SingleRow,
    StatisticsOrder,
    VInit,
)
from bench.models.architecture import Matrix
from bench.models.language_model import LanguageModel


@config
class MendConfig(FitConfig):
    """The paper's values are the preset `paper`; these are tuned for models of a few million parameters."""

    layers: str = "default"  # matrices to edit: MLPs of the last 3 blocks, or of the last 2 of encoder and decoder
    c_edit: float = 1.0  # weight of the edit loss; at 0.3 success on requests of the tune split was .925, not .95
    rank: int = 256  # of each layer of the networks; paper: 1920
    lr: float = 1e-3  # Adam, for the networks; paper: 1e-6
    edit_lr: float = 1e-3  # α at the start; paper: 1e-4
    edit_lr_lr: float = 3e-4  # Adam, for α; MEND, config/alg/mend.yaml `lr_lr`: 1e-4
    locality_positions: Positions = "answer"  # of the divergence; paper: all
    no_sharing: bool = False  # one network a matrix; otherwise one a shape, with a scale and a shift a matrix
    no_norm: bool = False  # u and δ are neither centred nor divided by their standard deviation
    no_id_init: bool = False  # both factors of the layers are drawn, and there is no residual path
    transform: Transform = "both"  # which of u and δ are transformed; split: both, by a network each
    fidelity: Fidelity = "paper"  # each switch below that is not set is as the paper, or as the reference code, has it
    sign: Sign | None = None
    edit_lr_group: EditLrGroup | None = None
    v_init: VInit | None = None
    second_bias: bool | None = None
    reduction: Reduction | None = None
    pools_labels: bool | None = None
    std_floor: float | None = None
    counter: Counter | None = None
    keeps_statistics: bool | None = None
    statistics_order: StatisticsOrder | None = None
    single_row: SingleRow | None = None


class Mend(LearnedEditor[MendConfig]):
    """Model editor networks with gradient decomposition."""

    name = "mend"
    version = 2
    source = "arXiv:2110.11309"
    kinds = ALL_KINDS
    Config = MendConfig
    presets = {
        "paper": {
            **PAPER_FIT,
            "rank": 1920,
            "lr": 1e-6,
            "edit_lr": 1e-4,
            "edit_lr_lr": 1e-4,
            "locality_positions": "all",
        }
    }

    def __init__(self, lm: LanguageModel, config: MendConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.switches = resolved(config, SWITCHES)
        self.matrices = lm.matrices(config.layers)
        self.networks = _networks(self.matrices, config, torch.Generator()).to(lm.device)
        self.networks.load_state_dict({k: v for k, v in state.tensors.items() if k != "alpha"})
        self.alpha = state.tensors["alpha"].detach().clone().to(lm.device).requires_grad_()

    @classmethod
    def initial_state(cls, lm: LanguageModel, config: MendConfig, generator: torch.Generator) -> State:
        matrices = lm.matrices(config.layers)
        tensors = dict(_networks(matrices, config, generator).state_dict())
        return State(tensors={**tensors, "alpha": torch.full((len(matrices),), config.edit_lr)})

    def outer_parameters(self) -> list[dict[str, Any]]:
        has_own = self.switches.edit_lr_group == "own"
        return [
            {"params": list(self.networks.parameters()), "lr": self.config.lr},
            {"params": [self.alpha], "lr": self.config.edit_lr_lr if has_own else self.config.lr},
        ]

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        losses = edit_losses(
            self.lm,
            self._edits(batch.groups, is_training=is_training),
            batch,
            positions=self.config.locality_positions,
            pools_labels=self.switches.pools_labels,
        )
        return losses.weighted(c_edit=self.config.c_edit)

    def step_sizes(self) -> Mapping[str, Tensor]:
        return {matrix.name: alpha for matrix, alpha in zip(self.matrices, self.alpha.detach(), strict=True)}

    def state(self) -> State:
        tensors = {name: value.detach().clone() for name, value in self.networks.state_dict().items()}
        return State(tensors={**tensors, "alpha": self.alpha.detach().clone()})

    def fit_state(self) -> State:
        """Give which statistics have begun: those of a fit that goes on are not forgotten like those of a state."""
        return State(values={"begun": [not statistics.is_stale for statistics in self._statistics()]})

    def resume(self, state: State) -> None:
        for statistics, has_begun in zip(self._statistics(), state.values["begun"], strict=True):
            statistics.is_stale = not has_begun

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        with torch.no_grad():
            return self._edits(groups, is_training=False)

    def _edits(self, groups: Sequence[Sequence[EditRequest]], *, is_training: bool) -> list[Edit]:
        found = edit_gradients(self.lm, groups, self.matrices, reduction=self.switches.reduction)
        factors = [found[matrix.name] for matrix in self.matrices]
        if is_training and self.switches.statistics_order == "one_by_one":
            normalised = self._normalised_one_by_one(factors, len(groups))
        else:
            normalised = [
                self._network(i)[0].normalise(f.inputs, f.grads, is_training=is_training) for i, f in enumerate(factors)
            ]
        changes: list[dict[str, LowRank]] = [{} for _ in groups]
        for index, (matrix, rows) in enumerate(zip(self.matrices, normalised, strict=True)):
            low_ranks = self._low_ranks(index, factors[index], *rows)
            for change, low_rank in zip(changes, low_ranks, strict=True):
                change[matrix.name] = low_rank
        return [WeightEdit(changes=change) for change in changes]

    def _normalised_one_by_one(self, factors: Sequence[TokenFactors], groups: int) -> list[tuple[Tensor, Tensor]]:
        """Normalise the rows of each group, matrix after matrix, before those of the next are taken in."""
        parts = [list(zip(f.split(f.inputs), f.split(f.grads), strict=True)) for f in factors]
        for group in range(groups):
            for index, of_matrix in enumerate(parts):
                of_matrix[group] = self._network(index)[0].normalise(*of_matrix[group], is_training=True)
        return [
            (torch.cat([u for u, _ in of_matrix]), torch.cat([delta for _, delta in of_matrix])) for of_matrix in parts
        ]

    def _low_ranks(self, index: int, factors: TokenFactors, inputs: Tensor, grads: Tensor) -> Iterator[LowRank]:
        """Transform one matrix's normalised rows, and give each group's change."""
        network, mode = self._network(index)
        inputs, grads = network.transform(inputs, grads, mode)
        step = -self.alpha[index] if self.switches.sign == "descent" else self.alpha[index]
        for left, right in zip(factors.split(step * inputs), factors.split(grads), strict=True):
            yield LowRank(left.T, right)

    def _statistics(self) -> list[Statistics]:
        return [module for module in self.networks.modules() if isinstance(module, Statistics)]

    def _network(self, index: int) -> tuple[GradientNetwork, int]:
        """Give the network of a matrix and its mode there."""
        key, mode = _place(self.matrices, index, no_sharing=self.config.no_sharing)
        network = self.networks[key]
        assert isinstance(network, GradientNetwork)
        return network, mode


def _place(matrices: Sequence[Matrix], index: int, *, no_sharing: bool) -> tuple[str, int]:
    """Give the key of a matrix's network and its mode there: its place among the matrices of its shape."""
    if no_sharing:
        return str(index), 0
    shape = (matrices[index].in_features, matrices[index].out_features)
    before = [m for m in matrices[:index] if (m.in_features, m.out_features) == shape]
    return f"{shape[0]}x{shape[1]}", len(before)


def _networks(matrices: Sequence[Matrix], config: MendConfig, generator: torch.Generator) -> nn.ModuleDict:
    members: dict[str, list[Matrix]] = {}
    for index, matrix in enumerate(matrices):
        members.setdefault(_place(matrices, index, no_sharing=config.no_sharing)[0], []).append(matrix)
    switches = resolved(config, SWITCHES)
    return nn.ModuleDict(
        {
            key: GradientNetwork(group[0], None if config.no_sharing else len(group), config, switches, generator)
            for key, group in members.items()
        }
    )

"""MEND: small networks turn the gradient of an edit into a better change of the weights.

The gradient of an edit with respect to a matrix is a sum over tokens of δ uᵀ. For each shape of edited matrix one
network maps (u, δ), normalised, to (ũ, δ̃); the matrix changes by −α Σ δ̃ ũᵀ with a learned step size α a matrix.
The networks are fitted so that edits hold on rephrases and the divergence on unrelated inputs stays small.

Source: Mitchell et al. 2022 (arXiv:2110.11309); reference code eric-mitchell/mend at e04fdb9.
Differs from the reference in: the update descends (there it is added); α has a working learning rate of its own;
the layers' first factor starts from Xavier's uniform, as the paper says; statistics are merged in batches, count in
int64, and can be floored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig
from bench.editing.gradients import Reduction, TokenFactors, edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitBatch, FitLoss, edit_objective
from bench.editing.request import EditRequest
from bench.models.architecture import Matrix
from bench.models.language_model import LanguageModel


@config
class MendConfig(FitConfig):
    """The paper's values are the preset `paper`; these are tuned for models of a few million parameters."""

    layers: str = "default"  # matrices to edit: MLPs of the last 3 blocks, or of the last 2 of encoder and decoder
    rank: int = 256  # of each layer of the networks; paper: 1920
    is_shared: bool = True  # one network a shape of matrix, with a scale and a shift a matrix; False: one a matrix
    normalise: bool = True  # u and δ are centred and divided by their standard deviation
    start: Literal["identity", "xavier"] = "identity"  # identity: starts as the plain (normalised) gradient
    std_floor: float = 1e-3  # least standard deviation, as a fraction of the mean one; 0 in the reference
    reduction: Reduction = "mean_over_batch"  # of the loss of requests that are installed together
    lr: float = 1e-3  # Adam, for the networks; paper: 1e-6
    edit_lr: float = 1e-3  # α at the start; paper: 1e-4
    edit_lr_lr: float = 3e-4  # Adam, for α; MEND, config/alg/mend.yaml `lr_lr`: 1e-4


class Statistics(nn.Module):
    """Running mean and standard deviation of each dimension, over all rows ever seen.

    Args:
        width: features of a row.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(width))  # sum of squared deviations from the mean

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in (N, width) rows, all at once (Chan's merge)."""
        count = len(rows)
        if count == 0:
            return
        mean = rows.mean(0)
        total = self.count + count
        gap = mean - self.mean
        self.squares += (rows - mean).square().sum(0) + gap.square() * (self.count * count / total)
        self.mean += gap * (count / total)
        self.count.copy_(total)

    def normalise(self, rows: Tensor, floor: float) -> Tensor:
        """Centre (N, width) rows and divide them by the unbiased standard deviation + 1e-7.

        Before two rows have been seen there is no deviation, and rows stay as they are.
        """
        if int(self.count) < 2:
            return rows
        std = (self.squares / (self.count - 1)).sqrt()
        if floor > 0:
            std = std.clamp(min=floor * float(std.mean()))
        return (rows - self.mean) / (std + 1e-7)


class ResidualLayer(nn.Module):
    """h = z + max(0, scale ⊙ (U V z + bias) + shift), with a scale and a shift a mode.

    Args:
        width: of z and h.
        rank: of U V.
        modes: how many matrices share the layer.
        start: `identity` (U = 0), or `xavier` (U drawn, and no residual path).
        generator: draws the initial values.
    """

    def __init__(self, width: int, rank: int, modes: int, start: str, generator: torch.Generator) -> None:
        super().__init__()
        rank = min(rank, width)
        self.is_residual = start == "identity"
        self.u = nn.Parameter(torch.zeros(width, rank))
        self.v = nn.Parameter(torch.empty(rank, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(modes, width))
        self.shift = nn.Parameter(torch.zeros(modes, width))
        nn.init.xavier_uniform_(self.v, generator=generator)
        if not self.is_residual:
            nn.init.xavier_uniform_(self.u, gain=math.sqrt(2), generator=generator)

    def forward(self, z: Tensor, mode: int) -> Tensor:
        inner = self.scale[mode] * (z @ self.v.T @ self.u.T + self.bias) + self.shift[mode]
        # clamp, not relu: its subgradient at 0 is 1, and the zero-initialised U would get no signal otherwise
        inner = inner.clamp(min=0)
        return z + inner if self.is_residual else inner


class GradientNetwork(nn.Module):
    """Maps the factors of a gradient to those of a change: (u, δ) → (ũ, δ̃).

    Args:
        matrix: one of the matrices that share the network; all have its shape.
        modes: how many share it.
        config: of the editor.
        generator: draws the initial values.
    """

    def __init__(self, matrix: Matrix, modes: int, config: MendConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.of_inputs = Statistics(matrix.in_features)
        self.of_grads = Statistics(matrix.out_features)
        width = matrix.in_features + matrix.out_features
        layers = [ResidualLayer(width, config.rank, modes, config.start, generator) for _ in range(2)]
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor, grads: Tensor, mode: int, *, is_training: bool) -> tuple[Tensor, Tensor]:
        """Transform (N, in) inputs and (N, out) gradients; training rows count in their own statistics."""
        if self.config.normalise:
            if is_training:
                self.of_inputs.update(inputs)
                self.of_grads.update(grads)
            inputs = self.of_inputs.normalise(inputs, self.config.std_floor)
            grads = self.of_grads.normalise(grads, self.config.std_floor)
        z = torch.cat([inputs, grads], dim=1)
        for layer in self.layers:
            z = layer(z, mode)
        new_inputs, new_grads = z.split([inputs.shape[1], grads.shape[1]], dim=1)
        return new_inputs, new_grads


class Mend(LearnedEditor[MendConfig]):
    """Model editor networks with gradient decomposition."""

    name = "mend"
    version = 1
    source = "arXiv:2110.11309"
    kinds = ALL_KINDS
    Config = MendConfig
    presets = {"paper": {**PAPER_FIT, "rank": 1920, "lr": 1e-6, "edit_lr": 1e-4, "edit_lr_lr": 1e-4}}

    def __init__(self, lm: LanguageModel, config: MendConfig, state: State) -> None:
        super().__init__(lm, config, state)
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
        return [
            {"params": list(self.networks.parameters()), "lr": self.config.lr},
            {"params": [self.alpha], "lr": self.config.edit_lr_lr},
        ]

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        edits = self._edits(batch.groups, is_training=is_training)
        return edit_objective(self.lm, edits, batch, c_edit=self.config.c_edit)

    def state(self) -> State:
        tensors = {name: value.detach().clone() for name, value in self.networks.state_dict().items()}
        return State(tensors={**tensors, "alpha": self.alpha.detach().clone()})

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        with torch.no_grad():
            return self._edits(groups, is_training=False)

    def _edits(self, groups: Sequence[Sequence[EditRequest]], *, is_training: bool) -> list[Edit]:
        factors = edit_gradients(self.lm, groups, self.matrices, reduction=self.config.reduction)
        changes: list[dict[str, LowRank]] = [{} for _ in groups]
        for index, matrix in enumerate(self.matrices):
            transformed = self._transform(index, factors[matrix.name], is_training)
            for change, low_rank in zip(changes, transformed, strict=True):
                change[matrix.name] = low_rank
        return [WeightEdit(changes=change) for change in changes]

    def _transform(self, index: int, factors: TokenFactors, is_training: bool) -> list[LowRank]:
        key, mode = _place(self.matrices, index, self.config.is_shared)
        network = self.networks[key]
        inputs, grads = network(factors.inputs, factors.grads, mode, is_training=is_training)
        inputs = -self.alpha[index] * inputs
        return [LowRank(left.T, right) for left, right in zip(factors.split(inputs), factors.split(grads), strict=True)]


def _place(matrices: Sequence[Matrix], index: int, is_shared: bool) -> tuple[str, int]:
    """Give the network of a matrix and its mode there: its place among the matrices of its shape."""
    if not is_shared:
        return str(index), 0
    shape = (matrices[index].in_features, matrices[index].out_features)
    before = [m for m in matrices[:index] if (m.in_features, m.out_features) == shape]
    return f"{shape[0]}x{shape[1]}", len(before)


def _networks(matrices: Sequence[Matrix], config: MendConfig, generator: torch.Generator) -> nn.ModuleDict:
    members: dict[str, list[Matrix]] = {}
    for index, matrix in enumerate(matrices):
        members.setdefault(_place(matrices, index, config.is_shared)[0], []).append(matrix)
    return nn.ModuleDict(
        {key: GradientNetwork(group[0], len(group), config, generator) for key, group in members.items()}
    )

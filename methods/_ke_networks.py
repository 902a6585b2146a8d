"""The networks of KnowledgeEditor: the reader of the edit, and a head a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from bench.editing.edit import LowRank
from bench.editing.gradients import TokenFactors
from bench.models.architecture import Matrix

__all__ = ["Head", "HeadOutput", "Sizes", "make_networks", "masked"]


class Sizes(Protocol):
    """What of a configuration shapes the networks."""

    @property
    def lstm(self) -> int: ...
    @property
    def condition(self) -> int: ...
    @property
    def head(self) -> int: ...


class ConditionEncoder(nn.Module):
    """Reads token ids and gives a condition vector.

    Args:
        vocabulary, width: shape of the embedding table.
        sizes: of the other layers.
        learns_id_0: the embedding of id 0 is learned like any other.
    """

    def __init__(self, vocabulary: int, width: int, sizes: Sizes, *, learns_id_0: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=None if learns_id_0 else 0)
        self.lstm = nn.LSTM(width, sizes.lstm, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * sizes.lstm, sizes.condition)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode (B, T) ids with (B,) lengths into (B, condition)."""
        packed = pack_padded_sequence(self.embedding(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        condition: Tensor = self.project(last.transpose(0, 1).flatten(1)).tanh()
        return condition


class HeadOutput(NamedTuple):
    """What a head says of one matrix stored as (rows, columns), for B requests.

    Args:
        mask_columns, mask_rows: whose outer product masks the gradient, (B, columns) and (B, rows).
        offset_columns, offset_rows: whose outer product is added to it.
        gate: how much of both counts, (B, 1).
    """

    mask_columns: Tensor
    mask_rows: Tensor
    offset_columns: Tensor
    offset_rows: Tensor
    gate: Tensor


class Head(nn.Module):
    """Gives the mask, offset and gate of one matrix stored as (rows, columns)."""

    def __init__(self, rows: int, columns: int, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = [columns, rows, columns, rows, 1]
        self.first = weight_norm(nn.Linear(sizes.condition, sizes.head))
        self.second = weight_norm(nn.Linear(sizes.head, sum(self.sizes)))

    def forward(self, condition: Tensor) -> HeadOutput:
        """Map a (B, condition) to mask, offset and gate.

        Source: eric-mitchell/mend, `efk_hypernetwork.py`, the order of its `conditioner` output.
        """
        raw: Tensor = self.second(self.first(condition).tanh())
        mask_columns, mask_rows, offset_columns, offset_rows, gate = raw.split(self.sizes, dim=-1)
        return HeadOutput(mask_columns, mask_rows.softmax(-1), offset_columns, offset_rows.softmax(-1), gate.sigmoid())


def masked(matrix: Matrix, factors: TokenFactors, head: HeadOutput, *, max_scale: float) -> list[LowRank]:
    """Give each group's change: the gate times the masked gradient and the offset, as factors.

    Args:
        matrix: that changes.
        factors: of its gradient, for B groups.
        head: its output for B requests.
        max_scale: of the gate.
    """
    of_inputs, add_in, of_outputs, add_out = head.mask_columns, head.offset_columns, head.mask_rows, head.offset_rows
    if matrix.is_transposed:  # stored (in, out): rows go with the inputs
        of_inputs, add_in, of_outputs, add_out = of_outputs, add_out, of_inputs, add_in
    scale = max_scale * head.gate
    low_ranks = []
    for b, (u, delta) in enumerate(zip(factors.split(factors.inputs), factors.split(factors.grads), strict=True)):
        left = torch.cat([u * of_inputs[b], add_in[b : b + 1]]) * scale[b]
        right = torch.cat([delta * of_outputs[b], add_out[b : b + 1]])
        low_ranks.append(LowRank(left.T, right))
    return low_ranks


def make_networks(
    embeddings: Tensor, matrices: Sequence[Matrix], sizes: Sizes, *, learns_id_0: bool, seed: int = 0
) -> nn.ModuleDict:
    """Make the encoder and a head a matrix, with torch's initial values.

    Args:
        embeddings: (vocabulary, width), where the encoder's own start.
        matrices: that are edited.
        sizes: of the layers.
        learns_id_0: see `ConditionEncoder`.
        seed: of the initial values; the global random state is left as it was.
    """
    # torch's modules draw their initial values from the global generator; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ConditionEncoder(embeddings.shape[0], embeddings.shape[1], sizes, learns_id_0=learns_id_0)
        networks = nn.ModuleDict({"encoder": encoder})
        for index, matrix in enumerate(matrices):
            stored = (matrix.in_features, matrix.out_features)
            rows, columns = stored if matrix.is_transposed else stored[::-1]
            networks[str(index)] = Head(rows, columns, sizes)
    with torch.no_grad():
        encoder.embedding.weight.copy_(embeddings)
    return networks

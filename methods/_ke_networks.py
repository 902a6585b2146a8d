"""The networks of KnowledgeEditor: the reader of the edit, and a head a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from bench.models.architecture import Matrix

__all__ = ["Sizes", "make_networks", "split_head"]


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


class Head(nn.Module):
    """Gives the mask, offset and gate of one matrix stored as (rows, columns)."""

    def __init__(self, rows: int, columns: int, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = [columns, rows, columns, rows, 1]
        self.first = weight_norm(nn.Linear(sizes.condition, sizes.head))
        self.second = weight_norm(nn.Linear(sizes.head, sum(self.sizes)))

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Map (B, condition) to columns of the mask, rows of it, the same of the offset, and the gate (B, 1)."""
        return split_head(self.second(self.first(condition).tanh()), self.sizes)


def split_head(raw: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Cut a head's output into mask columns and rows, offset columns and rows, and gate; rows by softmax.

    Source: eric-mitchell/mend, `efk_hypernetwork.py`, the order of its `conditioner` output.
    """
    mask_columns, mask_rows, offset_columns, offset_rows, gate = raw.split(list(sizes), dim=-1)
    return mask_columns, mask_rows.softmax(-1), offset_columns, offset_rows.softmax(-1), gate.sigmoid()


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
        encoder = ConditionEncoder(*embeddings.shape, sizes, learns_id_0=learns_id_0)
        networks = nn.ModuleDict({"encoder": encoder})
        for index, matrix in enumerate(matrices):
            stored = (matrix.in_features, matrix.out_features)
            rows, columns = stored if matrix.is_transposed else stored[::-1]
            networks[str(index)] = Head(rows, columns, sizes)
    with torch.no_grad():
        encoder.embedding.weight.copy_(embeddings)
    return networks

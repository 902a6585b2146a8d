"""What a model says at the answer positions of a batch, and the measures taken there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models.measures import log_probs

__all__ = ["Answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The logits of a batch at its answer positions only.

    Args:
        logits: (N, V) in the dtype that the model gives; V is the vocabulary, or the labels of a classifier. What is
            measured of them is computed in float32.
        labels: (N,) the right token at each position.
        rows: (N,) the row of the batch that each position belongs to.
        size: B, the rows of the batch.
    """

    logits: Tensor
    labels: Tensor
    rows: Tensor
    size: int

    def log_probs(self) -> Tensor:
        """Give the log-probability of each label, (N,), in nats."""
        return log_probs(self.logits, self.labels)

    def is_right(self) -> Tensor:
        """Say for each position whether the label is the most probable token, (N,) bool."""
        return self.logits.argmax(dim=1) == self.labels

    def tokens(self) -> Tensor:
        """Count the labels of each row, (B,)."""
        return self.sum_rows(torch.ones_like(self.rows, dtype=torch.float32))

    def sum_rows(self, values: Tensor) -> Tensor:
        """Add up (N,) values by row, giving (B,)."""
        total = torch.zeros(self.size, dtype=values.dtype, device=values.device)
        return total.index_add(0, self.rows, values)

    def mean_rows(self, values: Tensor) -> Tensor:
        """Average (N,) values by row, giving (B,)."""
        return self.sum_rows(values) / self.tokens()

    def row_loss(self) -> Tensor:
        """Give each row's mean negative log-likelihood per label, (B,), in nats."""
        return -self.mean_rows(self.log_probs())

    def loss(self) -> Tensor:
        """Give the mean negative log-likelihood over all labels of the batch, in nats.

        Source: eric-mitchell/mend, `editor_trainer`: the mean runs over labels, not over sequences.
        """
        return -self.log_probs().mean()

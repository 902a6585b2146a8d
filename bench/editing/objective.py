"""The objective that learned editors share: install the edit, leave everything else as it was.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 3.2, equation 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bench.editing.edit import Edit
from bench.editing.request import EditRequest, Probe
from bench.editing.rowwise import Rowwise
from bench.models.answers import Answers, divergence
from bench.models.encoding import Batch
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.replay import Kept

__all__ = [
    "EditLosses",
    "FitBatch",
    "FitLoss",
    "Positions",
    "edit_losses",
    "labelled",
    "locality_answers",
    "locality_batch",
]

# Where a causal model's divergence is taken: at the answer's tokens, or everywhere, the prompt's tokens and the
# position behind the last one included, as the paper does. Other kinds of model have no other positions.
Positions = Literal["answer", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitBatch:
    """Independent groups of requests for one step of a fit; a probe names its group by its index.

    Args:
        groups: the requests that are installed together.
        outer: probes that must follow the edit, with the group of each.
        locality: probes that must not, with the group of each.
    """

    groups: tuple[tuple[EditRequest, ...], ...]
    outer: tuple[tuple[int, Probe], ...]
    locality: tuple[tuple[int, Probe], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitLoss:
    """The loss of one step, and its parts as they are logged.

    Args:
        total: what is differentiated, a scalar.
        edit: mean negative log-likelihood of the targets, nats.
        locality: mean divergence on locality probes, nats.
        success: fraction of outer probes whose every answer token is the most probable.
        drawdown: fraction of locality probes so answered before the edit minus that after it.
        parts: further numbers for the log; scalar tensors are read when a row is written.
    """

    total: Tensor
    edit: Tensor
    locality: Tensor
    success: Tensor
    drawdown: Tensor
    parts: Mapping[str, float | Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditLosses:
    """What independent edits did to their probes; gradients flow through the first three.

    Args:
        edit: mean negative log-likelihood of the targets, nats.
        smoothed: the same with smoothed labels.
        locality: mean divergence on locality probes, nats.
        success: fraction of outer probes whose every answer token is the most probable.
        drawdown: fraction of locality probes so answered before the edits minus that after them.
    """

    edit: Tensor
    smoothed: Tensor
    locality: Tensor
    success: Tensor
    drawdown: Tensor

    def weighted(self, *, c_edit: float, c_locality: float = 1.0) -> FitLoss:
        """Give c_edit · L_edit + c_locality · L_locality; 0.1 and 1 in the paper."""
        return self.summed(c_edit * self.edit + c_locality * self.locality)

    def summed(self, total: Tensor) -> FitLoss:
        """Give the loss of a step whose total is known."""
        return FitLoss(
            total=total,
            edit=self.edit.detach(),
            locality=self.locality.detach(),
            success=self.success,
            drawdown=self.drawdown,
            parts={},
        )


def locality_batch(lm: LanguageModel, batch: FitBatch, positions: Positions = "answer") -> Batch:
    """Encode the locality probes of a step; positions that are no answer's have the label -1."""
    plain = lm.batch([(probe.prompt, probe.answer) for _, probe in batch.locality])
    return _with_unlabelled(lm, plain, 0) if positions == "all" else plain


def locality_answers(
    lm: LanguageModel,
    batch: FitBatch,
    weights: Mapping[str, Tensor] | None = None,
    *,
    positions: Positions = "answer",
) -> Answers:
    """Answer the locality probes with the unedited model, without gradients."""
    with torch.no_grad():
        return lm.answers(locality_batch(lm, batch, positions), weights)


def labelled(answers: Answers) -> Answers:
    """Give the answers at the positions that have a label."""
    keep = answers.labels >= 0
    return replace(answers, logits=answers.logits[keep], labels=answers.labels[keep], rows=answers.rows[keep])


def edit_losses(
    lm: LanguageModel,
    edits: Sequence[Edit],
    batch: FitBatch,
    *,
    weights: Mapping[str, Tensor] | None = None,
    before: Answers | None = None,
    positions: Positions = "answer",
    pools_labels: bool = False,
    smoothing: float = 0.0,
) -> EditLosses:
    """Measure independent edits on the probes of a step, one forward pass for all.

    Args:
        lm: the model.
        edits: one a group, applied rowwise; gradients flow to their tensors.
        batch: the groups with their probes.
        weights: parameters to use in place of the model's own.
        before: the unedited answers to the locality probes at the same positions, if they are known.
        positions: where the divergence KL(unedited ‖ edited) is taken.
        pools_labels: average over all label positions of a group, then over groups; otherwise over those of a
            probe, then over probes.
        smoothing: of the labels: the share of the probability that is spread evenly over all other tokens.
    """
    probes = [*batch.outer, *batch.locality]
    owner = torch.tensor([group for group, _ in probes], device=lm.device)
    count = len(batch.outer)
    asked = lm.batch([(p.prompt, p.answer) for _, p in probes])
    if positions == "all":
        asked = _with_unlabelled(lm, asked, count)
    rowwise = Rowwise(lm, edits)
    kept = (
        None if weights else lm.keep(asked, rowwise.depths)
    )  # with other weights the blocks below are not the model's
    if before is None:
        before = _unedited(lm, asked, torch.arange(count, asked.size, device=lm.device), kept, weights)
    answers = rowwise.answers(asked, owner, weights, kept=kept)
    is_outer = answers.rows < count
    followed, after = _at(answers, is_outer), _at(answers, ~is_outer)
    unit = owner if pools_labels else torch.arange(len(owner), device=lm.device)
    said, unedited = labelled(after), labelled(before)
    return EditLosses(
        edit=_averaged(-followed.log_probs(), unit[followed.rows]),
        smoothed=_averaged(_smoothed_loss(followed, smoothing), unit[followed.rows]),
        locality=_averaged(divergence(before.logits, after.logits), unit[after.rows]),
        success=_all_of(followed.is_right(), followed.rows),
        drawdown=_all_of(unedited.is_right(), unedited.rows) - _all_of(said.is_right(), said.rows),
    )


@torch.no_grad()
def _unedited(
    lm: LanguageModel, asked: Batch, rows: Tensor, kept: Kept | None, weights: Mapping[str, Tensor] | None
) -> Answers:
    """Answer some rows of a batch with the unedited model."""
    return lm.answers(asked.select(rows), weights, kept=kept and kept.select(rows, asked.size))


def _with_unlabelled(lm: LanguageModel, batch: Batch, first_row: int) -> Batch:
    """Add, for the rows from `first_row` on, every position that holds a token and predicts no label."""
    if lm.kind is not ModelKind.CAUSAL:
        return batch
    is_free = batch.attention_mask.bool().clone()
    is_free[:first_row] = False
    is_free[batch.rows, batch.positions] = False
    free_rows, free_positions = is_free.nonzero().unbind(1)
    rows, order = torch.cat([batch.rows, free_rows]).sort(stable=True)
    labels = torch.cat([batch.labels, torch.full_like(free_rows, -1)])
    positions = torch.cat([batch.positions, free_positions])
    return replace(batch, labels=labels[order], rows=rows, positions=positions[order])


def _at(answers: Answers, chosen: Tensor) -> Answers:
    return replace(answers, logits=answers.logits[chosen], labels=answers.labels[chosen], rows=answers.rows[chosen])


def _smoothed_loss(answers: Answers, smoothing: float) -> Tensor:
    """Give -log p of each label, (N,), or its mean with that of all other tokens.

    Source: De Cao et al. 2021, `label_smoothed_nll_loss`: each other token gets smoothing / (V - 1).
    """
    loss = -answers.log_probs()
    if smoothing == 0:
        return loss
    others = smoothing / (answers.logits.shape[1] - 1)
    return (1 - smoothing - others) * loss - others * answers.logits.log_softmax(1).sum(1)


def _averaged(values: Tensor, unit: Tensor) -> Tensor:
    """Average (N,) values within each unit, and the units' means."""
    sums, counts = _summed(values, unit)
    return (sums / counts).mean()


def _all_of(is_true: Tensor, rows: Tensor) -> Tensor:
    """Give the fraction of rows of which all (N,) values are true."""
    sums, counts = _summed(is_true.float(), rows)
    return (sums == counts).float().mean()


def _summed(values: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Add up (N,) values within each unit that occurs, and count them."""
    place: Tensor
    counts: Tensor
    _, place, counts = unit.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add(0, place, values)
    return sums, counts

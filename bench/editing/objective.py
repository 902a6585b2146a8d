"""The objective that learned editors share: install the edit, leave everything else as it was.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 3.2, equation 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.editing.edit import Edit
from bench.editing.request import EditRequest, Probe
from bench.editing.rowwise import Rowwise
from bench.models.answers import Answers
from bench.models.encoding import Batch, Part
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence
from bench.models.replay import Kept

__all__ = [
    "EditLosses",
    "FitBatch",
    "FitLoss",
    "Positions",
    "Unedited",
    "edit_losses",
    "labelled",
    "locality_parts",
    "unedited",
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


class Unedited(NamedTuple):
    """Some locality probes of a step, of like length, with the answers before any edit.

    Args:
        part: the probes, rows by their place in `FitBatch.locality`; positions that are no answer's have the label -1.
        answers: theirs.
    """

    part: Part
    answers: Answers


def unedited(
    lm: LanguageModel,
    batch: FitBatch,
    weights: Mapping[str, Tensor] | None = None,
    *,
    positions: Positions = "answer",
) -> list[Unedited]:
    """Answer the locality probes of a step with the unedited model; gradients flow to `weights`."""
    parts = locality_parts(lm, batch, positions)
    return [Unedited(part, lm.answers(part.batch, weights, is_sparse=True)) for part in parts]


def labelled(answers: Answers) -> Answers:
    """Give the answers at the positions that have a label."""
    keep = answers.labels >= 0
    if bool(keep.all()):
        return answers
    return replace(answers, logits=answers.logits[keep], labels=answers.labels[keep], rows=answers.rows[keep])


def edit_losses(
    lm: LanguageModel,
    edits: Sequence[Edit],
    batch: FitBatch,
    *,
    weights: Mapping[str, Tensor] | None = None,
    before: Sequence[Unedited] | None = None,
    positions: Positions = "answer",
    pools_labels: bool = False,
    smoothing: float = 0.0,
) -> EditLosses:
    """Measure independent edits on the probes of a step; a forward pass serves all of like length.

    Args:
        lm: the model.
        edits: one a group, applied rowwise; gradients flow to their tensors.
        batch: the groups with their probes.
        weights: parameters to use in place of the model's own.
        before: what `unedited` gave for the batch at the same positions, if it is known.
        positions: where the divergence KL(unedited ‖ edited) is taken.
        pools_labels: average over all label positions of a group, then over groups; otherwise over those of a
            probe, then over probes.
        smoothing: of the labels: the share of the probability that is spread evenly over all other tokens.
    """
    rowwise = Rowwise(lm, edits)
    depths = None if weights else rowwise.depths  # with other weights the blocks below are not the model's

    def kept(part: Part) -> Kept | None:
        return None if depths is None else lm.keep(part.batch, depths)

    loss, smoothed, is_right = _Values(), _Values(), _Values()
    owner = torch.tensor([group for group, _ in batch.outer], device=lm.device)
    for part in _parts(lm, batch.outer):
        said = rowwise.answers(part.batch, owner[part.rows], weights, kept=kept(part))
        rows = part.rows[said.rows]
        of_labels = -said.log_probs()
        loss.add(of_labels, rows)
        smoothed.add(_smoothed(of_labels, said, smoothing), rows)
        is_right.add(said.is_right().float(), rows)

    gap, was_right, stays_right = _Values(), _Values(), _Values()
    of_locality = torch.tensor([group for group, _ in batch.locality], device=lm.device)
    given: Iterable[tuple[Part, Answers | None]]
    given = before or ((part, None) for part in locality_parts(lm, batch, positions))
    for part, known in given:
        below = kept(part)
        first = _quietly(lm, part, weights, below) if known is None else known
        then = rowwise.answers(part.batch, of_locality[part.rows], weights, kept=below)
        rows, is_label = part.rows[then.rows], then.labels >= 0
        gap.add(divergence(first.logits.detach(), then.logits), rows)
        was_right.add(first.is_right()[is_label].float(), rows[is_label])
        stays_right.add(then.is_right()[is_label].float(), rows[is_label])
    return EditLosses(
        edit=loss.averaged(owner if pools_labels else None),
        smoothed=smoothed.averaged(owner if pools_labels else None),
        locality=gap.averaged(of_locality if pools_labels else None),
        success=is_right.all_of(),
        drawdown=was_right.all_of() - stays_right.all_of(),
    )


@torch.no_grad()
def _quietly(lm: LanguageModel, part: Part, weights: Mapping[str, Tensor] | None, kept: Kept | None) -> Answers:
    return lm.answers(part.batch, weights, kept=kept, is_sparse=True)


def _parts(lm: LanguageModel, probes: Sequence[tuple[int, Probe]]) -> list[Part]:
    return lm.parts([(probe.prompt, probe.answer) for _, probe in probes])


def locality_parts(lm: LanguageModel, batch: FitBatch, positions: Positions = "answer") -> list[Part]:
    """Encode the locality probes of a step by length; positions that are no answer's have the label -1."""
    parts = _parts(lm, batch.locality)
    if positions == "answer":
        return parts
    return [part._replace(batch=_with_unlabelled(lm, part.batch)) for part in parts]


def _with_unlabelled(lm: LanguageModel, batch: Batch) -> Batch:
    """Add every position that holds a token and predicts no label."""
    if lm.kind is not ModelKind.CAUSAL:
        return batch
    is_free = batch.attention_mask.bool().clone()
    is_free[batch.rows, batch.positions] = False
    free_rows, free_positions = is_free.nonzero().unbind(1)
    rows, order = torch.cat([batch.rows, free_rows]).sort(stable=True)
    labels = torch.cat([batch.labels, torch.full_like(free_rows, -1)])
    positions = torch.cat([batch.positions, free_positions])
    return replace(batch, labels=labels[order], rows=rows, positions=positions[order])


def _smoothed(loss: Tensor, answers: Answers, smoothing: float) -> Tensor:
    """Give the mean of -log p of each label, (N,), and of all other tokens.

    Source: De Cao et al. 2021, `label_smoothed_nll_loss`: each other token gets smoothing / (V - 1).
    """
    if smoothing == 0:
        return loss
    others = smoothing / (answers.logits.shape[1] - 1)
    return (1 - smoothing - others) * loss - others * answers.logits.float().log_softmax(1).sum(1)


class _Values:
    """Numbers at label positions, gathered part by part, with the probe of each."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._rows: list[Tensor] = []

    def add(self, values: Tensor, rows: Tensor) -> None:
        """Add (N,) values, each of the probe `rows` says."""
        self._values.append(values)
        self._rows.append(rows)

    def averaged(self, unit: Tensor | None) -> Tensor:
        """Average within each unit, and the units' means; `unit` gives that of each probe, None its own.

        Nothing has the average NaN: a step without a probe of a kind is skipped and counted.
        """
        if not self._rows:
            return torch.tensor(torch.nan)
        rows = torch.cat(self._rows)
        sums, counts = _summed(torch.cat(self._values), rows if unit is None else unit[rows])
        return (sums / counts).mean()

    def all_of(self) -> Tensor:
        """Give the fraction of probes of which all values are 1; NaN if there is none."""
        if not self._rows:
            return torch.tensor(torch.nan)
        sums, counts = _summed(torch.cat(self._values), torch.cat(self._rows))
        return (sums == counts).float().mean()


def _summed(values: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Add up (N,) values within each unit that occurs, and count them."""
    place: Tensor
    counts: Tensor
    _, place, counts = unit.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add(0, place, values)
    return sums, counts

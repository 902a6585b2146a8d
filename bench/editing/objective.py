"""The objective that learned editors share: install the edit, leave everything else as it was.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 3.2, equation 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.editing.edit import Edit
from bench.editing.request import EditRequest, Probe
from bench.editing.rowwise import Rowwise
from bench.models.answers import Answers, divergence
from bench.models.language_model import LanguageModel

__all__ = ["FitBatch", "FitLoss", "edit_objective", "locality_answers"]


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


def locality_answers(lm: LanguageModel, batch: FitBatch, weights: Mapping[str, Tensor] | None = None) -> Answers:
    """Answer the locality probes with the unedited model, without gradients."""
    with torch.no_grad():
        return lm.answers(lm.batch([(p.prompt, p.answer) for _, p in batch.locality]), weights)


def edit_objective(
    lm: LanguageModel,
    edits: Sequence[Edit],
    batch: FitBatch,
    *,
    c_edit: float,
    c_locality: float = 1.0,
    weights: Mapping[str, Tensor] | None = None,
    before: Answers | None = None,
) -> FitLoss:
    """Compute c_edit · L_edit + c_locality · L_locality of independent edits, one forward pass for all.

    L_edit is the mean over outer probes of the mean negative log-likelihood of the answer; L_locality the mean over
    locality probes of KL(unedited ‖ edited), averaged over the answer positions.

    Args:
        lm: the model.
        edits: one a group, applied rowwise; gradients flow to their tensors.
        batch: the groups with their probes.
        c_edit: weight of the edit loss; 0.1 in the paper.
        c_locality: weight of the locality loss; 1 in the paper.
        weights: parameters to use in place of the model's own.
        before: the unedited answers to the locality probes, if they are known.
    """
    before = before or locality_answers(lm, batch, weights)
    probes = [*batch.outer, *batch.locality]
    owner = torch.tensor([group for group, _ in probes], device=lm.device)
    answers = Rowwise(lm, edits).answers(lm.batch([(p.prompt, p.answer) for _, p in probes]), owner, weights)
    count = len(batch.outer)
    is_outer = answers.rows < count
    row_loss = answers.row_loss()[:count]
    kl = divergence(before.logits, answers.logits[~is_outer])
    edit, locality = row_loss.mean(), before.mean_rows(kl).mean()
    return FitLoss(
        total=c_edit * edit + c_locality * locality,
        edit=edit.detach(),
        locality=locality.detach(),
        success=_right_rows(answers)[:count].mean(),
        drawdown=_right_rows(before).mean() - _right_rows(answers)[count:].mean(),
        parts={},
    )


def _right_rows(answers: Answers) -> Tensor:
    """Give 1 for each row whose every label is the most probable token, 0 for the others, (B,)."""
    return (answers.sum_rows(answers.is_right().float()) == answers.tokens()).float()

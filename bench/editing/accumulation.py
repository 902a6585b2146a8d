"""The gradient of one step of a fit, gathered over micro-batches; those that are not finite are left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.editing.fit_config import Precision
from bench.editing.learner import Learner
from bench.editing.objective import FitBatch, FitLoss

__all__ = ["Gathered", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The gradient of one step, and what was seen on the way.

    Args:
        gradient: one tensor a parameter, None where nothing depends on it.
        norm: global norm of it; 0 if nothing was finite.
        loss: means over the micro-batches that were finite, on the CPU; None if none was.
        skipped: how many micro-batches were left out.
    """

    gradient: tuple[Tensor | None, ...]
    norm: float
    loss: FitLoss | None
    skipped: int


def gather(
    learner: Learner, batches: Sequence[FitBatch], parameters: Sequence[Tensor], *, precision: Precision
) -> Gathered:
    """Compute the gradient of the mean loss of some micro-batches, one after the other.

    Each counts by its groups, so that the result is that of one batch of them all. A micro-batch whose loss or
    gradient holds NaN or infinity adds nothing; the others keep their weights, as in the reference code of MEND.
    The device is read once a micro-batch.
    """
    groups = sum(len(batch.groups) for batch in batches)
    gradient: list[Tensor | None] = [None] * len(parameters)
    norm, seen = 0.0, []
    for batch in batches:
        with torch.enable_grad(), _arithmetic(parameters[0].device, precision):
            loss = learner.loss(batch, is_training=True)
        grads = torch.autograd.grad(loss.total, parameters, allow_unused=True)
        numbers, norm_here = _read(loss, grads)
        if not (math.isfinite(numbers.total) and math.isfinite(norm_here)):
            continue
        share = len(batch.groups) / groups
        seen.append((share, numbers))
        norm = norm_here
        gradient = [_sum(old, new, share) for old, new in zip(gradient, grads, strict=True)]
    if len(batches) > 1:
        norm = float(torch.nn.utils.get_total_norm([g for g in gradient if g is not None]))
    return Gathered(
        gradient=tuple(gradient), norm=norm, loss=_mean(seen) if seen else None, skipped=len(batches) - len(seen)
    )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A `FitLoss` as numbers."""

    total: float
    edit: float
    locality: float
    success: float
    drawdown: float
    parts: Mapping[str, float]


def _arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    # Without its cache: a weight that was first cast where no gradient is wanted would have none later.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def _read(loss: FitLoss, grads: Sequence[Tensor | None]) -> tuple[_Numbers, float]:
    """Give a loss as numbers, and the norm of its gradient, reading the device once."""
    norm = torch.nn.utils.get_total_norm([g for g in grads if g is not None])
    names = [name for name, value in loss.parts.items() if isinstance(value, Tensor)]
    scalars = [loss.total, loss.edit, loss.locality, loss.success, loss.drawdown, *(loss.parts[n] for n in names), norm]
    stacked = torch.stack([torch.as_tensor(x).detach().to(norm.device, torch.float32) for x in scalars])
    total, edit, locality, success, drawdown, *others, norm_read = stacked.tolist()
    parts = {name: float(value) for name, value in loss.parts.items() if name not in names}
    parts |= dict(zip(names, others, strict=True))
    return _Numbers(total, edit, locality, success, drawdown, parts), norm_read


def _sum(old: Tensor | None, new: Tensor | None, share: float) -> Tensor | None:
    """Add a share of a gradient; never in place of `new`, which autograd may use more than once."""
    if new is None:
        return old
    if old is None:
        return new if share == 1 else new * share
    return old.add_(new, alpha=share)


def _mean(seen: Sequence[tuple[float, _Numbers]]) -> FitLoss:
    whole = sum(share for share, _ in seen)

    def mean(values: Sequence[float]) -> float:
        return sum(share * value for (share, _), value in zip(seen, values, strict=True)) / whole

    return FitLoss(
        total=torch.tensor(mean([n.total for _, n in seen])),
        edit=torch.tensor(mean([n.edit for _, n in seen])),
        locality=torch.tensor(mean([n.locality for _, n in seen])),
        success=torch.tensor(mean([n.success for _, n in seen])),
        drawdown=torch.tensor(mean([n.drawdown for _, n in seen])),
        parts={name: mean([n.parts[name] for _, n in seen]) for name in seen[0][1].parts},
    )

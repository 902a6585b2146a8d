"""Log-probabilities and divergences of logits, a few rows at a time and in float32 whatever the logits are in.

With a vocabulary of 50,000 one float32 copy of the logits is larger than all else of a batch. Here nothing of their
size is made in the forward pass, and one gradient of their size and dtype in a first backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["divergence", "log_probs"]

# Numbers worked on at once: 8 MiB in float32 stay in a CPU's cache, and come from the heap again instead of from the
# system, page by page. A GPU wants long rows.
_AT_ONCE = {"cpu": 2**21}
_AT_ONCE_ELSEWHERE = 2**26


def log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """Give the log-probability of one label a row.

    Args:
        logits: (N, V).
        labels: (N,) int64.

    Returns:
        (N,) in float32, nats. Gradients flow to the logits, second ones too.
    """
    found: Tensor = _LogProbs.apply(logits, labels)  # type: ignore[no-untyped-call]
    return found


def divergence(before: Tensor, after: Tensor) -> Tensor:
    """Give KL(before ‖ after) of two sets of logits (N, V) at each position.

    Equal logits give exactly 0: what both have in common cancels before anything is rounded.

    Returns:
        (N,) in float32, nats. First gradients flow to both.
    """
    found: Tensor = _Divergence.apply(before, after)  # type: ignore[no-untyped-call]
    return found


def _slices(logits: Tensor) -> Iterator[slice]:
    rows = max(1, _AT_ONCE.get(logits.device.type, _AT_ONCE_ELSEWHERE) // max(1, logits.shape[1]))
    for start in range(0, len(logits), rows):
        yield slice(start, start + rows)


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        norms = logits.new_empty(len(logits), dtype=torch.float32)
        for part in _slices(logits):
            norms[part] = logits[part].float().logsumexp(1)
        ctx.save_for_backward(logits, labels, norms)
        return logits.gather(1, labels[:, None]).squeeze(1).float() - norms

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        logits, labels, norms = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            slope = -grad[:, None] * logits.float().softmax(1)
            return slope.scatter_add(1, labels[:, None], grad[:, None]).to(logits.dtype), None
        result = torch.empty_like(logits)
        for part in _slices(logits):
            slope = (logits[part] - norms[part, None]).exp_().mul_(-grad[part, None])
            result[part] = slope.scatter_add_(1, labels[part, None], grad[part, None])
        return result, None


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, before: Tensor, after: Tensor) -> Tensor:
        result, of_before, of_after = (before.new_empty(len(before), dtype=torch.float32) for _ in range(3))
        for part in _slices(before):
            b, a = before[part].float(), after[part].float()
            of_before[part], of_after[part] = b.logsumexp(1), a.logsumexp(1)
            gap = (b - a).add_((of_after[part] - of_before[part])[:, None])
            result[part] = gap.mul_((b - of_before[part, None]).exp_()).sum(1)
        ctx.save_for_backward(before, after, of_before, of_after, result)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,) = grads
        before, after, of_before, of_after, values = ctx.saved_tensors
        to_before, to_after = (torch.empty_like(x) if wanted else None for x, wanted in _wanted(ctx, before, after))
        for part in _slices(before):
            log_p = before[part] - of_before[part, None]
            log_q = after[part] - of_after[part, None]
            p = log_p.exp()
            if to_before is not None:
                to_before[part] = (log_p - log_q).sub_(values[part, None]).mul_(p).mul_(grad[part, None])
            if to_after is not None:
                to_after[part] = log_q.exp_().sub_(p).mul_(grad[part, None])
        return to_before, to_after


def _wanted(ctx: Any, *inputs: Tensor) -> Iterator[tuple[Tensor, bool]]:
    return zip(inputs, ctx.needs_input_grad, strict=True)

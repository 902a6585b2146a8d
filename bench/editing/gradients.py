"""Gradients of edits as factors: for each token the input of a matrix and the loss gradient at its output.

One token adds δ uᵀ to the gradient of a linear map z = W u, so the gradient of an edit has the rank of its tokens
and is kept as (u, δ). Backward stops at the lowest matrix asked for: nothing below it requires grad.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.editing.edit import Edit
from bench.editing.request import EditRequest
from bench.editing.rowwise import Rowwise
from bench.errors import EditError
from bench.models.answers import Answers
from bench.models.architecture import Matrix
from bench.models.language_model import LanguageModel

__all__ = ["Reduction", "TokenFactors", "edit_gradients", "summed_loss"]

Reduction = Literal["mean_over_batch", "per_edit_mean_sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFactors:
    """The gradient factors of one matrix for several independent groups of requests.

    Rows whose input or whose gradient is exactly zero (padding, tokens that the loss does not see) are left out.

    Args:
        inputs: u, (N, in_features), float32, group after group.
        grads: δ, (N, out_features), float32.
        counts: how many of the N rows belong to each group.
    """

    inputs: Tensor
    grads: Tensor
    counts: tuple[int, ...]

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cut (N, …) values into one tensor a group."""
        parts: tuple[Tensor, ...] = values.split(list(self.counts))
        return parts


def edit_gradients(
    lm: LanguageModel,
    groups: Sequence[Sequence[EditRequest]],
    matrices: Sequence[Matrix],
    *,
    reduction: Reduction = "mean_over_batch",
    under: Sequence[Edit] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    create_graph: bool = False,
) -> dict[str, TokenFactors]:
    """Compute the gradient factors of -log p(target | prompt) for independent groups of requests.

    Args:
        lm: the model.
        groups: each group's requests are learned together, independently of the other groups.
        matrices: the matrices whose gradient is wanted.
        reduction: a group's loss is the mean over all its label tokens (`mean_over_batch`), or the sum of its
            requests' own means (`per_edit_mean_sum`), with which a batch equals the sum of its edits.
        under: edits that are already in force, one a group: the gradient is taken at the edited weights.
        weights: parameters to use in place of the model's own; with `create_graph` gradients flow to them.
        create_graph: keep the graph, for second-order gradients.

    Returns:
        The factors by parameter name.

    Raises:
        EditError: a group is empty.
        DataError: a request does not fit into the model.
    """
    if not groups or not all(groups):
        raise EditError("there is no request to take a gradient of.")
    requests = [request for group in groups for request in group]
    owner = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=lm.device)
    batch = lm.batch([(request.prompt, request.target) for request in requests])
    # The fused attention kernels have no second derivative; torch's plain one has.
    attention = sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext()
    with torch.enable_grad(), attention, _tapped(lm, matrices) as taps:
        if under:
            answers = Rowwise(lm, under).answers(batch, owner, weights)
        else:
            answers = lm.answers(batch, weights, is_sparse=True)
        loss = summed_loss(answers, owner, len(groups), reduction)
        grads = torch.autograd.grad(loss, [taps[m.name].shift for m in matrices], create_graph=create_graph)
    return {
        m.name: _active(taps[m.name].inputs if create_graph else taps[m.name].inputs.detach(), grad, owner, len(groups))
        for m, grad in zip(matrices, grads, strict=True)
    }


def summed_loss(answers: Answers, owner: Tensor, groups: int, reduction: Reduction) -> Tensor:
    """Sum the groups' losses, a scalar in nats: they are independent, so one backward pass serves all.

    Args:
        answers: of the requests of all groups.
        owner: (B,) the group of each request.
        groups: how many there are.
        reduction: as `edit_gradients` takes it.
    """
    if reduction == "per_edit_mean_sum":
        return answers.row_loss().sum()
    of_label = owner[answers.rows]
    labels = torch.bincount(of_label, minlength=groups).float()
    return -(answers.log_probs() / labels[of_label]).sum()


@dataclass(slots=True)
class _Tap:
    inputs: Tensor
    shift: Tensor


@contextmanager
def _tapped(lm: LanguageModel, matrices: Sequence[Matrix]) -> Iterator[dict[str, _Tap]]:
    """Keep each matrix's input, and add a zero to its output at which the gradient can be asked for."""
    taps: dict[str, _Tap] = {}
    handles = []

    def tap(name: str) -> None:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            shift = torch.zeros_like(output, requires_grad=True)
            taps[name] = _Tap(arguments[0], shift)
            return output + shift

        handles.append(lm.model.get_submodule(name.rpartition(".")[0]).register_forward_hook(hook))

    try:
        for matrix in matrices:
            tap(matrix.name)
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def _active(inputs: Tensor, grads: Tensor, owner: Tensor, groups: int) -> TokenFactors:
    """Flatten (B, T, ·) factors to the rows that are not zero, and count them by group."""
    inputs, grads = (values.to(owner.device, torch.float32) for values in (inputs, grads))
    is_active = (inputs != 0).any(-1) & (grads != 0).any(-1)
    counts = torch.zeros(groups, dtype=torch.long, device=owner.device)
    counts = counts.index_add(0, owner, is_active.reshape(len(owner), -1).sum(1))
    return TokenFactors(inputs=inputs[is_active], grads=grads[is_active], counts=tuple(counts.tolist()))

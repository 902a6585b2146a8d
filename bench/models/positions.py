"""Lets the top of a model compute the answer positions only.

Behind the last attention nothing mixes positions any more: neither the last MLP nor the projection to the vocabulary
needs those that predict no label. No model's forward is rewritten: hooks choose what goes into these modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.models.encoding import Batch

__all__ = ["mlp_at_answers", "projection_at_answers"]

_WORTHWHILE = 0.6  # of all positions; with more the copying is not worth what is saved


@contextmanager
def projection_at_answers(model: PreTrainedModel, batch: Batch) -> Iterator[None]:
    """Let the projection to the vocabulary see the answer positions only, (N, D) instead of (B, T, D)."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        yield
        return

    def pick(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = arguments[0]  # of a model that is spread over devices, it may lie on another one than the batch
        return (x[batch.rows.to(x.device), batch.positions.to(x.device)], *arguments[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def mlp_at_answers(mlp: nn.Module, batch: Batch) -> Iterator[None]:
    """Let the last MLP see the answer positions only, (B, A, D) instead of (B, T, D); elsewhere it adds nothing.

    A is the most labels of a row. Rows stay rows, so that each can run under its own edit.
    """
    index = _padded_positions(batch)
    length = (batch.input_ids if batch.decoder_input_ids is None else batch.decoder_input_ids).shape[1]
    if index.shape[1] > _WORTHWHILE * length:
        yield
        return

    is_picked = False

    def pick(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        nonlocal is_picked
        # some models join rows and tokens, or pass what they pass by name: these get all positions
        is_picked = bool(arguments) and arguments[0].shape[:-1] == (batch.size, length)
        if not is_picked:
            return None
        x = arguments[0]
        # what fills a row up is computed and thrown away
        chosen = index.to(x.device).clamp(max=length - 1)
        return (x.gather(1, chosen.unsqueeze(-1).expand(-1, -1, x.shape[-1])), *arguments[1:])

    def spread(_: nn.Module, arguments: tuple[Tensor, ...], output: Any) -> Any:
        if not is_picked:
            return output
        y = output[0] if isinstance(output, tuple) else output
        whole = y.new_zeros(y.shape[0], length + 1, y.shape[-1])
        place = index.to(y.device).unsqueeze(-1).expand(-1, -1, y.shape[-1])
        whole = whole.scatter(1, place, y).narrow(1, 0, length)
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    with ExitStack() as stack:
        stack.callback(mlp.register_forward_pre_hook(pick).remove)
        stack.callback(mlp.register_forward_hook(spread).remove)
        yield


def _padded_positions(batch: Batch) -> Tensor:
    """Give the positions of each row's labels, (B, A), filled up with T, which no position is."""
    length = (batch.input_ids if batch.decoder_input_ids is None else batch.decoder_input_ids).shape[1]
    counts = torch.bincount(batch.rows, minlength=batch.size)
    index = torch.full((batch.size, int(counts.max())), length, device=batch.rows.device)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(batch.rows), device=batch.rows.device) - starts[batch.rows]
    index[batch.rows, place] = batch.positions
    return index

"""Replays what lies below an edit: the blocks that no edit changes are computed once for a batch.

No model's forward is rewritten. While a batch is replayed, each untouched block gives the kept output of the last of
them, whatever it is called with, so that the next block reads what it would have read.

Measured for GPT-2, GPT-Neo, GPT-J, GPT-NeoX, Llama, BERT, BART and T5: the same logits, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.architecture import Architecture

__all__ = ["Kept", "keeping", "replaying", "untouched_blocks"]


@dataclass(slots=True)
class Kept:
    """What the untouched blocks gave for a batch.

    Args:
        depths: for each stack, how many of its lowest blocks are untouched.
        outputs: for each stack, the output of the last of these as the block gave it, None if there is none.
    """

    depths: tuple[int, ...]
    outputs: list[Any]

    def select(self, rows: Tensor, size: int) -> Kept:
        """Give what was kept of some rows, (K,) indices of a batch of `size` rows."""

        def chosen(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(chosen(part) for part in value)
            # position biases that all rows share have one row
            return value[rows.to(value.device)] if isinstance(value, Tensor) and value.shape[0] == size else value

        return Kept(self.depths, [chosen(output) for output in self.outputs])


def untouched_blocks(architecture: Architecture, changed: Iterable[str]) -> tuple[int, ...]:
    """Count for each stack the lowest blocks that give what they gave before some parameters or modules changed.

    Args:
        architecture: of the model.
        changed: paths of parameters or modules.

    Returns:
        One count a stack. A change outside all blocks (an embedding, a norm) may reach every block: all are 0. A
        decoder reads its encoder, so that any change there leaves none of the decoder's blocks untouched.
    """
    counts = [len(stack.blocks) for stack in architecture.stacks]
    for path in changed:
        place = _place(architecture, path)
        if place is None:
            return (0,) * len(counts)
        stack, block = place
        counts[stack] = min(counts[stack], block)
        counts[stack + 1 :] = [0] * len(counts[stack + 1 :])
    return tuple(counts)


def _place(architecture: Architecture, path: str) -> tuple[int, int] | None:
    for index, stack in enumerate(architecture.stacks):
        for number, block in enumerate(stack.blocks):
            if path == block or path.startswith(f"{block}."):
                return index, number
    return None


class _EnoughError(Exception):
    """Ends a forward pass from which nothing more is wanted."""


@contextmanager
def keeping(model: nn.Module, architecture: Architecture, depths: tuple[int, ...]) -> Iterator[Kept]:
    """Keep what the untouched blocks give in the forward pass inside, which ends with the last of them."""
    kept = Kept(depths, [None] * len(depths))
    wanted = [index for index, depth in enumerate(depths) if depth > 0]
    handles = []
    for index in wanted:
        block = model.get_submodule(architecture.stacks[index].blocks[depths[index] - 1])
        handles.append(block.register_forward_hook(_keep(kept.outputs, index, is_last=index == wanted[-1])))
    try:
        yield kept
    except _EnoughError:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _keep(outputs: list[Any], index: int, *, is_last: bool) -> Any:
    def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        outputs[index] = _detached(output)
        if is_last:
            raise _EnoughError

    return hook


def _detached(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_detached(part) for part in value)
    return value.detach() if isinstance(value, torch.Tensor) else value


@contextmanager
def replaying(model: nn.Module, architecture: Architecture, kept: Kept) -> Iterator[None]:
    """Let the untouched blocks give what was kept of the same batch, and run none of them."""
    replaced: list[tuple[nn.Module, Any]] = []
    try:
        for stack, depth, output in zip(architecture.stacks, kept.depths, kept.outputs, strict=True):
            for path in stack.blocks[: depth if output is not None else 0]:
                block = model.get_submodule(path)
                # the block itself stays in place with all its attributes; only this one instance's forward changes
                replaced.append((block, block.__dict__.get("forward")))
                block.forward = _given(output)
        yield
    finally:
        for block, before in replaced:
            if before is None:
                del block.forward
            else:
                block.forward = before


def _given(output: Any) -> Any:
    def forward(*arguments: Any, **options: Any) -> Any:
        return output

    return forward

"""Finds the blocks and the editable matrices of a transformer from its modules.

Nothing here looks at a model's name. A stack is an outermost `ModuleList` of blocks of one class; the editable
matrices of a block are the pair of its MLP that maps the hidden size up and down again.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from bench.errors import ConfigError, ModelError, nearest
from bench.models.kind import ModelKind

__all__ = ["Architecture", "Matrix", "Stack", "find_architecture"]

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One weight matrix that an editor may change.

    Args:
        name: the parameter's name, e.g. `transformer.h.2.mlp.c_fc.weight`.
        module: the path of its module.
        in_features: width of the module's input.
        out_features: width of its output.
        is_transposed: the parameter is stored (in, out) as in Conv1D, not (out, in).
        stack: index of the stack that it is in.
        block: index of its block within the stack.
    """

    name: str
    module: str
    in_features: int
    out_features: int
    is_transposed: bool
    stack: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A run of blocks, lowest first: the one of a decoder-only model, or an encoder or decoder."""

    path: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What an editor may ask of a model's shape without touching its weights."""

    kind: ModelKind
    class_name: str
    parameters: int
    stacks: tuple[Stack, ...]
    matrices: tuple[Matrix, ...]

    def select(self, layers: str) -> tuple[Matrix, ...]:
        """Give the matrices named by a pattern, in the order of the model.

        Args:
            layers: `default` (the last 3 blocks, or the last 2 of encoder and of decoder), `last:n`, `all`,
                or shell patterns over module paths separated by spaces: `*.h.2.mlp.c_proj`.

        Raises:
            ConfigError: nothing matches, or there are fewer blocks.

        Source of the default: Mitchell et al. 2022 (arXiv:2110.11309), appendix C.
        """
        if layers == "all":
            return self.matrices
        if layers == "default":
            return self._last(2 if len(self.stacks) > 1 else 3)
        if match := re.fullmatch(r"last:([1-9]\d*)", layers):
            most = max(len(stack.blocks) for stack in self.stacks)
            if int(match[1]) > most:
                raise ConfigError(f"layers={layers!r} asks for more than the {most} blocks of this {self.class_name}.")
            return self._last(int(match[1]))
        patterns = layers.split()
        found = tuple(m for m in self.matrices if any(fnmatch.fnmatchcase(m.module, p) for p in patterns))
        if not found:
            paths = [m.module for m in self.matrices]
            raise ConfigError(
                f"layers={layers!r} names no editable matrix of this {self.class_name}; "
                f"it has {paths[0]!r} … {paths[-1]!r}.{nearest(layers, paths)}"
            )
        return found

    def _last(self, count: int) -> tuple[Matrix, ...]:
        first = [len(stack.blocks) - count for stack in self.stacks]
        return tuple(m for m in self.matrices if m.block >= first[m.stack])


def find_architecture(model: nn.Module, kind: ModelKind) -> Architecture:
    """Read the architecture off a model, which may be on the meta device.

    Raises:
        ModelError: no stack of blocks with an MLP was found.
    """
    stacks: list[Stack] = []
    matrices: list[Matrix] = []
    for path, blocks in _stacks(model):
        found = [m for i, block in enumerate(blocks) for m in _mlp(f"{path}.{i}", block, len(stacks), i)]
        if found:
            stacks.append(Stack(path=path, blocks=tuple(f"{path}.{i}" for i in range(len(blocks)))))
            matrices.extend(found)
    if not matrices:
        raise ModelError(
            f"no editable matrices were found in {type(model).__name__}: it has no stack of blocks whose MLP "
            "is made of Linear or Conv1D modules."
        )
    return Architecture(
        kind=kind,
        class_name=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        stacks=tuple(stacks),
        matrices=tuple(matrices),
    )


def _stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    found: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(outer + ".") for outer in found):
            continue
        if len({type(block) for block in module}) == 1:
            found.append(path)
            yield path, module


def _mlp(path: str, block: nn.Module, stack: int, index: int) -> Iterator[Matrix]:
    linear = [
        (name, module)
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not _ATTENTION.search(name)
    ]
    shapes = [_shape(module) for _, module in linear]
    downs = [i for i, (n_in, n_out) in enumerate(shapes) if (n_out, n_in) in shapes[:i]]
    if not downs:
        return
    down = downs[-1]
    # A gated MLP has two matrices up; the activated one comes first and is the one that the paper edits in T5.
    up = shapes.index((shapes[down][1], shapes[down][0]))
    for i in (up, down):
        name, module = linear[i]
        yield Matrix(
            name=f"{path}.{name}.weight",
            module=f"{path}.{name}",
            in_features=shapes[i][0],
            out_features=shapes[i][1],
            is_transposed=isinstance(module, Conv1D),
            stack=stack,
            block=index,
        )


def _shape(module: nn.Module) -> tuple[int, int]:
    weight = module.get_parameter("weight")
    n_in, n_out = weight.shape if isinstance(module, Conv1D) else weight.shape[::-1]
    return n_in, n_out

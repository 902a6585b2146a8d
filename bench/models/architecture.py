"""Finds the blocks and the editable matrices of a transformer from its modules.

Nothing here looks at a model's name. A stack is an outermost `ModuleList` of blocks of one class; the matrices of a
block that are edited by default are the pair of its MLP that maps the hidden size up and down again. Which way a matrix
is stored follows from its module's type.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

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
        place: index among the matrices of its block.
    """

    name: str
    module: str
    in_features: int
    out_features: int
    is_transposed: bool
    stack: int
    block: int
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A run of blocks, lowest first: the one of a decoder-only model, or an encoder or decoder."""

    path: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What an editor may ask of a model's shape without touching its weights.

    Args:
        kind: of the model.
        class_name: of the model, for messages.
        parameters: how many it has.
        stacks: in the order of the model.
        matrices: of the MLPs, two a block, lowest first: what is edited unless something else is named.
        others: further Linear and Conv1D weights of the blocks, such as those of the attention.
        last_mlp: the path of the module that is the last block's MLP and mixes no positions. None for a classifier,
            which reads its answer at the first position, and where there is no such module.
    """

    kind: ModelKind
    class_name: str
    parameters: int
    stacks: tuple[Stack, ...]
    matrices: tuple[Matrix, ...]
    others: tuple[Matrix, ...] = ()
    last_mlp: str | None = None

    def select(self, layers: str) -> tuple[Matrix, ...]:
        """Give the matrices named by a pattern, in the order of the model.

        Args:
            layers: `default` (the last 3 blocks, or the last 2 of encoder and of decoder), `last:n`, `all`,
                or shell patterns over module paths separated by spaces: `*.h.2.mlp.c_proj`. A pattern chooses among
                the matrices of the MLPs; one that fits none of them, among the others: `*.h.[45].attn.c_attn`.

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
        chosen: set[str] = set()
        for pattern in layers.split():
            for matrices in (self.matrices, self.others):
                fitting = {m.name for m in matrices if fnmatch.fnmatchcase(m.module, pattern)}
                chosen |= fitting
                if fitting:
                    break
        if not chosen:
            paths = [m.module for m in (*self.matrices, *self.others)]
            raise ConfigError(
                f"layers={layers!r} names no editable matrix of this {self.class_name}; it has "
                f"{self.matrices[0].module!r} … {self.matrices[-1].module!r}.{nearest(layers, paths)}"
            )
        found = [m for m in (*self.matrices, *self.others) if m.name in chosen]
        return tuple(sorted(found, key=lambda m: (m.stack, m.block, m.place)))

    def outline(self) -> tuple[str, ...]:
        """Give the matrices of the MLPs in one line a stack, as `transformer.h.0-11.mlp.{c_fc,c_proj}`."""
        lines = []
        for index, stack in enumerate(self.stacks):
            mine = [m for m in self.matrices if m.stack == index]
            ends = dict.fromkeys(m.module.removeprefix(f"{stack.blocks[m.block]}.") for m in mine)
            blocks = f"{mine[0].block}-{mine[-1].block}"
            parts = [end.split(".") for end in ends]
            shared = 0
            while len({tuple(part[: shared + 1]) for part in parts}) == 1 and shared + 1 < len(parts[0]):
                shared += 1
            head = ".".join([stack.path, blocks, *parts[0][:shared]])
            lines.append(f"{head}.{{{','.join('.'.join(part[shared:]) for part in parts)}}}")
        return tuple(lines)

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
    others: list[Matrix] = []
    for path, blocks in _stacks(model):
        paths = tuple(f"{path}.{i}" for i in range(len(blocks)))
        found = [_linear(paths[i], block, len(stacks), i) for i, block in enumerate(blocks)]
        pairs = [_mlp(linear, paths[i]) for i, linear in enumerate(found)]
        if any(pairs):
            stacks.append(Stack(path=path, blocks=paths))
            matrices.extend(m for pair in pairs for m in pair)
            others.extend(m for linear, pair in zip(found, pairs, strict=True) for m in linear if m not in pair)
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
        others=tuple(others),
        last_mlp=None if kind is ModelKind.CLASSIFIER else _last_mlp(model, stacks, matrices),
    )


def _last_mlp(model: nn.Module, stacks: Sequence[Stack], matrices: Sequence[Matrix]) -> str | None:
    """Find the module that holds both matrices of the last block, if all that it learns is linear maps."""
    block = stacks[-1].blocks[-1]
    paths = [m.module.split(".") for m in matrices if m.module.startswith(f"{block}.")]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    path = ".".join(names[0] for names in shared)
    if not path.startswith(f"{block}."):
        return None
    # a parameter of its own could weigh a position against the one before, as in RWKV
    linear = (module for module in model.get_submodule(path).modules() if isinstance(module, nn.Linear | Conv1D))
    learned = {id(parameter) for module in linear for parameter in module.parameters(recurse=False)}
    return path if all(id(p) in learned for p in model.get_submodule(path).parameters()) else None


def _stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    found: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(outer + ".") for outer in found):
            continue
        if len({type(block) for block in module}) == 1:
            found.append(path)
            yield path, module


def _linear(path: str, block: nn.Module, stack: int, index: int) -> list[Matrix]:
    """Give every Linear and Conv1D weight of a block."""
    modules = [(name, module) for name, module in block.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    matrices = []
    for place, (name, module) in enumerate(modules):
        n_in, n_out = _shape(module)
        matrices.append(
            Matrix(
                name=f"{path}.{name}.weight",
                module=f"{path}.{name}",
                in_features=n_in,
                out_features=n_out,
                is_transposed=isinstance(module, Conv1D),
                stack=stack,
                block=index,
                place=place,
            )
        )
    return matrices


def _mlp(linear: Sequence[Matrix], path: str) -> tuple[Matrix, ...]:
    """Give the matrix up and the matrix down of a block's MLP; nothing if it has none."""
    linear = [m for m in linear if not _ATTENTION.search(m.module.removeprefix(path))]
    for place in reversed(range(len(linear))):
        down = linear[place]
        # A gated MLP has two matrices up; the activated one comes first and is the one that the paper edits in T5.
        for up in linear[:place]:
            if (up.in_features, up.out_features) == (down.out_features, down.in_features):
                return up, down
    return ()


def _shape(module: nn.Module) -> tuple[int, int]:
    weight = module.get_parameter("weight")
    n_in, n_out = weight.shape if isinstance(module, Conv1D) else weight.shape[::-1]
    return n_in, n_out

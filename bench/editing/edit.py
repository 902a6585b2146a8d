"""What an editor returns: a change that the harness applies, in one of four kinds.

Edit
├── WeightEdit    changes parameters: low-rank, dense, or replaced
├── ModuleEdit    patches the output of modules (GRACE, WISE)
├── ForwardEdit   wraps the scoring of a batch, and what is said (SERAC, a cache)
└── PromptEdit    rewrites the prompt (in-context editing)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.editing.request import Text
from bench.errors import EditError
from bench.models.answers import Answers
from bench.models.encoding import Batch

__all__ = [
    "Change",
    "Dense",
    "Edit",
    "ForwardEdit",
    "LowRank",
    "ModuleEdit",
    "Patch",
    "PromptEdit",
    "Replacement",
    "Rows",
    "State",
    "WeightEdit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Tensors and JSON values by name: what `prepare` returns, and what an edit remembers."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


@dataclass(frozen=True, slots=True)
class LowRank:
    """A change of a matrix as two factors; a row x of its input gains `(x @ left) @ right`.

    Args:
        left: (in_features, rank).
        right: (rank, out_features).
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        """Check that the two belong together; raises EditError if not."""
        _check_tensors(self)
        left, right = tuple(self.left.shape), tuple(self.right.shape)
        if not (len(left) == len(right) == 2 and left[1] == right[0]):
            raise EditError(
                f"factors of shape {left} and {right} make no matrix: (in_features, rank) and (rank, out_features) do."
            )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Dense:
    """A change added to a parameter, in the parameter's own shape."""

    delta: Tensor

    def __post_init__(self) -> None:
        """Check that it is a tensor; raises EditError if not."""
        _check_tensors(self)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.delta,)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new value of a parameter, in the parameter's own shape; it can only be written."""

    value: Tensor

    def __post_init__(self) -> None:
        """Check that it is a tensor; raises EditError if not."""
        _check_tensors(self)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.value,)


Change = LowRank | Dense | Replacement


def _check_tensors(change: Change) -> None:
    tensors: tuple[object, ...] = change.tensors
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise EditError(f"a {type(change).__name__} takes tensors, and was given a {type(tensor).__name__}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Which rows of a running batch a patch sees.

    Args:
        index: (K,) indices of the rows in the batch.
        attention_mask: (K, T), 1 where there is a token.
        prompt_end: (K,) position of the last token of each prompt.
    """

    index: Tensor
    attention_mask: Tensor
    prompt_end: Tensor


Patch = Callable[[Tensor, Tensor, Rows], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(ABC):
    """One change of a model that installs all the requests it was made for.

    In a sequence changes of weights add up; an edit of another kind takes the place of the one before it, and is to
    stand for all that it remembers.

    Args:
        memory: what the editor must be given back with the next edit of a sequence.
    """

    memory: State | None = None

    @property
    @abstractmethod
    def is_exportable(self) -> bool:
        """Say whether a plain model can carry this edit."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """Give every tensor that the edit consists of, without its memory."""

    @property
    def touches(self) -> tuple[str, ...]:
        """Give the parameters and modules that it changes: what the blocks below them give stays as it was."""
        return ()

    @property
    def bytes(self) -> int:
        """Count the bytes of the edit with its memory."""
        own = sum(t.numel() * t.element_size() for t in self.tensors)
        return own + (self.memory.bytes if self.memory else 0)

    @property
    def is_finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.tensors if t.is_floating_point())

    def rewrite(self, prompt: Text) -> Text:
        """Give the prompt that the edited model is to read."""
        return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightEdit(Edit):
    """Changes of parameters, by the parameter's name."""

    changes: Mapping[str, Change]

    def __post_init__(self) -> None:
        """Check the kinds of the changes; raises EditError if one is none."""
        changes: Mapping[str, object] = self.changes  # what they are said to be, and may not be
        for name, change in changes.items():
            if not isinstance(change, Change):
                raise EditError(
                    f"an edit changes {name!r} by a {type(change).__name__}; it can be LowRank, Dense or Replacement."
                )

    @property
    def touches(self) -> tuple[str, ...]:
        return tuple(self.changes)

    @property
    def is_exportable(self) -> bool:
        return True

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(t for change in self.changes.values() for t in change.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleEdit(Edit):
    """Patches of modules: `patch(output, input, rows)` gives the new output of those rows.

    Args:
        patches: by module path; output and input are (K, T, features).
        parts: the tensors that the patches close over, for their size.
    """

    patches: Mapping[str, Patch]
    parts: tuple[Tensor, ...] = ()

    @property
    def touches(self) -> tuple[str, ...]:
        return tuple(self.patches)

    @property
    def is_exportable(self) -> bool:
        return False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardEdit(Edit):
    """Wraps the scoring of a batch, and what is said freely.

    Args:
        wrap: given the rows under this edit and the unedited answers to them, gives the edited answers.
        respond: given the prompts under this edit, gives what is said to each, or None where the unedited model is
            to speak; without it the edit has no free generation.
        parts: the tensors that it closes over, for their size; those that its memory holds too count once.
    """

    wrap: Callable[[Batch, Answers], Answers]
    respond: Callable[[Sequence[Text]], Sequence[str | None]] | None = None
    parts: tuple[Tensor, ...] = ()

    @property
    def is_exportable(self) -> bool:
        return False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.parts

    @property
    def bytes(self) -> int:
        remembered = tuple(self.memory.tensors.values()) if self.memory else ()
        distinct = {id(tensor): tensor for tensor in (*self.parts, *remembered)}
        return sum(t.numel() * t.element_size() for t in distinct.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEdit(Edit):
    """Rewrites prompts, as in-context editing does; running text has the empty prompt."""

    replace: Callable[[Text], Text]

    @property
    def is_exportable(self) -> bool:
        return False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return ()

    def rewrite(self, prompt: Text) -> Text:
        return self.replace(prompt)

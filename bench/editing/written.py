"""Applies one edit by writing it into the model's parameters, and puts the kept tensors back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bench.editing.edit import Change, Dense, LowRank, Replacement, WeightEdit
from bench.errors import EditError
from bench.models.language_model import LanguageModel

__all__ = ["changed_parameter", "written"]


@contextmanager
def written(lm: LanguageModel, edit: WeightEdit) -> Iterator[None]:
    """Hold an edit in the model's parameters for the length of a `with` block.

    The tensors that were there are kept and put back, bit for bit, whatever happens inside.

    Raises:
        EditError: the edit names a parameter that does not exist, or has a wrong shape.
    """
    new = {name: changed_parameter(lm, name, change) for name, change in edit.changes.items()}
    kept: dict[str, Tensor] = {}
    try:
        for name, value in new.items():
            parameter = lm.model.get_parameter(name)
            # Kept, not recomputed: adding a change and subtracting it is exact in no float format.
            kept[name] = parameter.data
            parameter.data = value
        yield
    finally:
        # Backwards: a tensor that two names share was kept twice, and the first keeping is the original.
        for name, value in reversed(kept.items()):
            lm.model.get_parameter(name).data = value


@torch.no_grad()
def changed_parameter(lm: LanguageModel, name: str, change: Change) -> Tensor:
    """Give the parameter as it is after a change, in its own dtype; the sum is taken in float32.

    Raises:
        EditError: there is no such parameter, or the change has another shape.
    """
    try:
        parameter = lm.model.get_parameter(name)
    except AttributeError as error:
        raise EditError(f"an edit changes {name!r}, which {lm.name!r} does not have.") from error
    match change:
        case Replacement(value=value):
            result = value
        case Dense(delta=delta):
            _check_shape(name, parameter, delta)
            result = parameter.float() + delta
        case LowRank(left=left, right=right):
            delta = left.float() @ right.float()
            if not _is_stored_in_out(lm, name):
                delta = delta.T
            _check_shape(name, parameter, delta)
            result = parameter.float() + delta
    _check_shape(name, parameter, result)
    return result.to(parameter).contiguous()


def _is_stored_in_out(lm: LanguageModel, name: str) -> bool:
    module = lm.model.get_submodule(name.rpartition(".")[0])
    if not isinstance(module, nn.Linear | Conv1D):
        raise EditError(f"{name!r} belongs to a {type(module).__name__}, which has no low-rank change.")
    return isinstance(module, Conv1D)


def _check_shape(name: str, parameter: Tensor, value: Tensor) -> None:
    if value.shape != parameter.shape:
        raise EditError(
            f"an edit of {name!r} has shape {tuple(value.shape)}; the parameter has {tuple(parameter.shape)}."
        )

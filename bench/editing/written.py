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

__all__ = ["changed_parameter", "check_shape", "dense_change", "find_parameter", "written"]


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
    parameter = find_parameter(lm, name)
    if isinstance(change, Replacement):
        check_shape(name, parameter, change.value)
        return change.value.to(parameter).contiguous()
    return (parameter.float() + dense_change(lm, name, change)).to(parameter).contiguous()


@torch.no_grad()
def dense_change(lm: LanguageModel, name: str, change: LowRank | Dense) -> Tensor:
    """Give what a change adds to a parameter, in the parameter's own shape; of factors in float32.

    Raises:
        EditError: there is no such parameter, or the change has another shape.
    """
    parameter = find_parameter(lm, name)
    match change:
        case Dense():
            delta = change.delta.to(parameter.device)
        case LowRank():
            delta = (change.left.float() @ change.right.float()).to(parameter.device)
            if not _is_stored_in_out(lm, name):
                delta = delta.T
    check_shape(name, parameter, delta)
    return delta


def find_parameter(lm: LanguageModel, name: str) -> nn.Parameter:
    """Give a parameter that an edit names; raises EditError if there is none."""
    try:
        return lm.model.get_parameter(name)
    except AttributeError as error:
        raise EditError(f"an edit changes {name!r}, which {lm.name!r} does not have.") from error


def check_shape(name: str, parameter: Tensor, value: Tensor) -> None:
    """Check that a change, or a new value, has a parameter's shape; raises EditError if it has not."""
    if value.shape != parameter.shape:
        raise EditError(
            f"an edit of {name!r} has shape {tuple(value.shape)}; the parameter has {tuple(parameter.shape)}."
        )


def _is_stored_in_out(lm: LanguageModel, name: str) -> bool:
    module = lm.model.get_submodule(name.rpartition(".")[0])
    if not isinstance(module, nn.Linear | Conv1D):
        raise EditError(f"{name!r} belongs to a {type(module).__name__}, which has no low-rank change.")
    return isinstance(module, Conv1D)

"""Notes everything that an editor could leave behind on a model or in the process, and compares it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.models.language_model import LanguageModel

__all__ = ["untouched"]


@contextmanager
def untouched(lm: LanguageModel, action: str) -> Iterator[None]:
    """Assert that a block leaves the model, and the process's random states and modes, as they were."""
    before = _traces(lm)
    yield
    after = _traces(lm)
    changed = [name for name in before | after if not _is_same(before.get(name), after.get(name))]
    assert not changed, f"{action}() changed {', '.join(changed[:5])}"


def _traces(lm: LanguageModel) -> dict[str, Any]:
    traces: dict[str, Any] = {
        "torch's random state": torch.get_rng_state(),
        "numpy's random state": str(np.random.get_state()),
        "python's random state": random.getstate(),
        "the grad mode": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
    }
    for name, tensor in chain(lm.model.named_parameters(), lm.model.named_buffers()):
        traces[f"the values of {name}"] = tensor.detach().clone()
        traces[f"the place of {name}"] = (id(tensor), tensor.data_ptr(), tensor.dtype)
        traces[f"the gradient of {name}"] = None if tensor.grad is None else tensor.grad.clone()
        traces[f"requires_grad of {name}"] = tensor.requires_grad
    for name, module in lm.model.named_modules():
        traces[f"the training flag of {name or 'the model'}"] = module.training
        hooks = {key: list(value) for key, value in vars(module).items() if key.endswith("_hooks") and value}
        traces[f"the hooks of {name or 'the model'}"] = hooks
    return traces


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(
            one.view(-1).view(torch.uint8), other.view(-1).view(torch.uint8)
        )
    return bool(one == other)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)

"""What a cell can leave on its model is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.models.generation import generate
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.running.traces import Traces
from bench.testing import FAMILIES, tiny_cases, tiny_model

_BLOCK = "transformer.h.1"
_WEIGHT = f"{_BLOCK}.mlp.c_fc.weight"


def block(lm: LanguageModel) -> nn.Module:
    return lm.model.get_submodule(_BLOCK)


def replace_block(lm: LanguageModel) -> None:
    lm.model.get_submodule("transformer").get_submodule("h")[1] = block(tiny_model("gpt2"))


def grow(lm: LanguageModel) -> None:
    block(lm).register_parameter("more", nn.Parameter(torch.zeros(2), requires_grad=False))


def add_gradient(lm: LanguageModel) -> None:
    lm.model.get_parameter(_WEIGHT).grad = torch.zeros_like(lm.model.get_parameter(_WEIGHT))


_LEFT: dict[str, Callable[[LanguageModel], object]] = {
    "the model's own weights": lambda lm: lm.model.get_parameter(_WEIGHT).data[0].mul_(1.5),
    f"the hooks of '{_BLOCK}'": lambda lm: block(lm).register_forward_pre_hook(lambda *_: None),
    f"the hooks of '{_WEIGHT}'": lambda lm: (
        lm.model.get_parameter(_WEIGHT).requires_grad_().register_hook(lambda grad: grad)
    ),
    f"the forward method of '{_BLOCK}'": lambda lm: setattr(block(lm), "forward", block(lm).forward),
    f"the training flag of '{_BLOCK}', '{_BLOCK}.ln_1', '{_BLOCK}.attn' and ": lambda lm: block(lm).train(),
    f"requires_grad of '{_WEIGHT}'": lambda lm: lm.model.get_parameter(_WEIGHT).requires_grad_(True),
    f"the gradient of '{_WEIGHT}'": add_gradient,
    f"the module of '{_BLOCK}', '{_BLOCK}.ln_1', '{_BLOCK}.attn' and ": replace_block,
    f"requires_grad of '{_BLOCK}.more'": grow,
    "the model's configuration": lambda lm: setattr(lm.model.config, "attn_pdrop", 0.9),
    "the tokenizer": lambda lm: setattr(lm.tokenizer, "padding_side", "left"),
}


@pytest.mark.parametrize("said", list(_LEFT))
def test_what_is_left_on_a_model_is_said(said: str) -> None:
    lm = tiny_model("gpt2")
    traces = Traces(lm)

    _LEFT[said](lm)

    changes = traces.changes()
    assert any(change.startswith(said) for change in changes), changes


@pytest.mark.parametrize("family", FAMILIES)
def test_scoring_and_speaking_leave_nothing(family: str) -> None:
    lm = tiny_model(family)
    traces = Traces(lm)

    pairs = [(case.request.prompt, case.request.target) for case in tiny_cases(lm.kind, 2)]
    lm.answers(lm.batch(pairs), is_sparse=True)
    lm.loss(pairs, lm.leaves("last:1")).backward()
    if lm.kind is not ModelKind.CLASSIFIER:
        generate(lm, [prompt for prompt, _ in pairs])

    assert traces.changes() == []


def test_what_was_put_back_is_no_change() -> None:
    lm = tiny_model("gpt2")
    traces = Traces(lm)

    handle = block(lm).register_forward_hook(lambda *_: None)
    lm.model.train()
    handle.remove()
    lm.model.eval()

    assert traces.changes() == []

"""The factors of an edit's gradient add up to what autograd says, in every family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.editing.gradients import Reduction, TokenFactors, edit_gradients
from bench.editing.request import EditRequest
from bench.errors import DataError
from bench.models.architecture import Matrix
from bench.models.language_model import LanguageModel
from bench.testing import FAMILIES, tiny_cases, tiny_model


def requests(lm: LanguageModel, count: int) -> list[EditRequest]:
    return [case.request for case in tiny_cases(lm.kind, count)]


def summed(factors: TokenFactors, matrix: Matrix, group: int) -> Tensor:
    """Give Σ δ uᵀ of one group in the parameter's own shape."""
    inputs, grads = factors.split(factors.inputs)[group], factors.split(factors.grads)[group]
    return inputs.T @ grads if matrix.is_transposed else grads.T @ inputs


def autograds(lm: LanguageModel, group: list[EditRequest], reduction: Reduction) -> dict[str, Tensor]:
    weights = lm.leaves("all")
    pairs = [(request.prompt, request.target) for request in group]
    if reduction == "mean_over_batch":
        loss = lm.loss(pairs, weights)
    else:
        loss = torch.stack([lm.loss([pair], weights) for pair in pairs]).sum()
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reduction", ["mean_over_batch", "per_edit_mean_sum"])
def test_factors_of_padded_groups_add_up_to_autograds_gradient(family: str, reduction: Reduction) -> None:
    lm = tiny_model(family)
    a, b, c = requests(lm, 3)
    groups = [[a], [b, c], [c]]

    found = edit_gradients(lm, groups, lm.matrices("all"), reduction=reduction)

    for index, group in enumerate(groups):
        expected = autograds(lm, group, reduction)
        for matrix in lm.matrices("all"):
            gradient = summed(found[matrix.name], matrix, index)
            scale = float(expected[matrix.name].abs().max())
            torch.testing.assert_close(gradient, expected[matrix.name], rtol=1e-4, atol=2e-5 * scale)


def test_rows_without_input_or_gradient_are_left_out() -> None:
    lm = tiny_model("gpt2")
    group = requests(lm, 1)
    labels = len(lm.batch([(group[0].prompt, group[0].target)]).labels)

    found = edit_gradients(lm, [group], lm.matrices("all"))

    # In the last block only the positions that predict a label get a gradient; padding never does.
    assert found["transformer.h.3.mlp.c_fc.weight"].counts == (labels,)
    assert all(bool((f.grads != 0).any(1).all()) for f in found.values())


def test_backward_stops_at_the_lowest_matrix() -> None:
    lm = tiny_model("gpt2")
    has_graph: list[bool] = []

    def note(_: object, arguments: tuple[Tensor, ...]) -> None:
        has_graph.append(arguments[0].requires_grad)

    for block in range(4):
        lm.model.get_submodule(f"transformer.h.{block}.mlp.c_fc").register_forward_pre_hook(note)
    edit_gradients(lm, [requests(lm, 1)], lm.matrices("last:2"))

    assert has_graph == [False, False, False, True]


def test_nothing_is_left_on_the_model() -> None:
    lm = tiny_model("gpt2")

    edit_gradients(lm, [requests(lm, 2)], lm.matrices("all"))

    assert all(p.grad is None and not p.requires_grad for p in lm.model.parameters())
    assert not any(module._forward_hooks for module in lm.model.modules())


def test_hooks_are_removed_after_an_error() -> None:
    lm = tiny_model("gpt2")
    matrices = lm.matrices("all")
    lm.model.get_submodule("transformer.ln_f").register_forward_pre_hook(_fail)

    with pytest.raises(RuntimeError, match="on purpose"):
        edit_gradients(lm, [requests(lm, 1)], matrices)

    assert not any(module._forward_hooks for module in lm.model.modules())


def test_other_weights_can_take_the_place_of_the_models_own() -> None:
    lm, other = tiny_model("gpt2"), tiny_model("gpt2", seed=1)
    group, matrices = requests(lm, 2), lm.matrices("last:1")

    found = edit_gradients(lm, [group], matrices, weights=dict(other.model.named_parameters()))
    expected = edit_gradients(other, [group], matrices)

    for name, factors in found.items():
        torch.testing.assert_close(factors.grads, expected[name].grads)
        torch.testing.assert_close(factors.inputs, expected[name].inputs)


def test_second_order_gradients_flow_to_the_weights() -> None:
    lm = tiny_model("gpt2")
    matrices, weights = lm.matrices("last:1"), lm.leaves("last:1")

    found = edit_gradients(lm, [requests(lm, 1)], matrices, weights=weights, create_graph=True)
    total = torch.stack([factors.grads.square().sum() for factors in found.values()]).sum()
    grads = torch.autograd.grad(total, list(weights.values()), materialize_grads=True, allow_unused=True)

    assert any(bool((grad != 0).any()) for grad in grads)


def test_an_over_long_request_is_refused() -> None:
    lm = tiny_model("gpt2")
    long = EditRequest(id="long", prompt="Babado " * 40, target="Bafi")

    with pytest.raises(DataError, match="at most 64"):
        edit_gradients(lm, [[long]], lm.matrices("last:1"))


def _fail(*_: object) -> None:
    raise RuntimeError("on purpose")

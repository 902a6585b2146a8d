"""ENN's steps and the gradients through them are what the algebra says."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.edit import WeightEdit
from bench.editing.objective import FitBatch, edit_losses
from bench.editing.request import EditRequest, ProbeKind
from bench.editing.written import changed_parameter
from bench.errors import ConfigError
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence
from bench.testing import tiny_cases, tiny_model

enn: Any = importlib.import_module("bench.methods.enn")


def editor(lm: LanguageModel, **changes: Any) -> Any:
    config = enn.EditableConfig(**{"edit_lr": 0.1, **changes})
    return enn.EditableNetwork(lm, config, enn.EditableNetwork.initial_state(lm, config, torch.Generator()))


def request(lm: LanguageModel) -> EditRequest:
    return tiny_cases(lm.kind, 1)[0].request


def batch(lm: LanguageModel, count: int = 1) -> FitBatch:
    cases = tiny_cases(lm.kind, count)
    chosen = [(i, p) for i, case in enumerate(cases) for p in case.probes]
    return FitBatch(
        groups=tuple((case.request,) for case in cases),
        outer=tuple((i, p) for i, p in chosen if p.kind is ProbeKind.REPHRASE),
        locality=tuple((i, p) for i, p in chosen if p.kind is ProbeKind.LOCALITY),
    )


def gradient(lm: LanguageModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the gradient of the request's loss at some weights."""
    wanted = request(lm)
    loss = lm.loss([(wanted.prompt, wanted.target)], weights)
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def edit(made: Any, requests: list[EditRequest]) -> WeightEdit:
    found = made.edit(requests, memory=None, generator=torch.Generator())
    assert isinstance(found, WeightEdit)
    return found


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo"])  # Conv1D and Linear
@pytest.mark.parametrize("steps", [1, 3])
def test_an_edit_is_steps_of_gradient_descent(family: str, steps: int) -> None:
    lm = tiny_model(family)

    found = edit(editor(lm, inner_steps=steps), [request(lm)])

    weights = lm.leaves("default")
    for _ in range(steps):
        step = gradient(lm, weights)
        weights = {name: (w - 0.1 * step[name]).detach().requires_grad_() for name, w in weights.items()}
    for name, change in found.changes.items():
        torch.testing.assert_close(changed_parameter(lm, name, change), weights[name].detach(), rtol=1e-5, atol=1e-6)


def outer_loss(lm: LanguageModel, made: Any) -> Tensor:
    """Give the objective without its part before any edit, which knows nothing of the steps."""
    total: Tensor = made.loss(batch(lm), is_training=True).total
    return total


def test_the_gradient_of_a_step_size_is_the_negative_product_of_both_gradients() -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, first_order=True, c_base=0.0)
    start = {name: weight.detach() for name, weight in lm.leaves("default").items()}
    inner = gradient(lm, lm.leaves("default"))

    found = torch.autograd.grad(outer_loss(lm, made), made.alpha)[0]

    moved = {name: (w - 0.1 * inner[name]).requires_grad_() for name, w in start.items()}
    given = batch(lm)
    after = lm.answers(lm.batch([(p.prompt, p.answer) for _, p in given.outer]), moved)
    asked = lm.batch([(p.prompt, p.answer) for _, p in given.locality])
    before, kept = lm.answers(asked), lm.answers(asked, moved)
    kl = before.mean_rows(divergence(before.logits, kept.logits)).mean()
    outer = torch.autograd.grad(made.config.c_edit * after.row_loss().mean() + kl, list(moved.values()))
    expected = torch.stack([-(o * inner[name]).sum() for o, name in zip(outer, moved, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_second_order_changes_the_gradient_of_the_weights_and_not_that_of_the_step_sizes() -> None:
    lm = tiny_model("gpt2")
    found = {}
    for is_first in (True, False):
        made = editor(lm, first_order=is_first, c_base=0.0)
        found[is_first] = torch.autograd.grad(outer_loss(lm, made), [made.alpha, *made.weights.values()])

    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-4, atol=1e-7)
    gaps = [float((a - b).norm() / b.norm()) for a, b in zip(found[True][1:], found[False][1:], strict=True)]
    assert max(gaps) > 0.01


def test_second_order_is_the_derivative_of_the_whole() -> None:
    lm = tiny_model("gpt2")
    name = lm.matrices("default")[-1].name
    direction = torch.randn(lm.model.get_parameter(name).shape, generator=torch.Generator().manual_seed(0))

    def losses(size: float, *, first_order: bool = False) -> Any:
        """Give the edit's loss alone: the divergence takes the model before the edit for a constant."""
        made = editor(lm, first_order=first_order, edit_lr=0.5)
        with torch.no_grad():
            made.weights[name] += size * direction
        edits = made._edits(batch(lm).groups, weights=made.weights, second_order=not first_order)
        return edit_losses(lm, edits, batch(lm), weights=made.weights).edit, made.weights[name]

    def slope(*, first_order: bool) -> float:
        loss, weight = losses(0.0, first_order=first_order)
        return float((torch.autograd.grad(loss, weight)[0] * direction).sum())

    expected = float((losses(1e-2)[0] - losses(-1e-2)[0]).detach()) / 2e-2
    assert slope(first_order=False) == pytest.approx(expected, rel=0.02)
    assert slope(first_order=True) != pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_only_the_chosen_blocks_are_outer_parameters(family: str) -> None:
    lm = tiny_model(family)
    made = editor(lm, no_grad_layers=2)

    blocks = {name.split(f"{stack.path}.")[1].split(".")[0] for stack in lm.architecture.stacks for name in made.weights
              if name.startswith(stack.path)}  # fmt: skip
    found = torch.autograd.grad(made.loss(batch(lm), is_training=True).total, list(made.weights.values()))

    assert blocks == ({"2", "3"} if family == "gpt2" else {"2"})
    assert all(name.startswith(tuple(stack.path for stack in lm.architecture.stacks)) for name in made.weights)
    assert any(bool((g != 0).any()) for g in found)
    assert set(made.base_change().changes) == set(made.weights)


def test_a_subset_of_no_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="no_grad_layers=4 leaves nothing to train; give 0 to 3"):
        editor(tiny_model("gpt2"), no_grad_layers=4)


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_the_loss_before_any_edit_is_the_likelihood_or_the_divergence_from_the_original(positions: str) -> None:
    lm = tiny_model("gpt2")
    given = batch(lm)

    def base(**changes: Any) -> float:
        made = editor(lm, locality_positions=positions, **changes)
        with torch.no_grad():
            next(iter(made.weights.values())).mul_(1.5)
        return float(made.loss(given, is_training=False).parts["base_loss"])

    made = editor(lm)
    with torch.no_grad():
        next(iter(made.weights.values())).mul_(1.5)
        asked = lm.batch([(p.prompt, p.answer) for _, p in given.locality])
        current, original = lm.answers(asked, made.weights), lm.answers(asked)
    kl = original.mean_rows(divergence(original.logits, current.logits)).mean()
    assert base() == base(base_loss="nll") == pytest.approx(float(current.row_loss().mean()), rel=1e-5)
    assert base(fidelity="reference") == base(base_loss="kl")
    assert (base(base_loss="kl") == pytest.approx(float(kl), rel=1e-4)) is (positions == "answer")
    assert base(base_loss="kl") > 0


@pytest.mark.parametrize(("changes", "rate"), [({}, 1e-2), ({"fidelity": "reference"}, 1e-5)])
def test_step_sizes_have_a_rate_of_their_own_or_that_of_the_weights(changes: dict[str, Any], rate: float) -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, lr=1e-5, edit_lr_lr=1e-2, edit_lr=0.5, **changes)
    optimiser = made.optimiser(made.outer_parameters())

    for _ in range(2):
        optimiser.zero_grad()
        outer_loss(lm, made).backward()
        optimiser.step()

    moved = (made.alpha.detach() - 0.5).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 2 * rate), rtol=0.1, atol=0)
    assert [float(size) for size in made.step_sizes().values()] == made.alpha.tolist()


def test_the_step_of_requests_together_is_that_of_their_mean_loss() -> None:
    lm = tiny_model("gpt2")
    pair = [case.request for case in tiny_cases(lm.kind, 2)]

    summed = edit(editor(lm, reduction="per_edit_mean_sum"), pair)
    alone = [edit(editor(lm), [one]) for one in pair]

    for name, change in summed.changes.items():
        parts = [one.changes[name] for one in alone]
        expected = torch.stack([part.left @ part.right for part in parts]).sum(0)
        torch.testing.assert_close(change.left @ change.right, expected, rtol=1e-4, atol=1e-6)


def test_the_unedited_model_is_the_trained_one() -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, c_base=0.0)
    with torch.no_grad():
        next(iter(made.weights.values())).mul_(2.0)
    edits = [WeightEdit(changes={})]

    same = edit_losses(lm, edits, batch(lm), weights=made.weights)

    assert float(same.locality.detach()) == pytest.approx(0, abs=1e-6)

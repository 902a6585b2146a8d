"""Measures of logits equal torch's, in values and gradients, whatever they are cut into."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.models import measures
from bench.models.measures import divergence, log_probs


@pytest.fixture(params=[2**21, 10], ids=["whole", "two rows at a time"], autouse=True)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measures._AT_ONCE, "cpu", request.param)


def drawn(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).requires_grad_()


def kl(before: Tensor, after: Tensor) -> Tensor:
    p, q = before.float().log_softmax(1), after.float().log_softmax(1)
    return functional.kl_div(q, p, log_target=True, reduction="none").sum(1)


WEIGHTS = torch.arange(1.0, 8.0)
LABELS = torch.tensor([0, 4, 1, 1, 2, 3, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_probabilities_are_those_of_a_log_softmax(dtype: torch.dtype) -> None:
    logits = drawn(0, dtype)

    found = log_probs(logits, LABELS)

    expected = logits.float().log_softmax(1)[torch.arange(7), LABELS]
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32
    (grad,) = torch.autograd.grad((WEIGHTS * found).sum(), [logits])
    torch.testing.assert_close(grad, torch.autograd.grad((WEIGHTS * expected).sum(), [logits])[0])


def test_log_probabilities_have_second_derivatives() -> None:
    logits = drawn(0)

    found, expected = (
        _second_gradient(values, logits)
        for values in (log_probs(logits, LABELS), logits.log_softmax(1)[torch.arange(7), LABELS])
    )

    torch.testing.assert_close(found, expected)
    assert bool((found != 0).any())


def _second_gradient(values: Tensor, logits: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad((WEIGHTS * values).sum(), [logits], create_graph=True)
    return torch.autograd.grad(grad.square().sum(), [logits])[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_divergence_has_torchs_values_and_gradients(dtype: torch.dtype) -> None:
    before, after = drawn(0, dtype), drawn(1, dtype)

    found = divergence(before, after)

    expected = kl(before, after)
    torch.testing.assert_close(found, expected)
    grads = torch.autograd.grad((WEIGHTS * found).sum(), [before, after])
    wanted = torch.autograd.grad((WEIGHTS * expected).sum(), [before, after])
    torch.testing.assert_close(grads, wanted, rtol=1e-2 if dtype is torch.bfloat16 else 1e-4, atol=1e-4)


def test_the_divergence_of_equal_logits_is_exactly_nought() -> None:
    logits = drawn(0)

    assert torch.equal(divergence(logits, logits.clone()), torch.zeros(7))


def test_measures_of_no_rows_are_empty() -> None:
    nothing = torch.zeros(0, 5)

    assert divergence(nothing, nothing).shape == log_probs(nothing, torch.zeros(0, dtype=torch.long)).shape == (0,)

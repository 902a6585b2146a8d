"""The plain implementation gives what the harness gives, so that only time and memory are compared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain import fine_tune, plain_for
from subjects import batch_of, cases, make_editor

from bench.editing.edit import Dense, LowRank, WeightEdit
from bench.models.architecture import Matrix
from bench.models.language_model import LanguageModel
from bench.testing import tiny_model

SMALL: dict[str, dict[str, Any]] = {"mend": {"rank": 8}, "ke": {"lstm": 8, "condition": 8, "head": 8}}


def stored(edit: WeightEdit, matrix: Matrix) -> torch.Tensor:
    """Give the change of a matrix as it is stored."""
    change = edit.changes[matrix.name]
    if isinstance(change, Dense):
        return change.delta
    assert isinstance(change, LowRank)
    product = change.left @ change.right
    return product if matrix.is_transposed else product.T


def moved(lm: LanguageModel, weights: Any, matrix: Matrix) -> torch.Tensor:
    return weights[matrix.name].detach() - lm.model.get_parameter(matrix.name)


@pytest.mark.parametrize("family", ["gpt2", "bart", "llama"])
@pytest.mark.parametrize("method", ["mend", "ke", "enn", "enn_second_order"])
def test_a_plain_edit_and_a_plain_loss_are_those_of_the_harness(method: str, family: str) -> None:
    lm = tiny_model(family)
    drawn = cases(lm, 1)
    ours, theirs = (make_editor(lm, method, drawn, **SMALL.get(method, {})) for _ in range(2))
    plain = plain_for(theirs)

    loss = ours.loss(batch_of(drawn), is_training=True).total  # type: ignore[attr-defined]
    expected = plain.loss(drawn[0])

    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    parameters = [[p for g in made.outer_parameters() for p in g["params"]] for made in (ours, theirs)]  # type: ignore[attr-defined]
    for found, wanted in zip(
        torch.autograd.grad(loss, parameters[0], allow_unused=True),
        torch.autograd.grad(expected, parameters[1], allow_unused=True),
        strict=True,
    ):
        if wanted is not None and found is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    edit = ours.edit([drawn[0].request], memory=None, generator=torch.Generator())
    weights = plain.edit(drawn[0].request)
    for matrix in lm.matrices("default"):
        change = moved(lm, weights, matrix)
        torch.testing.assert_close(stored(edit, matrix), change, rtol=1e-3, atol=1e-5 * float(change.abs().max() + 1))


@pytest.mark.parametrize("method", ["ft", "ft_kl"])
def test_plain_fine_tuning_moves_the_weights_as_the_harness_does(method: str) -> None:
    lm = tiny_model("gpt2")
    drawn = cases(lm, 1)
    editor = make_editor(lm, method, drawn, steps=2)

    edit = editor.edit([drawn[0].request], memory=None, generator=torch.Generator().manual_seed(0))

    plain = fine_tune(editor, drawn[0], steps=2)
    for matrix in lm.matrices("default"):
        torch.testing.assert_close(stored(edit, matrix), plain[matrix.name], rtol=1e-3, atol=1e-6)

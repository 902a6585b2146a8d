"""The last MLP at the answer positions only: the same answers and gradients, for less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.models.language_model import LanguageModel
from bench.testing import FAMILIES, tiny_cases, tiny_model

WITHOUT = {"bart", "bert", "roberta"}  # BART's matrices lie in the block itself; the others are classifiers


def seen_by_last_mlp(lm: LanguageModel, *, is_sparse: bool) -> tuple[Tensor, int]:
    """Give the logits of some cases, and how many positions the last edited matrix saw of each row."""
    pairs = [(probe.prompt, probe.answer) for case in tiny_cases(lm.kind, 2) for probe in case.probes]
    lengths: list[int] = []

    def look(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        lengths.append(arguments[0].shape[1])

    handle = lm.model.get_submodule(lm.matrices("default")[-1].module).register_forward_hook(look)
    try:
        return lm.answers(lm.batch(pairs), is_sparse=is_sparse).logits, lengths[-1]
    finally:
        handle.remove()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_answers_are_those_of_the_whole_sequence(family: str) -> None:
    lm = tiny_model(family)

    (whole, length), (found, fewer) = (seen_by_last_mlp(lm, is_sparse=sparse) for sparse in (False, True))

    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
    assert (lm.architecture.last_mlp is None) is (family in WITHOUT)
    if lm.kind == "causal":  # a decoder reads nothing but its answer
        assert fewer < length
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in lm.model.modules())


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_gradients_are_those_of_the_whole_sequence(family: str) -> None:
    lm = tiny_model(family)
    leaves = lm.leaves("default")
    pairs = [(probe.prompt, probe.answer) for case in tiny_cases(lm.kind, 2) for probe in case.probes]
    batch = lm.batch(pairs)

    whole, found = (
        torch.autograd.grad(lm.answers(batch, leaves, is_sparse=sparse).loss(), list(leaves.values()))
        for sparse in (False, True)
    )

    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-7)

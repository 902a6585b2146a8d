"""The last MLP at the answer positions only: the same answers and gradients, for less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaForCausalLM

from bench.models.architecture import find_architecture
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.positions import mlp_at_answers
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


class Shifted(nn.Module):
    """An MLP that weighs each position against the one before, as RWKV's."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.weight = inner, nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x + self.weight * x.roll(1, dims=1))
        return found


def test_an_mlp_that_may_mix_positions_gets_them_all() -> None:
    model = tiny_model("gpt2").model
    assert find_architecture(model, ModelKind.CAUSAL).last_mlp == "transformer.h.3.mlp"
    block = model.get_submodule("transformer.h.3")
    inner = block.mlp
    block.mlp = Shifted(inner, 16)  # type: ignore[assignment]
    try:
        assert find_architecture(model, ModelKind.CAUSAL).last_mlp != "transformer.h.3.mlp"
    finally:
        block.mlp = inner  # type: ignore[assignment]


def test_matrices_in_modules_of_their_own_are_no_mlp() -> None:
    config = RobertaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, is_decoder=True
    )

    assert find_architecture(RobertaForCausalLM(config), ModelKind.CAUSAL).last_mlp is None


def test_an_mlp_that_joins_rows_and_tokens_gets_them_all() -> None:
    lm = tiny_model("gpt2")
    batch = lm.batch([("The capital of Babaka is", "Ka"), ("Do", "Ga mi")])
    mlp = lm.model.get_submodule("transformer.h.3.mlp")
    x = torch.randn(batch.size * batch.input_ids.shape[1], 16)

    with torch.no_grad(), mlp_at_answers(mlp, batch):
        found = mlp(x)

    assert torch.equal(found, mlp(x))


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

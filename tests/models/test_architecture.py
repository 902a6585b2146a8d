"""The editable matrices are found in every family by their shapes, never by a model's name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from bench.errors import ConfigError, ModelError
from bench.models.architecture import find_architecture
from bench.models.kind import ModelKind
from bench.testing import FAMILIES, tiny_model

PAIRS = {  # the two matrices of one block, lowest first, as the MEND paper edits them
    "gpt2": ("mlp.c_fc", "mlp.c_proj"),
    "gpt_neo": ("mlp.c_fc", "mlp.c_proj"),
    "gptj": ("mlp.fc_in", "mlp.fc_out"),
    "gpt_neox": ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "llama": ("mlp.gate_proj", "mlp.down_proj"),
    "t5": ("DenseReluDense.wi", "DenseReluDense.wo"),
    "t5_gated": ("DenseReluDense.wi_0", "DenseReluDense.wo"),
    "bart": ("fc1", "fc2"),
    "bert": ("intermediate.dense", "output.dense"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_block_has_its_mlp_up_and_down(family: str) -> None:
    found = tiny_model(family).architecture

    for up, down in zip(found.matrices[::2], found.matrices[1::2], strict=True):
        assert up.module.endswith(PAIRS[family][0])
        assert down.module.endswith(PAIRS[family][1])
        assert (up.in_features, up.out_features) == (down.out_features, down.in_features)
        assert (up.stack, up.block) == (down.stack, down.block)
    assert not any("attention." in m.module or "attn" in m.module.lower() for m in found.matrices)


@pytest.mark.parametrize(("family", "stacks", "blocks"), [("gpt2", 1, 4), ("bert", 1, 4), ("t5", 2, 3), ("bart", 2, 3)])
def test_stacks_and_blocks_are_counted(family: str, stacks: int, blocks: int) -> None:
    found = tiny_model(family).architecture

    assert [len(stack.blocks) for stack in found.stacks] == [blocks] * stacks
    assert len(found.matrices) == 2 * stacks * blocks


def test_conv1d_is_marked_as_stored_the_other_way_round() -> None:
    conv, linear = tiny_model("gpt2"), tiny_model("gpt_neo")

    for lm, is_transposed in [(conv, True), (linear, False)]:
        for matrix in lm.architecture.matrices:
            shape = tuple(lm.model.get_parameter(matrix.name).shape)
            expected = (matrix.in_features, matrix.out_features)
            assert matrix.is_transposed is is_transposed
            assert shape == (expected if is_transposed else expected[::-1])


def test_attention_is_left_out_where_its_projections_look_like_an_mlp() -> None:
    lm = tiny_model("llama", head_dim=24, num_key_value_heads=2)  # q maps 16 → 48 and o back

    assert {m.module.rpartition(".")[2] for m in lm.architecture.matrices} == {"gate_proj", "down_proj"}


def test_the_meta_device_is_enough() -> None:
    with torch.device("meta"):
        model = T5ForConditionalGeneration(T5Config(num_layers=3, d_model=16, d_ff=32))

    assert len(find_architecture(model, ModelKind.SEQ2SEQ).matrices) == 12


def test_a_model_without_an_mlp_is_refused() -> None:
    model = nn.ModuleList([nn.LSTM(4, 4), nn.LSTM(4, 4)])

    with pytest.raises(ModelError, match="no editable matrices were found in ModuleList"):
        find_architecture(model, ModelKind.CAUSAL)


@pytest.mark.parametrize(
    ("family", "blocks"), [("gpt2", [1, 2, 3]), ("bert", [1, 2, 3]), ("t5", [1, 2]), ("bart", [1, 2])]
)
def test_the_default_is_the_last_three_blocks_or_two_of_each_side(family: str, blocks: list[int]) -> None:
    lm = tiny_model(family)

    chosen = lm.matrices("default")

    for stack in range(len(lm.architecture.stacks)):
        assert [m.block for m in chosen if m.stack == stack] == [block for block in blocks for _ in range(2)]


def test_patterns_choose_matrices_in_the_models_order() -> None:
    lm = tiny_model("gpt2")

    assert lm.matrices("all") == lm.architecture.matrices
    assert [m.block for m in lm.matrices("last:1")] == [3, 3]
    assert [m.module for m in lm.matrices("*.h.2.mlp.c_proj *.h.0.mlp.c_fc")] == [
        "transformer.h.0.mlp.c_fc",
        "transformer.h.2.mlp.c_proj",
    ]


@pytest.mark.parametrize("layers", ["last:0", "last:x", "*.h.9.mlp.c_fc", "attn", ""])
def test_a_pattern_that_names_nothing_is_refused(layers: str) -> None:
    with pytest.raises(ConfigError, match="names no editable matrix"):
        tiny_model("gpt2").matrices(layers)


def test_more_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"last:5.* 4 blocks"):
        tiny_model("gpt2").matrices("last:5")


def test_a_near_miss_gets_the_nearest_module() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'transformer.h.2.mlp.c_fc'"):
        tiny_model("gpt2").matrices("transformer.h.2.mlp.c_fk")


def test_leaves_are_float32_copies_that_require_grad() -> None:
    lm = tiny_model("gpt2", dtype=torch.bfloat16)

    for name, leaf in lm.leaves("last:1").items():
        assert leaf.requires_grad
        assert leaf.dtype is torch.float32
        assert torch.equal(leaf.detach(), lm.model.get_parameter(name).float())

"""The editable matrices are found in every family by their shapes, never by a model's name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.errors import ConfigError, ModelError
from bench.models.architecture import find_architecture
from bench.models.kind import ModelKind
from bench.testing import FAMILIES, tiny_model

# What is edited by default, written down by hand, after the MEND paper's own lists where it has the family: the blocks,
# and of each stack its path and the matrices of a block.
DEFAULT: dict[str, tuple[list[int], str, *tuple[str, ...]]] = {
    "gpt2": ([1, 2, 3], "transformer.h mlp.c_fc mlp.c_proj"),
    "gpt_neo": ([1, 2, 3], "transformer.h mlp.c_fc mlp.c_proj"),
    "gptj": ([1, 2, 3], "transformer.h mlp.fc_in mlp.fc_out"),
    "gpt_neox": ([1, 2, 3], "gpt_neox.layers mlp.dense_h_to_4h mlp.dense_4h_to_h"),
    "llama": ([1, 2, 3], "model.layers mlp.gate_proj mlp.down_proj"),
    "t5": (
        [1, 2],
        "encoder.block layer.1.DenseReluDense.wi layer.1.DenseReluDense.wo",
        "decoder.block layer.2.DenseReluDense.wi layer.2.DenseReluDense.wo",
    ),
    "t5_gated": (
        [1, 2],
        "encoder.block layer.1.DenseReluDense.wi_0 layer.1.DenseReluDense.wo",
        "decoder.block layer.2.DenseReluDense.wi_0 layer.2.DenseReluDense.wo",
    ),
    "bart": ([1, 2], "model.encoder.layers fc1 fc2", "model.decoder.layers fc1 fc2"),
    "bert": ([1, 2, 3], "bert.encoder.layer intermediate.dense output.dense"),
    "roberta": ([1, 2, 3], "roberta.encoder.layer intermediate.dense output.dense"),
}
DEFAULT |= dict.fromkeys(("mistral", "qwen2", "qwen3", "smollm3"), DEFAULT["llama"])

# The rest of one block's Linear and Conv1D weights, which a pattern can name; of T5 and BART the decoder's.
OTHERS = {
    "gpt2": "attn.c_attn attn.c_proj",
    "gpt_neo": "attn.attention.k_proj attn.attention.v_proj attn.attention.q_proj attn.attention.out_proj",
    "gptj": "attn.k_proj attn.v_proj attn.q_proj attn.out_proj",
    "gpt_neox": "attention.query_key_value attention.dense",
    "llama": "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.up_proj",
    "t5": """
        layer.0.SelfAttention.q layer.0.SelfAttention.k layer.0.SelfAttention.v layer.0.SelfAttention.o
        layer.1.EncDecAttention.q layer.1.EncDecAttention.k layer.1.EncDecAttention.v layer.1.EncDecAttention.o
    """,
    "bart": """
        self_attn.k_proj self_attn.v_proj self_attn.q_proj self_attn.out_proj
        encoder_attn.k_proj encoder_attn.v_proj encoder_attn.q_proj encoder_attn.out_proj
    """,
    "bert": "attention.self.query attention.self.key attention.self.value attention.output.dense",
}
OTHERS["t5_gated"] = OTHERS["t5"] + " layer.2.DenseReluDense.wi_1"
OTHERS["roberta"] = OTHERS["bert"]
OTHERS |= dict.fromkeys(("mistral", "qwen2", "qwen3", "smollm3"), OTHERS["llama"])

STACKS = {
    "gpt2": {"transformer.h": 4},
    "gpt_neo": {"transformer.h": 4},
    "gptj": {"transformer.h": 4},
    "gpt_neox": {"gpt_neox.layers": 4},
    "llama": {"model.layers": 4},
    "mistral": {"model.layers": 4},
    "qwen2": {"model.layers": 4},
    "qwen3": {"model.layers": 4},
    "smollm3": {"model.layers": 4},
    "t5": {"encoder.block": 3, "decoder.block": 3},
    "t5_gated": {"encoder.block": 3, "decoder.block": 3},
    "bart": {"model.encoder.layers": 3, "model.decoder.layers": 3},
    "bert": {"bert.encoder.layer": 4},
    "roberta": {"roberta.encoder.layer": 4},
}

# The paper's own models in their published sizes, and the matrices that it edits in them (appendix C and its code).
PAPER: dict[str, tuple[type[PreTrainedModel], PreTrainedConfig, list[int], str, *tuple[str, ...]]] = {
    "distilgpt2": (GPT2LMHeadModel, GPT2Config(n_layer=6), [3, 4, 5], "transformer.h mlp.c_fc mlp.c_proj"),
    "gpt2-xl": (
        GPT2LMHeadModel,
        GPT2Config(n_layer=48, n_embd=1600, n_head=25),
        [45, 46, 47],
        "transformer.h mlp.c_fc mlp.c_proj",
    ),
    "gpt-neo-2.7b": (
        GPTNeoForCausalLM,
        GPTNeoConfig(num_layers=32, hidden_size=2560, num_heads=20, attention_types=[[["global", "local"], 16]]),
        [29, 30, 31],
        "transformer.h mlp.c_fc mlp.c_proj",
    ),
    "gpt-j-6b": (GPTJForCausalLM, GPTJConfig(), [25, 26, 27], "transformer.h mlp.fc_in mlp.fc_out"),
    "bert-base": (
        BertForSequenceClassification,
        BertConfig(),
        [9, 10, 11],
        "bert.encoder.layer intermediate.dense output.dense",
    ),
    "bart-base": (
        BartForConditionalGeneration,
        BartConfig(encoder_layers=6, decoder_layers=6, d_model=768, encoder_ffn_dim=3072, decoder_ffn_dim=3072),
        [4, 5],
        "model.encoder.layers fc1 fc2",
        "model.decoder.layers fc1 fc2",
    ),
}


def modules(blocks: list[int], *stacks: str) -> list[str]:
    """Give the paths of some matrices of each stack, block after block."""
    return [
        f"{path}.{block}.{matrix}"
        for path, *matrices in map(str.split, stacks)
        for block in blocks
        for matrix in matrices
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_is_the_mlps_of_the_last_blocks(family: str) -> None:
    assert [m.module for m in tiny_model(family).matrices("default")] == modules(*DEFAULT[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_stacks_and_their_blocks_are_found(family: str) -> None:
    found = tiny_model(family).architecture

    assert {stack.path: len(stack.blocks) for stack in found.stacks} == STACKS[family]
    assert [stack.blocks[1] for stack in found.stacks] == [f"{path}.1" for path in STACKS[family]]
    assert len(found.matrices) == 2 * sum(STACKS[family].values())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_matrices_of_a_block_are_found(family: str) -> None:
    found = tiny_model(family).architecture

    last = found.stacks[-1].blocks[-1]
    others = [m.module.removeprefix(f"{last}.") for m in found.others if m.module.startswith(f"{last}.")]
    assert sorted(others) == sorted(OTHERS[family].split())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_matrix_knows_its_block_its_shape_and_how_it_is_stored(family: str) -> None:
    lm = tiny_model(family)

    for matrix in (*lm.architecture.matrices, *lm.architecture.others):
        stored = tuple(lm.model.get_parameter(matrix.name).shape)
        block = lm.architecture.stacks[matrix.stack].blocks[matrix.block]
        assert matrix.module.startswith(f"{block}.")
        assert matrix.name == f"{matrix.module}.weight"
        assert stored == (matrix.in_features, matrix.out_features)[:: 1 if matrix.is_transposed else -1]
    for up, down in zip(lm.architecture.matrices[::2], lm.architecture.matrices[1::2], strict=True):
        assert (up.in_features, up.out_features) == (down.out_features, down.in_features)
        assert up.in_features == 16 < up.out_features
        assert (up.stack, up.block) == (down.stack, down.block)


def test_conv1d_is_told_from_linear_by_its_type() -> None:
    conv, linear = (tiny_model(family).architecture for family in ("gpt2", "gpt_neo"))

    assert all(matrix.is_transposed for matrix in (*conv.matrices, *conv.others))
    assert not any(matrix.is_transposed for matrix in (*linear.matrices, *linear.others))


def test_attention_is_left_out_where_its_projections_look_like_an_mlp() -> None:
    lm = tiny_model("llama", head_dim=24, num_key_value_heads=2)  # q maps 16 → 48 and o back

    assert {m.module.rpartition(".")[2] for m in lm.architecture.matrices} == {"gate_proj", "down_proj"}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_models_are_edited_where_the_paper_does_from_the_meta_device(name: str) -> None:
    cls, config, *edited = PAPER[name]
    with torch.device("meta"):
        model = cls(config)

    found = find_architecture(model, ModelKind.SEQ2SEQ if config.is_encoder_decoder else ModelKind.CAUSAL)

    assert [m.module for m in found.select("default")] == modules(*edited)


@pytest.mark.parametrize(
    ("layers", "gate", "up"), [(8, "relu", "wi"), (8, "gated-gelu", "wi_0"), (24, "gated-gelu", "wi_0")]
)
def test_t5_is_edited_in_the_last_two_blocks_of_both_sides(layers: int, gate: str, up: str) -> None:
    with torch.device("meta"):
        model = T5ForConditionalGeneration(T5Config(num_layers=layers, feed_forward_proj=gate))

    found = find_architecture(model, ModelKind.SEQ2SEQ).select("default")

    assert [m.module for m in found] == modules(
        [layers - 2, layers - 1],
        f"encoder.block layer.1.DenseReluDense.{up} layer.1.DenseReluDense.wo",
        f"decoder.block layer.2.DenseReluDense.{up} layer.2.DenseReluDense.wo",
    )


def test_a_model_without_an_mlp_is_refused() -> None:
    model = nn.ModuleList([nn.LSTM(4, 4), nn.LSTM(4, 4)])

    with pytest.raises(ModelError, match="no editable matrices were found in ModuleList"):
        find_architecture(model, ModelKind.CAUSAL)


def test_patterns_choose_matrices_in_the_models_order() -> None:
    lm = tiny_model("gpt2")

    assert lm.matrices("all") == lm.architecture.matrices
    assert [m.block for m in lm.matrices("last:1")] == [3, 3]
    assert [m.module for m in lm.matrices("*.h.2.mlp.c_proj *.h.0.mlp.c_fc")] == [
        "transformer.h.0.mlp.c_fc",
        "transformer.h.2.mlp.c_proj",
    ]


@pytest.mark.parametrize(
    ("family", "layers", "found"),
    [
        ("gpt2", "*.h.1.*", ["mlp.c_fc", "mlp.c_proj"]),  # the MLP's come first
        ("gpt2", "*.h.1.attn.*", ["attn.c_attn", "attn.c_proj"]),
        ("gpt2", "*.h.1.mlp.c_proj *.h.1.attn.c_attn", ["attn.c_attn", "mlp.c_proj"]),
        ("llama", "*.1.mlp.up_proj", ["mlp.up_proj"]),
        ("llama", "*.1.mlp.*_proj", ["mlp.gate_proj", "mlp.down_proj"]),
        ("t5_gated", "decoder.block.1.*.wi_1", ["layer.2.DenseReluDense.wi_1"]),
        ("t5", "decoder.block.1.*.EncDecAttention.[kv]", ["layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"]),
        ("bert", "*.1.attention.self.query", ["attention.self.query"]),
    ],
)
def test_a_pattern_that_fits_no_mlp_names_the_other_matrices(family: str, layers: str, found: list[str]) -> None:
    chosen = tiny_model(family).matrices(layers)

    assert [m.module.partition(".1.")[2] for m in chosen] == found


def test_stacks_of_two_depths_have_their_own_last_blocks() -> None:
    lm = tiny_model("bart", encoder_layers=4, decoder_layers=1)

    assert [(m.stack, m.block) for m in lm.matrices("last:2")[::2]] == [(0, 2), (0, 3), (1, 0)]
    assert [(m.stack, m.block) for m in lm.matrices("default")[::2]] == [(0, 2), (0, 3), (1, 0)]


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

"""The shapes of well-known models, for `random:SHAPE`: the architecture with random weights, to measure costs.

Everything that decides a cost is that of the published model: widths, depths, heads, positions, and the size of the
vocabulary. Only the texts are cut into tokens by the embedded model of the same kind, whose tokenizer needs no hub; its
ids are the lowest of the shape's vocabulary.

Source: the `config.json` of each checkpoint that the table names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bench.models.kind import ModelKind

__all__ = ["RANDOM", "SEED", "SHAPES", "Shape", "shape_identity"]

SEED = 0  # of the random weights
_RECIPE = "transformers' own initial weights, drawn on the device in the dtype asked for"  # part of the identity
RANDOM = "random:"  # what a name begins with that asks for random weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One model's shape.

    Args:
        name: what to ask for it by, after `random:`.
        like: the checkpoint whose shape it is, on the Hugging Face hub.
        kind: of the model.
        model_type: what transformers calls the family.
        settings: fields of its configuration that are not transformers' defaults, special tokens aside.
        parameters: how many it has, shared ones counted once.
        matrices: the editable ones, as `Architecture.outline` gives them.
    """

    name: str
    like: str
    kind: ModelKind
    model_type: str
    settings: Mapping[str, Any]
    parameters: int
    matrices: tuple[str, ...]


def _shape(  # noqa: PLR0917  # what every family says
    kind: ModelKind,
    model_type: str,
    name: str,
    like: str,
    parameters: int,
    layers: int,
    matrices: tuple[str, ...],
    settings: Mapping[str, Any],
) -> Shape:
    """Make a shape; in the paths of its editable matrices `*` stands for all blocks of a stack."""
    return Shape(
        name=name,
        like=like,
        kind=kind,
        model_type=model_type,
        settings=settings,
        parameters=parameters,
        matrices=tuple(path.replace("*", f"0-{layers - 1}") for path in matrices),
    )


def _gpt2(name: str, like: str, width: int, layers: int, heads: int, parameters: int) -> Shape:
    settings = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 1024, "vocab_size": 50257}
    matrices = ("transformer.h.*.mlp.{c_fc,c_proj}",)
    return _shape(ModelKind.CAUSAL, "gpt2", name, like, parameters, layers, matrices, settings)


def _gpt_neo(name: str, like: str, width: int, layers: int, heads: int, parameters: int) -> Shape:
    settings = {
        "hidden_size": width,
        "num_layers": layers,
        "num_heads": heads,
        "attention_types": [[["global", "local"], layers // 2]],
        "max_position_embeddings": 2048,
        "window_size": 256,
        "vocab_size": 50257,
    }
    matrices = ("transformer.h.*.mlp.{c_fc,c_proj}",)
    return _shape(ModelKind.CAUSAL, "gpt_neo", name, like, parameters, layers, matrices, settings)


def _gpt_j(name: str, like: str, width: int, layers: int, parameters: int) -> Shape:
    settings = {
        "n_embd": width,
        "n_layer": layers,
        "n_head": 16,
        "rotary_dim": 64,
        "n_positions": 2048,
        "vocab_size": 50400,
        "tie_word_embeddings": False,
    }
    matrices = ("transformer.h.*.mlp.{fc_in,fc_out}",)
    return _shape(ModelKind.CAUSAL, "gptj", name, like, parameters, layers, matrices, settings)


def _llama(  # noqa: PLR0917  # the numbers of a shape
    name: str, like: str, width: int, inner: int, layers: int, heads: int, kv_heads: int, parameters: int
) -> Shape:
    settings = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048,
        "vocab_size": 32000,
    }
    matrices = ("model.layers.*.mlp.{gate_proj,down_proj}",)
    return _shape(ModelKind.CAUSAL, "llama", name, like, parameters, layers, matrices, settings)


def _t5(name: str, width: int, inner: int, layers: int, heads: int, parameters: int) -> Shape:
    """Give a shape of T5 v1.1, whose MLP is gated and whose output projection is its own."""
    settings = {
        "d_model": width,
        "d_kv": 64,
        "d_ff": inner,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "vocab_size": 32128,
        "decoder_start_token_id": 0,
    }
    matrices = tuple(
        f"{side}.block.*.layer.{sub}.DenseReluDense.{{wi_0,wo}}" for side, sub in (("encoder", 1), ("decoder", 2))
    )
    like = f"google/t5-v1_1-{name}"
    return _shape(ModelKind.SEQ2SEQ, "t5", f"t5-{name}", like, parameters, layers, matrices, settings)


def _bart(name: str, width: int, layers: int, heads: int, parameters: int) -> Shape:
    sides = {
        f"{side}_{field}": value
        for side in ("encoder", "decoder")
        for field, value in {"layers": layers, "ffn_dim": 4 * width, "attention_heads": heads}.items()
    }
    settings = {
        "d_model": width,
        **sides,
        "max_position_embeddings": 1024,
        "vocab_size": 50265,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
    }
    matrices = ("model.encoder.layers.*.{fc1,fc2}", "model.decoder.layers.*.{fc1,fc2}")
    like = f"facebook/bart-{name}"
    return _shape(ModelKind.SEQ2SEQ, "bart", f"bart-{name}", like, parameters, layers, matrices, settings)


def _bert(name: str, width: int, layers: int, heads: int, parameters: int) -> Shape:
    settings = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "vocab_size": 30522,
    }
    matrices = ("bert.encoder.layer.*.{intermediate.dense,output.dense}",)
    like = f"google-bert/bert-{name}-uncased"
    return _shape(ModelKind.CLASSIFIER, "bert", f"bert-{name}", like, parameters, layers, matrices, settings)


_ALL = (
    _gpt2("distilgpt2", "distilbert/distilgpt2", 768, 6, 12, 81_912_576),
    _gpt2("gpt2", "openai-community/gpt2", 768, 12, 12, 124_439_808),
    _gpt2("gpt2-medium", "openai-community/gpt2-medium", 1024, 24, 16, 354_823_168),
    _gpt2("gpt2-large", "openai-community/gpt2-large", 1280, 36, 20, 774_030_080),
    _gpt2("gpt2-xl", "openai-community/gpt2-xl", 1600, 48, 25, 1_557_611_200),
    _gpt_neo("gpt-neo-1.3b", "EleutherAI/gpt-neo-1.3B", 2048, 24, 16, 1_315_575_808),
    _gpt_neo("gpt-neo-2.7b", "EleutherAI/gpt-neo-2.7B", 2560, 32, 20, 2_651_307_520),
    _gpt_j("gpt-j-6b", "EleutherAI/gpt-j-6b", 4096, 28, 6_050_882_784),
    _llama("llama-1b", "TinyLlama/TinyLlama_v1.1", 2048, 5632, 22, 32, 4, 1_100_048_384),
    _llama("llama-7b", "huggyllama/llama-7b", 4096, 11008, 32, 32, 32, 6_738_415_616),
    _llama("llama-13b", "huggyllama/llama-13b", 5120, 13824, 40, 40, 40, 13_015_864_320),
    _t5("small", 512, 1024, 8, 6, 76_961_152),
    _t5("large", 1024, 2816, 24, 16, 783_150_080),
    _t5("xl", 2048, 5120, 24, 32, 2_849_757_184),
    _t5("xxl", 4096, 10240, 24, 64, 11_135_332_352),
    _bart("base", 768, 6, 12, 139_420_416),
    _bart("large", 1024, 12, 16, 406_291_456),
    # the published counts have no head; two labels add 2 · (width + 1)
    _bert("base", 768, 12, 12, 109_482_240 + 2 * 769),
    _bert("large", 1024, 24, 16, 335_141_888 + 2 * 1025),
)

SHAPES: Mapping[str, Shape] = MappingProxyType({shape.name: shape for shape in _ALL})


def shape_identity(shape: Shape, tokenizer_digest: str) -> str:
    """Give a checksum of everything that the random model depends on, but for its dtype and device."""
    parts = [shape.model_type, dict(shape.settings), SEED, _RECIPE, tokenizer_digest]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

"""Draws the weights of a random model, on its device and in its dtype, so that it is in memory only once."""

from __future__ import annotations

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bench.models.catalogue import tokenizer_folder
from bench.models.kind import ModelKind
from bench.models.shapes import SEED, Shape

__all__ = ["MODEL_CLASSES", "random_model", "shape_config"]

MODEL_CLASSES = {
    ModelKind.CAUSAL: AutoModelForCausalLM,
    ModelKind.SEQ2SEQ: AutoModelForSeq2SeqLM,
    ModelKind.CLASSIFIER: AutoModelForSequenceClassification,
}


def random_model(shape: Shape, *, device: str, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Give a model of a shape with random weights, and the tokenizer that it takes.

    Args:
        shape: its architecture.
        device: where it is built; `meta` gives a model without weights.
        dtype: of its weights.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(tokenizer_folder(shape.kind)))
    config = shape_config(shape, tokenizer)
    place = torch.device(device)
    # The global random state is left as it was; on another device than the CPU, that device's, too.
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), place:
        torch.manual_seed(SEED)
        model: PreTrainedModel = MODEL_CLASSES[shape.kind].from_config(config, dtype=dtype)
        if not shape.settings.get("tie_word_embeddings", True):
            _untie(model)
    return model, tokenizer


def shape_config(shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Give a shape's configuration, with the special tokens of a tokenizer and, for a classifier, its labels."""
    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    labels = {}
    if shape.kind is ModelKind.CLASSIFIER:
        labels = {"id2label": {0: "false", 1: "true"}, "label2id": {"false": 0, "true": 1}}
    config: PreTrainedConfig = AutoConfig.for_model(shape.model_type, **tokens | labels | dict(shape.settings))
    return config


def _untie(model: PreTrainedModel) -> None:
    """Give the output projection a table of its own, if it still shares that of the inputs.

    T5's configuration ties them whatever it is told: a checkpoint of v1.1 brings two tables, and so unties them.
    """
    head = model.get_output_embeddings()
    if isinstance(head, nn.Module) and head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(torch.randn_like(head.get_parameter("weight")))

"""Finds and loads a model: an embedded one, a local folder, or a name on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bench.errors import ModelError, nearest
from bench.models.architecture import find_architecture
from bench.models.catalogue import ModelEntry, embedded_models, find_model
from bench.models.encoding import Encoder
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

# Its notes on missing image processors and its bars would bury what a run says; errors still come as exceptions.
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

__all__ = ["DTYPES", "identify_model", "load_model", "wrap_model"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOAD_ERRORS = (OSError, ValueError, HFValidationError, SafetensorError, KeyError, RuntimeError)
_CLASSES = {
    ModelKind.CAUSAL: AutoModelForCausalLM,
    ModelKind.SEQ2SEQ: AutoModelForSeq2SeqLM,
    ModelKind.CLASSIFIER: AutoModelForSequenceClassification,
}


def load_model(name: str, *, device: str = "cpu", dtype: str = "fp32") -> LanguageModel:
    """Load a model by embedded name, folder or hub id.

    Args:
        name: as in `bench list models`, a folder with a plain transformers model, or a hub id.
        device: `cpu`, `cuda` or `cuda:1`.
        dtype: `fp32`, `bf16` or `fp16`; the weights are converted to it.

    Raises:
        ModelError: it can not be found, read, or edited.
    """
    entry = identify_model(name)
    source, kind = str(entry.folder or name), _known_kind(entry)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model, report = _CLASSES[kind].from_pretrained(
            source, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True
        )
    except _LOAD_ERRORS as error:
        raise ModelError(_reason(entry, error)) from error
    if missing := sorted(report["missing_keys"]):
        # transformers draws what is missing at random and goes on
        raise ModelError(f"model {name!r}: its files lack {len(missing)} of its parameters, {missing[0]!r} for one.")
    return wrap_model(model.to(device), tokenizer, kind, name=name, identity=entry.identity)


def identify_model(name: str) -> ModelEntry:
    """Find a model and say what kind it is and which version, without reading its weights.

    Raises:
        ModelError: there is no such model, or its configuration can not be read.
    """
    entry = find_model(name)
    try:
        config = AutoConfig.from_pretrained(str(entry.folder or name))
    except _LOAD_ERRORS as error:
        raise ModelError(_reason(entry, error)) from error
    identity = entry.identity or hashlib.sha256(f"{name}@{config._commit_hash}".encode()).hexdigest()
    return replace(entry, kind=entry.kind or _kind(config), identity=identity)


def _known_kind(entry: ModelEntry) -> ModelKind:
    assert entry.kind is not None  # identify_model has filled it in
    return entry.kind


def wrap_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: ModelKind, *, name: str, identity: str
) -> LanguageModel:
    """Freeze a transformers model and make a `LanguageModel` of it."""
    model.eval().requires_grad_(False)
    config = model.config
    start = getattr(config, "decoder_start_token_id", None)
    encoder = Encoder(
        tokenizer=tokenizer,
        kind=kind,
        max_length=_max_length(model, kind),
        label_ids={str(k): int(v) for k, v in (config.label2id or {}).items()} if kind is ModelKind.CLASSIFIER else {},
        decoder_start=start,
    )
    return LanguageModel(
        name=name,
        identity=identity,
        model=model,
        architecture=find_architecture(model, kind),
        encoder=encoder,
    )


def _max_length(model: PreTrainedModel, kind: ModelKind) -> int | None:
    """Give the most positions that a model has; T5's relative positions set no limit."""
    config = model.config
    limit = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    is_relative = kind is ModelKind.SEQ2SEQ and hasattr(config, "relative_attention_num_buckets")
    if is_relative or limit is None:
        return None
    # RoBERTa counts positions from behind that of the padding: its table serves fewer tokens than it has rows.
    padding = (
        module.padding_idx
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding) and name.endswith("position_embeddings")
    )
    return int(limit) - max((index + 1 for index in padding if index is not None), default=0)


def _kind(config: Any) -> ModelKind:
    names = " ".join(config.architectures or ())
    if "SequenceClassification" in names:
        return ModelKind.CLASSIFIER
    return ModelKind.SEQ2SEQ if config.is_encoder_decoder else ModelKind.CAUSAL


def _reason(entry: ModelEntry, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if entry.folder is not None:
        return f"model {entry.name!r} can not be read from {Path(entry.folder)}: {first}"
    return (
        f"model {entry.name!r} is neither embedded nor a folder, and the hub gave nothing ({first[:150]})."
        f"{nearest(entry.name, embedded_models())} `bench list models` shows what needs no network."
    )

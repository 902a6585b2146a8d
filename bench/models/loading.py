"""Finds and loads a model: an embedded or imported one, random weights, a local folder, or a name on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from bench.errors import ModelError, nearest
from bench.models.architecture import find_architecture
from bench.models.catalogue import ModelEntry, embedded_models, find_model, imported_models
from bench.models.encoding import Encoder
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.memory import is_out_of_memory
from bench.models.options import PLAIN, LoadOptions
from bench.models.placement import check_placement, placement
from bench.models.random_weights import MODEL_CLASSES, random_model

# Its notes on missing image processors and its bars would bury what a run says; errors still come as exceptions.
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

__all__ = ["DTYPES", "identify_model", "load_model", "loaded_kind", "wrap_model"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES: dict[object, str] = {dtype: name for name, dtype in DTYPES.items()}
_LOAD_ERRORS = (OSError, ValueError, HFValidationError, SafetensorError, KeyError, RuntimeError, ImportError)
# what transformers says where the hub was not reached and its cache holds nothing
_OFFLINE = ("couldn't connect", "offline mode", "cached files", "cannot find the requested files", "local cache")


def load_model(name: str, *, device: str = "cpu", dtype: str = "fp32", options: LoadOptions = PLAIN) -> LanguageModel:
    """Load a model by embedded or imported name, `random:SHAPE`, folder or hub id.

    Args:
        name: as in `bench list models`, a folder with a plain transformers model, or a hub id, perhaps `ID@REVISION`.
        device: `cpu`, `cuda`, `cuda:1` or `mps`.
        dtype: `fp32`, `bf16` or `fp16`; the weights are converted to it.
        options: what was asked for by flag.

    Raises:
        ModelError: it can not be found, read, trusted, placed or edited.
    """
    entry = identify_model(name, options=options)
    kind = _known_kind(entry)
    if entry.shape is not None:
        model, tokenizer = random_model(entry.shape, device=device, dtype=DTYPES[dtype])
    else:
        model, tokenizer = _read(entry, kind, device=device, dtype=DTYPES[dtype], options=options)
    lm = wrap_model(model, tokenizer, kind, name=name, identity=entry.identity)
    return replace(lm, encoder=lm.encoder.for_chat()) if options.is_chat else lm


def identify_model(name: str, *, options: LoadOptions = PLAIN) -> ModelEntry:
    """Find a model and say what kind it is, which version, and how its weights are stored, without reading them.

    Raises:
        ModelError: there is no such model, or its configuration can not be read.
    """
    entry = find_model(name, reads_pickle=options.reads_pickle)
    if entry.shape is not None:
        return entry
    try:
        commit = _commit(entry.hub_id, options.revision or entry.revision) if entry.hub_id else ""
        has_code = options.runs_remote_code and _brings_code(entry, commit)
        config = AutoConfig.from_pretrained(
            entry.source, revision=commit or None, trust_remote_code=options.runs_remote_code
        )
    except _LOAD_ERRORS as error:
        raise ModelError(_reason(entry, error)) from error
    return replace(
        entry,
        kind=entry.kind or loaded_kind(name, config),
        identity=entry.identity or hashlib.sha256(f"{entry.hub_id}@{commit}".encode()).hexdigest(),
        revision=commit,
        has_code=has_code,
        dtype=_NAMES.get(getattr(config, "dtype", None), "fp32"),
    )


def _commit(hub_id: str, revision: str) -> str:
    """Give the commit that a revision of the hub stands for, the main one if it is empty."""
    path = Path(hf_hub_download(hub_id, "config.json", revision=revision or None))
    return path.parent.name  # the cache has a folder for each commit


def _brings_code(entry: ModelEntry, commit: str) -> bool:
    """Say whether a model or its tokenizer brings code of its own, without running it.

    Raises:
        ModelError: the code lies in another repository, of which no commit is pinned.
    """
    config, _ = PreTrainedConfig.get_config_dict(entry.source, revision=commit or None)
    tokenizer = get_tokenizer_config(entry.source, revision=commit or None)
    classes = [name for found in (config, tokenizer) for name in _names_in(found.get("auto_map"))]
    for name in classes:
        repository = name.rpartition("--")[0]
        if repository not in {"", entry.hub_id}:
            raise ModelError(
                f"model {entry.name!r} takes its code from another repository, {repository!r}, of which no commit is "
                "pinned. Put that code beside the weights in a folder of yours, name it in `auto_map` without the "
                "repository, and ask for the folder."
            )
    return bool(classes)


def _names_in(classes: Any) -> list[str]:
    """Give the names in an `auto_map`: of each auto class one, or those of a slow and of a fast tokenizer."""
    if isinstance(classes, str):
        return [classes]
    inner = classes.values() if isinstance(classes, dict) else classes or ()
    return [name for one in inner for name in _names_in(one)]


def loaded_kind(name: str, config: Any) -> ModelKind:
    """Tell the kind of a model from its configuration.

    Raises:
        ModelError: it has no head that answers.
    """
    names = " ".join(config.architectures or ())
    if "SequenceClassification" in names:
        return ModelKind.CLASSIFIER
    if config.is_encoder_decoder:
        return ModelKind.SEQ2SEQ
    family = config.model_type
    # Where no head is named, a family that fills gaps is taken for an encoder: it may have a causal class, too.
    has_head = "CausalLM" in names or "LMHead" in names or family not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if has_head and (family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(config, "auto_map", None)):
        return ModelKind.CAUSAL
    raise ModelError(
        f"model {name!r} is {names or f'of the family {family!r}'}, which has no head to answer with: neither a "
        "language model's nor that of a classifier of texts. It can be the base of one, and is not edited itself."
    )


def _read(
    entry: ModelEntry, kind: ModelKind, *, device: str, dtype: torch.dtype, options: LoadOptions
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read the weights and the tokenizer of an entry that has files, here or on the hub."""
    where: dict[str, Any] = {"trust_remote_code": options.runs_remote_code, "revision": entry.revision or None}
    try:
        tokenizer = AutoTokenizer.from_pretrained(entry.source, **where)
        model, report = MODEL_CLASSES[kind].from_pretrained(
            entry.source,
            dtype=dtype,
            use_safetensors=None if options.reads_pickle else True,
            output_loading_info=True,
            **placement(options.gpus),
            **where,
        )
    except _LOAD_ERRORS as error:
        if is_out_of_memory(error):  # nothing is wrong with the model
            raise
        raise ModelError(_reason(entry, error)) from error
    if missing := sorted(report["missing_keys"]):
        # transformers draws what is missing at random and goes on
        raise ModelError(
            f"model {entry.name!r}: its files lack {len(missing)} of its parameters, {missing[0]!r} for one."
        )
    check_placement(entry.name, model, options.gpus)
    return model if options.gpus > 1 else model.to(device), tokenizer


def _known_kind(entry: ModelEntry) -> ModelKind:
    assert entry.kind is not None  # identify_model has filled it in
    return entry.kind


def wrap_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: ModelKind, *, name: str, identity: str
) -> LanguageModel:
    """Freeze a transformers model and make a `LanguageModel` of it.

    Raises:
        ModelError: no editable matrices were found, or the tokenizer gives no offsets.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"model {name!r}: its tokenizer, a {type(tokenizer).__name__}, does not say where in the text a token "
            "stands, so that answers could not be found. Save one with a tokenizer.json beside the model."
        )
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


def _reason(entry: ModelEntry, error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if "trust_remote_code" in text:
        return (
            f"model {entry.name!r} brings code of its own, which transformers would have to run. "
            "Read that code, then trust it with --trust-remote-code."
        )
    if entry.folder is not None:
        return f"model {entry.name!r} can not be read from {entry.folder}: {first}"
    if "safetensors" in text:
        return (
            f"model {entry.name!r} has no safetensors on the hub; what else it has may be a pickle, which could run "
            "anything when it is read. Trust it with --allow-pickle, or ask for another revision with ID@REVISION."
        )
    known: Mapping[str, ModelEntry] = {**embedded_models(), **imported_models()}
    beginning = f"model {entry.name!r} is neither embedded nor a folder, "
    if any(sign in text.lower() for sign in _OFFLINE):
        return (
            f"{beginning}and without a network the hub's cache here does not hold it.{nearest(entry.name, known)} "
            f"Fetch it where there is a network with `hf download {entry.hub_id}`, or name a folder; "
            "`bench list models` shows what needs neither."
        )
    return (
        f"{beginning}and the hub gave nothing ({first[:150]}).{nearest(entry.name, known)} "
        "`bench list models` shows what needs no network."
    )

"""Which models there are without a network, read from their folders without importing torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import ModelError
from bench.models.kind import ModelKind

__all__ = ["EMBEDDED_FOLDER", "ModelEntry", "embedded_models", "find_model"]

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_WEIGHTS = "model.safetensors"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")  # one is enough


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model as far as it is known before it is loaded.

    Args:
        name: what to ask for it by.
        kind: its kind, or None if only its configuration tells (a hub id).
        folder: where its files are, or None for a hub id.
        identity: a checksum of its files, or empty for a hub id.
        card: how an embedded model was trained and what it knows; empty for others.
    """

    name: str
    kind: ModelKind | None
    folder: Path | None
    identity: str
    card: dict[str, Any]

    @property
    def parameters(self) -> int | None:
        count = self.card.get("parameters")
        return int(count) if count is not None else None


def embedded_models() -> dict[str, ModelEntry]:
    """Give the models that came with the package, by name, smallest first."""
    folders = sorted(EMBEDDED_FOLDER.glob("*/card.json"))
    entries = [_read_folder(path.parent.name, path.parent) for path in folders]
    return {entry.name: entry for entry in sorted(entries, key=lambda e: (e.kind or "", e.parameters or 0))}


def find_model(name: str) -> ModelEntry:
    """Find a model by embedded name, folder, or hub id.

    Raises:
        ModelError: the name can be none of these, or the folder holds no model.
    """
    embedded = EMBEDDED_FOLDER / name
    if name and "/" not in name and (embedded / "card.json").is_file():
        return _read_folder(name, embedded)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return _read_folder(name, folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise ModelError(f"model {name!r}: there is no such folder. `bench list models` shows the embedded ones.")
    return ModelEntry(name=name, kind=None, folder=None, identity="", card={})


def _read_folder(name: str, folder: Path) -> ModelEntry:
    config = _json(folder / "config.json", name)
    card = _json(folder / "card.json", name) if (folder / "card.json").is_file() else {}
    if not (folder / _WEIGHTS).is_file() and not list(folder.glob("model-*.safetensors")):
        raise ModelError(f"model {name!r}: {folder} holds no {_WEIGHTS}. Save it with `save_pretrained` first.")
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(f"model {name!r}: {folder} holds no tokenizer. Save it with `save_pretrained` first.")
    return ModelEntry(name=name, kind=_kind(config), folder=folder, identity=_files_digest(folder), card=card)


def _kind(config: dict[str, Any]) -> ModelKind:
    if any("SequenceClassification" in name for name in config.get("architectures") or ()):
        return ModelKind.CLASSIFIER
    return ModelKind.SEQ2SEQ if config.get("is_encoder_decoder") else ModelKind.CAUSAL


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r}: {path} can not be read as JSON ({error}).") from error
    if not isinstance(data, dict):
        raise ModelError(f"model {name!r}: {path} holds no JSON object.")
    return data


@cache
def _files_digest(folder: Path) -> str:
    """Hash what decides a model's answers: weights, configuration and tokenizer, not its card."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json", ".txt", ".model"} and path.name != "card.json":
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

"""Which models there are without a network, read from their folders without importing torch."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import ModelError, nearest
from bench.models.kind import ModelKind
from bench.models.packaged import PACKAGED
from bench.models.shapes import RANDOM, SHAPES, Shape, shape_identity

__all__ = [
    "EMBEDDED_FOLDER",
    "ModelEntry",
    "embedded_models",
    "find_model",
    "imported_models",
    "models_folder",
    "random_models",
    "safe_weights",
    "tokenizer_folder",
]

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_SAFE, _PICKLED = ("model.safetensors", "model-*.safetensors"), ("pytorch_model.bin", "pytorch_model-*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")  # one is enough
# What decides a model's answers; `.jinja` is a chat template, `.py` the code of a model that brings its own.
_DECISIVE = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".py"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model as far as it is known before it is loaded.

    Args:
        name: what to ask for it by.
        kind: its kind, or None if only transformers can tell (a hub id, or a checkpoint without a head).
        folder: where its files are, or None for a hub id or a shape.
        identity: a checksum of its files, or empty for a hub id.
        card: how it was made and what it knows; empty where nobody wrote one.
        hub_id: its name on the hub, without the revision; empty for others.
        revision: of the hub: as it was asked for, later the commit that it stands for; empty for others.
        shape: the shape that random weights are drawn for, or None.
        is_pickled: its weights are a pickle.
        has_code: it brings code of its own, which was trusted.
        dtype: what its weights are stored in: `fp32`, `bf16` or `fp16`.
        problem: why it can not be used, or empty; only where models are listed.
    """

    name: str
    kind: ModelKind | None
    folder: Path | None
    identity: str
    card: dict[str, Any]
    hub_id: str = ""
    revision: str = ""
    shape: Shape | None = None
    is_pickled: bool = False
    has_code: bool = False
    dtype: str = "fp32"
    problem: str = ""

    @property
    def parameters(self) -> int | None:
        """How many there are, by its card or else by its files; None where neither says so."""
        count = self.card.get("parameters")
        if isinstance(count, int):
            return count
        return _stored_parameters(self.folder) if self.folder and not self.is_pickled else None

    @property
    def source(self) -> str:
        """What transformers is asked for: the folder or the hub id."""
        return str(self.folder or self.hub_id)


def embedded_models() -> dict[str, ModelEntry]:
    """Give the models that came with the package, by name, smallest first."""
    return _models(EMBEDDED_FOLDER)


def imported_models() -> dict[str, ModelEntry]:
    """Give the models that `bench models import` has stored, by name, smallest first."""
    return _models(models_folder())


def random_models() -> dict[str, ModelEntry]:
    """Give the shapes that random weights can be drawn for, by name, in the order of the table."""
    return {f"{RANDOM}{name}": _random(f"{RANDOM}{name}") for name in SHAPES}


def models_folder() -> Path:
    """Give the folder of imported models: BENCH_MODELS, or `editbench/models` in the user's data folder."""
    named = os.environ.get("BENCH_MODELS")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "editbench" / "models"


def find_model(name: str, *, reads_pickle: bool = False) -> ModelEntry:
    """Find a model by embedded or imported name, `random:SHAPE`, folder, or hub id, perhaps with `@revision`.

    Raises:
        ModelError: the name can be none of these, or the folder holds no model.
    """
    if name.startswith(RANDOM):
        return _random(name)
    for place in (EMBEDDED_FOLDER, models_folder()):
        if name and "/" not in name and (place / name / "card.json").is_file():
            return _read_folder(name, place / name)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return _read_folder(name, folder, reads_pickle=reads_pickle)
    if name in PACKAGED:
        raise ModelError(f"model {name!r} has to be imported once. Run `bench models import {name}`.")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise ModelError(f"model {name!r}: there is no such folder. `bench list models` shows what needs no network.")
    hub_id, _, revision = name.partition("@")
    return ModelEntry(name=name, kind=None, folder=None, identity="", card={}, hub_id=hub_id, revision=revision)


def safe_weights(folder: Path) -> bool:
    """Say whether a folder has its weights as safetensors."""
    return _holds(folder, _SAFE)


def _models(place: Path) -> dict[str, ModelEntry]:
    """Read the models of a folder; one that is broken says why, and what was left half-written is none."""
    folders = sorted(path.parent for path in place.glob("[!.]*/card.json")) if place.is_dir() else []
    entries = [_listed(folder) for folder in folders]
    return {entry.name: entry for entry in sorted(entries, key=lambda e: (e.kind or "", e.parameters or 0))}


def _listed(folder: Path) -> ModelEntry:
    try:
        return _read_folder(folder.name, folder, is_listed=True)
    except (ModelError, OSError) as error:
        problem = str(error).partition(": ")[2] if isinstance(error, ModelError) else str(error)
        return ModelEntry(name=folder.name, kind=None, folder=folder, identity="", card={}, problem=problem.rstrip("."))


def _random(name: str) -> ModelEntry:
    short = name.removeprefix(RANDOM)
    if short not in SHAPES:
        raise ModelError(
            f"model {name!r}: there is no such shape.{nearest(short, SHAPES)} The shapes are {', '.join(SHAPES)}."
        )
    shape = SHAPES[short]
    tokenizer = tokenizer_folder(shape.kind)
    identity = shape_identity(shape, hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest())
    card = {"parameters": shape.parameters, "editable_matrices": list(shape.matrices), "tokenizer": tokenizer.name}
    return ModelEntry(name=name, kind=shape.kind, folder=None, identity=identity, card=card, shape=shape)


def tokenizer_folder(kind: ModelKind) -> Path:
    """Give the folder of the smallest embedded model of a kind, whose tokenizer a random shape takes."""
    for entry in embedded_models().values():
        if entry.kind is kind and entry.folder is not None:
            return entry.folder
    raise ModelError(f"there is no embedded {kind} model here whose tokenizer a random shape could take.")


def _read_folder(name: str, folder: Path, *, reads_pickle: bool = False, is_listed: bool = False) -> ModelEntry:
    """Read what a folder says of its model; one that is only listed needs no checksum of its weights."""
    config = _json(folder / "config.json", name)
    card = _json(folder / "card.json", name) if (folder / "card.json").is_file() else {}
    is_pickled = not safe_weights(folder) and _holds(folder, _PICKLED)
    if is_pickled and not reads_pickle:
        raise ModelError(
            f"model {name!r}: {folder} holds its weights as a pickle only, which could run anything when it is read. "
            "Convert it with `save_pretrained`, or trust it with --allow-pickle."
        )
    if not is_pickled and not safe_weights(folder):
        raise ModelError(f"model {name!r}: {folder} holds no {_SAFE[0]}. Save it with `save_pretrained` first.")
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(f"model {name!r}: {folder} holds no tokenizer. Save it with `save_pretrained` first.")
    return ModelEntry(
        name=name,
        kind=_kind(config),
        folder=folder,
        identity="" if is_listed else _files_digest(folder, is_pickled),
        card=card,
        is_pickled=is_pickled,
    )


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _kind(config: dict[str, Any]) -> ModelKind | None:
    names = " ".join(config.get("architectures") or ())
    if "SequenceClassification" in names:
        return ModelKind.CLASSIFIER
    if config.get("is_encoder_decoder"):
        return ModelKind.SEQ2SEQ
    return ModelKind.CAUSAL if "CausalLM" in names or "LMHead" in names else None


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r}: {path} can not be read as JSON ({error}).") from error
    if not isinstance(data, dict):
        raise ModelError(f"model {name!r}: {path} holds no JSON object.")
    return data


@cache
def _stored_parameters(folder: Path) -> int | None:
    """Count the numbers in a folder's safetensors, from their headers; None if one has no header."""
    count = 0
    for pattern in _SAFE:
        for path in folder.glob(pattern):
            try:
                with path.open("rb") as file:
                    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                count += sum(math.prod(facts["shape"]) for name, facts in header.items() if name != "__metadata__")
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
                return None
    return count or None


@cache
def _files_digest(folder: Path, is_pickled: bool) -> str:
    """Hash what decides a model's answers: weights, configuration and tokenizer, not its card."""
    digest = hashlib.sha256()
    suffixes = _DECISIVE | ({".bin"} if is_pickled else set())
    for path in sorted(folder.iterdir()):
        if path.suffix in suffixes and path.name != "card.json":
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

"""A fitted editor as one file, to be handed on: safetensors, with its card as JSON in the metadata, and a digest."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from bench.errors import StoreError
from bench.records.artifacts import Artifact
from bench.records.canonical import JsonScalar, canonical_json, parse_record
from bench.running.fits import LOG, STATE

__all__ = ["EditorFile", "FitCard", "FitDetails", "FitIdentity", "read_editor", "write_editor"]

_FORMAT = "editbench-editor"
_SCHEMA = "1"  # of the file; raise it when an older version can not read what is written


@dataclass(frozen=True, slots=True, kw_only=True)
class FitIdentity:
    """What a fit depends on; see `fit_identity`."""

    method: str
    method_version: int
    config: Mapping[str, JsonScalar]
    plugin_digest: str
    model_digest: str
    dataset: str
    dataset_digest: str
    dataset_config: Mapping[str, JsonScalar]
    dtype: str
    device: str
    threads: int
    seed: int
    protocol_version: int
    split: str = "test"
    chat: bool = False
    gpus: int = 1
    remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDetails:
    """What is kept of a fit beside its state; see `Fitted`. Label and model are as they were asked for."""

    values: Mapping[str, object]
    costs: Mapping[str, float]
    label: str
    model: str
    resumed_at: tuple[int, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCard:
    """The card of a fit, read."""

    identity: FitIdentity
    details: FitDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorFile:
    """The content of such a file, whole and checked.

    Args:
        identity, details: as the artefact has them.
        card: the same, read.
        files: content by name, as it lies in the artefact's folder.
    """

    identity: Mapping[str, object]
    details: Mapping[str, object]
    card: FitCard
    files: Mapping[str, bytes]


def write_editor(path: Path, artifact: Artifact) -> None:
    """Write a fitted editor into one new file.

    Raises:
        StoreError: there is something of that name already, or it can not be written.
    """
    if path.exists():
        raise StoreError(f"{str(path)!r} is there already. Give the name of a new file.")
    tensors = {f"state/{name}": tensor for name, tensor in load_file(artifact.folder / STATE).items()}
    tensors[LOG] = torch.frombuffer(bytearray((artifact.folder / LOG).read_bytes()), dtype=torch.uint8)
    card = canonical_json({"identity": artifact.identity, "details": artifact.details})
    metadata = {"format": _FORMAT, "schema": _SCHEMA, "card": card, "sha256": _digest(card, tensors)}
    temporary = path.with_name(f".tmp-{path.name}-{secrets.token_hex(4)}")
    try:
        save_file(tensors, temporary, metadata)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{str(path)!r} can not be written: {error}.") from error


def read_editor(path: Path) -> EditorFile:
    """Read such a file and check its digest.

    Raises:
        StoreError: it is missing, cut, damaged, of another schema, or no exported editor at all.
    """
    metadata = _metadata(path)
    if metadata.get("format") != _FORMAT:
        raise StoreError(f"{str(path)!r} is no exported editor. `bench editors export` writes one.")
    if metadata.get("schema") != _SCHEMA:
        raise StoreError(
            f"{str(path)!r} is of schema {metadata.get('schema')!r}, and this version reads {_SCHEMA!r}. "
            "Export it with the version of editbench that is to read it."
        )
    card, tensors = metadata.get("card", ""), load_file(path)
    found, said = _digest(card, tensors), metadata.get("sha256", "")
    if found != said:
        raise StoreError(
            f"{str(path)!r} is damaged: its content has the digest {found[:16]}…, and {said[:16]}… is written in it. "
            "Export it again."
        )
    data = _json(card, path)
    whole = parse_record(_RawCard, data)
    log = tensors.pop(LOG, torch.zeros(0, dtype=torch.uint8))
    return EditorFile(
        identity=whole.identity,
        details=whole.details,
        card=parse_record(FitCard, data),
        files={
            STATE: save({name.removeprefix("state/"): tensor for name, tensor in tensors.items()}),
            LOG: log.numpy().tobytes(),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RawCard:
    identity: Mapping[str, object]
    details: Mapping[str, object]


def _metadata(path: Path) -> Mapping[str, str]:
    try:
        if not path.is_file():
            raise StoreError(f"there is no file {str(path)!r}.")
        with safe_open(path, "pt") as file:
            found: Mapping[str, str] | None = file.metadata()
    except SafetensorError as error:
        raise StoreError(f"{str(path)!r} is cut off, or no exported editor: {error}. Export it again.") from error
    except OSError as error:
        raise StoreError(f"{str(path)!r} can not be read: {error.strerror or error}.") from error
    return found or {}


def _json(text: str, path: Path) -> object:
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{str(path)!r} holds a card that is no JSON: {error}.") from error
    return data


def _digest(card: str, tensors: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 of the card and of all tensors with their names, types and shapes."""
    digest = hashlib.sha256(card.encode())
    digest.update(save(dict(tensors)))
    return digest.hexdigest()

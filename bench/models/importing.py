"""Stores a model as a plain safetensors folder where `--models NAME` finds it: from a GGUF file or from a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel

from bench.errors import ModelError
from bench.models.architecture import find_architecture
from bench.models.catalogue import safe_weights
from bench.models.kind import ModelKind
from bench.models.loading import loaded_kind
from bench.models.packaged import PACKAGED
from bench.models.random_weights import MODEL_CLASSES
from bench.models.storing import named_folder, storing

__all__ = ["Imported", "import_model"]

_COPIED = (".safetensors", ".json", ".txt", ".model", ".jinja")  # what a plain folder may hold beside pickles and code
_ENCODER = "encoder"  # the kind of a model that has no head to answer with; it can be the base of one
_BASE = ModelKind.CAUSAL  # an encoder's editable matrices do not depend on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A model that is stored now.

    Args:
        name: what to ask for it by.
        kind: `causal`, `seq2seq`, `classifier` or `encoder`.
        parameters: how many it has.
        folder: where it is.
        is_new: False: the same was there already, and nothing was written.
    """

    name: str
    kind: str
    parameters: int
    folder: Path
    is_new: bool


def import_model(source: str, *, name: str = "", reads_pickle: bool = False) -> Imported:
    """Store a model where `find_model` finds it by a short name.

    Args:
        source: a GGUF file, a folder (of a transformers model, or with one GGUF file), or a name in `PACKAGED`.
        name: what to ask for it by; by default the name in `PACKAGED`, or that of the file or folder.
        reads_pickle: weights may be read from a pickle where there are no safetensors.

    Raises:
        ModelError: the source can not be found or read, the name can not be used, or another model has it.
    """
    packaged = PACKAGED.get(source)
    path = packaged.locate(source) if packaged and not Path(source).exists() else Path(source).expanduser()
    path = _one_file(path)
    name = name or (source if packaged else path.stem if path.is_file() else path.resolve().name).lower()
    digest, folder = _digest(path), named_folder(name)
    if (known := _known(folder, digest)) is not None:
        return Imported(name=name, kind=known["kind"], parameters=known["parameters"], folder=folder, is_new=False)
    facts = {"source": path.name, "source_sha256": digest, "licence": packaged.licence if packaged else None}
    with storing(name) as place:
        found = _from_gguf(path, place) if path.is_file() else _from_folder(path, place, reads_pickle)
        card = {"name": name, **found, **facts, "torch": torch.__version__, "transformers": version("transformers")}
        (place / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return Imported(name=name, kind=found["kind"], parameters=found["parameters"], folder=folder, is_new=True)


def _one_file(path: Path) -> Path:
    """Give the GGUF file of a folder that holds one and no configuration; otherwise the path itself."""
    if not path.exists():
        raise ModelError(
            f"there is no file or folder {str(path)!r}. Name a GGUF file, a folder, or one of {', '.join(PACKAGED)}."
        )
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ModelError(f"{str(path)!r} is no GGUF file. Name one, or the folder of a transformers model.")
        return path
    if (path / "config.json").is_file():
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) != 1:
        found = f"{len(files)} GGUF files" if files else "neither a config.json nor a GGUF file"
        raise ModelError(f"the folder {str(path)!r} holds {found}. Name the one file that is meant.")
    return files[0]


def _known(folder: Path, digest: str) -> dict[str, Any] | None:
    """Give the card of what is stored there, if it was made from the same files."""
    with suppress(OSError, ValueError):
        card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        return card if card.get("source_sha256") == digest else None
    return None


def _from_gguf(path: Path, folder: Path) -> dict[str, Any]:
    """Undo the quantisation of a GGUF file; the weights are stored in fp32, exactly as they come out of it."""
    for module in ("gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise ModelError(
                f"a GGUF file needs {module!r}, which is not installed. Run `pip install 'editbench[gguf]'`."
            )
    where: dict[str, Any] = {"gguf_file": path.name, "trust_remote_code": False}  # or transformers asks on the terminal

    def read() -> tuple[PreTrainedModel, dict[str, Any]]:
        config = AutoConfig.from_pretrained(str(path.parent), **where)
        kind = loaded_kind(path.name, config)
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **where)
        model, report = MODEL_CLASSES[kind].from_pretrained(
            str(path.parent), **where, dtype=torch.float32, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise ModelError(f"{path.name!r} lacks {len(missing)} parameters of its model, {missing[0]!r} for one.")
        tokenizer.save_pretrained(folder)
        return model, {"kind": str(kind)}

    with redirect_stderr(io.StringIO()):  # a bar that can not be turned off
        model, facts = _reading(path, read)
    if any(parameter.dtype is not torch.float32 for parameter in model.parameters()):
        raise ModelError(f"{str(path)!r} was not read as plain weights. Try it without the package 'kernels'.")
    # It is not quantised any more, and would not be saved as long as it says so.
    vars(model).pop("hf_quantizer", None)
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(folder)
    return facts | _facts(model) | {"dtype": "fp32", "gguf": version("gguf")}


def _from_folder(path: Path, folder: Path, reads_pickle: bool) -> dict[str, Any]:
    """Copy a plain folder as it is; one with a pickle is read and written anew."""
    is_safe = safe_weights(path)
    if not is_safe and not reads_pickle:
        raise ModelError(
            f"the folder {str(path)!r} holds no safetensors; a pickle could run anything when it is read. "
            "Trust it with --allow-pickle, or name another folder."
        )

    def read() -> tuple[PreTrainedModel, dict[str, Any]]:
        config = AutoConfig.from_pretrained(str(path), trust_remote_code=False)  # or transformers asks on the terminal
        try:
            kind, cls = str(loaded_kind(path.name, config)), MODEL_CLASSES[loaded_kind(path.name, config)]
        except ModelError:
            kind, cls = _ENCODER, AutoModel
        tokenizer = AutoTokenizer.from_pretrained(str(path), trust_remote_code=False)
        model, report = cls.from_pretrained(
            str(path), trust_remote_code=False, use_safetensors=is_safe, dtype="auto", output_loading_info=True
        )
        if missing := sorted(key for key in report["missing_keys"] if "pooler" not in key):
            raise ModelError(f"{path.name!r} lacks {len(missing)} parameters of its model, {missing[0]!r} for one.")
        if not is_safe:
            tokenizer.save_pretrained(folder)
        return model, {"kind": kind}

    model, facts = _reading(path, read)
    if is_safe:
        for file in sorted(path.iterdir()):
            if file.suffix in _COPIED and file.is_file() and file.name != "card.json":
                shutil.copyfile(file, folder / file.name)
    else:
        model.save_pretrained(folder)
    return facts | _facts(model)


def _reading(
    path: Path, read: Callable[[], tuple[PreTrainedModel, dict[str, Any]]]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        return read()
    except ModelError:
        raise
    except Exception as error:  # whatever transformers and gguf make of a file that is cut or of an unknown family
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{str(path)!r} can not be read: {first}") from error


def _facts(model: PreTrainedModel) -> dict[str, Any]:
    architecture = find_architecture(model, _BASE)
    return {"parameters": architecture.parameters, "editable_matrices": list(architecture.outline())}


def _digest(path: Path) -> str:
    """Hash a file, or every file that lies in a folder, stored or not: a pickle is read and not stored."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else [file for file in sorted(path.iterdir()) if file.is_file()]
    for file in files:
        if path.is_dir():
            digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()

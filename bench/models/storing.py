"""Writes a model into the folder of imported models: whole, or not at all."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import ModelError
from bench.models.catalogue import EMBEDDED_FOLDER, models_folder

__all__ = ["named_folder", "storing"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


def named_folder(name: str) -> Path:
    """Give the folder of an imported model of this name, there or not.

    Raises:
        ModelError: no model can be called so.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ModelError(
            f"{name!r} is no name for a model: use up to 61 letters, digits, '-', '_' and '.' with --name."
        )
    if (EMBEDDED_FOLDER / name).exists():
        raise ModelError(f"{name!r} is an embedded model. Choose another name with --name.")
    return models_folder() / name


@contextmanager
def storing(name: str) -> Iterator[Path]:
    """Give a folder to write a model into; it gets its name when the block is left without an error.

    Raises:
        ModelError: no model can be called so, one is already, or the folder can not be written.
    """
    folder = named_folder(name)
    if folder.exists():
        raise ModelError(
            f"another model is stored as {str(folder)!r} already. Delete that folder, or choose another name "
            "with --name."
        )
    temporary = folder.with_name(f".tmp-{name}-{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for weights in temporary.glob("*.safetensors"):
            weights.chmod(0o644)  # written for the owner alone; a folder of models may be shared
        temporary.rename(folder)
    except OSError as error:
        raise ModelError(f"model {name!r} can not be stored as {str(folder)!r}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

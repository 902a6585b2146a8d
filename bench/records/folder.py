"""Folders that are whole or not there: written aside, then renamed, with their lengths and digests.

A reader finds `card.json` only in a finished folder, because everything is first written into a
sibling whose name begins with `.tmp-`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError

__all__ = [
    "CARD",
    "FileFacts",
    "flaw",
    "leftovers",
    "move_aside",
    "read_json",
    "remove_folder",
    "remove_leftovers",
    "write_file",
    "write_folder",
]

CARD = "card.json"
_TEMPORARY = ".tmp-"
_OLD, _GONE = "-old", "-gone"  # behind the temporary name of what is being replaced, or deleted
_WRITTEN = re.compile(rf"{re.escape(_TEMPORARY)}(.+)-[0-9a-f]{{8}}(?:{_OLD})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a file must be like to be whole."""

    bytes: int
    sha256: str


def write_folder(
    target: Path,
    fill: Callable[[Path], None],
    card: Callable[[Mapping[str, FileFacts]], Mapping[str, object]],
) -> None:
    """Write a folder so that it is either whole or not there, replacing what was there.

    Args:
        target: the folder to make.
        fill: writes flat files into the folder that it is given.
        card: gives the JSON of card.json from the facts of these files; it is written last.

    Raises:
        StoreError: the disk is full or can not be written, or `fill` made more than flat files.
    """
    temporary = target.parent / f"{_TEMPORARY}{target.name}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        facts = {path.name: _persist(path) for path in sorted(temporary.iterdir())}
        if CARD in facts:
            raise StoreError(f"{target.name!r}: {CARD!r} is the store's own file; write another name.")
        (temporary / CARD).write_text(_pretty(card(facts)), encoding="utf-8")
        _persist(temporary / CARD)
        _sync_folder(temporary)
        _replace(temporary, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(target: Path, text: str) -> None:
    """Write one text file by rename; raises StoreError if it can not be written."""
    temporary = target.with_name(f"{_TEMPORARY}{target.name}-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        _persist(temporary)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _unwritable(target, error) from error


def read_json(path: Path) -> object:
    """Read a JSON file; raises StoreError if it is missing or torn, OSError if it can not be opened."""
    if path.is_symlink():
        raise StoreError(f"{path.name!r} is a link, which a results folder never holds.")
    try:
        data: object = json.loads(path.read_text(encoding="utf-8"))
        return data
    except FileNotFoundError as error:
        raise StoreError(f"{path.name!r} is missing.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path.name!r} is no JSON: {error}") from error


def flaw(folder: Path, files: Mapping[str, FileFacts], *, verify: bool) -> str | None:
    """Say what is wrong with a folder's files, or None.

    Args:
        folder: where they are.
        files: what the card says of them.
        verify: read every file and compare its digest; otherwise its length only.
    """
    for name, facts in files.items():
        path = folder / name
        if os.path.basename(name) != name or name in (".", ".."):
            return f"{name!r} is not a plain file of this folder"
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{name!r} is missing"
        if not stat.S_ISREG(found.st_mode):
            return f"{name!r} is not a plain file of this folder"
        if found.st_size != facts.bytes:
            return f"{name!r} has {found.st_size} bytes, not {facts.bytes}"
        if verify and _digest(path) != facts.sha256:
            return f"the checksum of {name!r} is wrong"
    return None


def move_aside(folder: Path) -> Path:
    """Rename a broken folder to `<folder>.broken-<n>` and give its new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.broken-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return aside


def remove_folder(folder: Path) -> None:
    """Delete a folder so that no part of it can be taken for the whole; nothing happens if it is not there."""
    temporary = folder.with_name(f"{_TEMPORARY}{folder.name}-{secrets.token_hex(4)}{_GONE}")
    try:
        folder.rename(temporary)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(folder, error) from error
    _delete(temporary)


def remove_leftovers(parent: Path, *, older_than_seconds: float = 0.0) -> int:
    """Delete what killed writers left in a folder; the new ones only while nobody else writes there.

    What only had to be renamed when its writer was killed is put in its place instead.
    """
    _recover(parent)
    found = leftovers(parent, older_than_seconds=older_than_seconds)
    for path in found:
        _delete(path)
    return len(found)


def leftovers(parent: Path, *, older_than_seconds: float = 0.0) -> list[Path]:
    """Give what killed writers left in a folder, if it is old enough and lacks more than its name."""
    newest = time.time() - older_than_seconds
    found = [path for path in sorted(parent.glob(f"{_TEMPORARY}*")) if _place(path) is None]
    return [path for path in found if older_than_seconds == 0 or _changed(path) < newest]


def _recover(parent: Path) -> None:
    """Put folders in their place that were whole when their writer was killed, new ones before those they replace."""
    for path in sorted(parent.glob(f"{_TEMPORARY}*"), key=lambda path: path.name.endswith(_OLD)):
        place = _place(path)
        if place is not None:
            with contextlib.suppress(OSError):
                path.rename(place)


def _place(path: Path) -> Path | None:
    """Give the free place of a folder that was whole when its writer was killed; None for all else."""
    name = _WRITTEN.fullmatch(path.name)
    if name is None or path.is_symlink() or not path.is_dir() or (place := path.with_name(name[1])).exists():
        return None
    try:
        read_json(path / CARD)  # written last; one that is there may be torn
    except (StoreError, OSError):
        return None
    return place


def _delete(path: Path) -> None:
    """Delete a file, a link or a whole folder as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _changed(path: Path) -> float:
    """Give when a path was last changed, in seconds since the epoch; infinity if it is gone by now."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return math.inf


def _replace(temporary: Path, target: Path) -> None:
    old = None
    if target.exists() or target.is_symlink():
        old = temporary.with_name(temporary.name + _OLD)
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
        raise
    _sync_folder(target.parent)
    if old is not None:
        _delete(old)


def _persist(path: Path) -> FileFacts:
    if path.is_symlink() or not path.is_file():
        raise StoreError(f"{path.name!r} is no plain file; only flat files can be stored.")
    with path.open("r+b") as file:  # Windows syncs only what may be written
        os.fsync(file.fileno())
    return FileFacts(bytes=path.stat().st_size, sha256=_digest(path))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no way to sync a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pretty(data: Mapping[str, object]) -> str:
    try:
        return json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise StoreError(f"a card can not be written: {error}. It holds finite JSON values only.") from error


def _unwritable(target: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{str(target)!r} can not be written: {error.strerror or error}. Make room or choose a folder that "
        "you may write to, then give the same command again: what was finished is kept."
    )

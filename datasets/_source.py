"""Finds the file that a dataset is to read: a path, a file of a dataset on the hub, or the sample that comes along."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path

from bench.errors import DataError

__all__ = ["SAMPLE", "file_digest", "find_file"]

SAMPLE = "sample"
SAMPLES = Path(__file__).resolve().parent / "samples"
DATA_VARIABLE = "BENCH_DATA"  # the environment variable with the folder in which relative paths are looked for, too

_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[^:]*):(?P<file>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_file(asked: str, *, field: str, sample: str) -> Path:
    """Give the local file that a field of a configuration names; one of the hub is downloaded once.

    Args:
        asked: a path, absolute or below the current folder or that of `BENCH_DATA`; `ID@COMMIT:FILE` for a file of a
            dataset on the hub; or `sample`.
        field: its name, for messages, like `zsre.path`.
        sample: name of the invented file that `sample` stands for; empty if there is none.

    Raises:
        DataError: there is no such file, or the revision of a hub file is not a commit.
    """
    if not asked:
        hint = f" `--set {field}={SAMPLE}` takes a few invented cases, to try the command." if sample else ""
        raise DataError(
            f"{field} names no file. Give one with --set {field}=FILE, or one of the hub with ID@COMMIT:FILE.{hint}"
        )
    if asked == SAMPLE and sample:
        return SAMPLES / sample
    path = Path(asked).expanduser()
    folders = [Path(), Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else [Path()]
    for folder in folders:
        if (folder / path).is_file():
            return folder / path
    if match := _HUB.fullmatch(asked):
        return _downloaded(match["id"], match["revision"], match["file"], field)
    if path.is_dir():
        raise DataError(f"{field} is {asked!r}, a folder. Name the file in it.")
    looked = " or ".join(str(folder.absolute()) for folder in (folders if not path.is_absolute() else [path.parent]))
    raise DataError(f"{field} is {asked!r}, and there is no such file in {looked}. Give the path of the file.")


def _downloaded(id: str, revision: str, file: str, field: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if not _COMMIT.fullmatch(revision):
        raise DataError(
            f"{field}: {revision!r} is no commit of {id!r} on the hub. Pin the 40 hex digits of one, since a branch or "
            "tag may hold other cases tomorrow."
        )
    try:
        return Path(hf_hub_download(id, file, revision=revision, repo_type="dataset"))
    except LocalEntryNotFoundError as error:
        raise DataError(
            f"{field}: {file!r} of {id!r} is not on this machine and the hub can not be reached. Download it once "
            "where there is a network, or name a local file."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{field}: {file!r} of {id!r} can not be downloaded: {reason}") from error


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file as hex digits."""
    about = path.stat()
    return _digest(path.absolute(), about.st_size, about.st_mtime_ns)


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

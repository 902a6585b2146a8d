"""The sampled targets of the continuations, read from datasets/continuations_data and checked."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from bench.datasets._continuation_prompts import CASES, Tokens
from bench.editing.dataset import Split
from bench.errors import DataError, ModelError
from bench.models.catalogue import find_model
from bench.models.vocabulary import vocabulary_digest

__all__ = ["FOLDER", "HEADER", "SOURCE_FILE", "TARGETS_FILE", "TARGET_TOKENS", "Targets", "load_targets"]

FOLDER = Path(__file__).resolve().parent / "continuations_data"
TARGETS_FILE = "targets.csv"
SOURCE_FILE = "source.toml"
HEADER = ["split", "number", "target"]
TARGET_TOKENS = 10  # MEND, appendix C: 10 tokens sampled from a smaller model


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """All targets, and the tokenizer that says what their ids mean.

    Args:
        of_split: the targets of each split, in the order of its passages.
        tokenizer: that of the model they were sampled from.
        vocabulary: checksum of its vocabulary.
        digest: SHA-256 of both files and of the tokenizer, hex digits.
    """

    of_split: Mapping[Split, Sequence[Tokens]]
    tokenizer: Tokenizer
    vocabulary: str
    digest: str


@cache
def load_targets(folder: Path = FOLDER) -> Targets:
    """Read both files and the tokenizer.

    Raises:
        DataError: one is missing or wrong, or the tokenizer is not the one that the targets were made with.
    """
    table, source = (_read(folder / name) for name in (TARGETS_FILE, SOURCE_FILE))
    try:
        entries = tomllib.loads(source)
        model, vocabulary = str(entries["model"]), str(entries["vocabulary"])
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise DataError(f"{folder / SOURCE_FILE}: {error} is missing or wrong. Install bench anew.") from error
    tokenizer = _tokenizer(model)
    if vocabulary_digest(tokenizer.get_vocab()) != vocabulary:
        raise DataError(
            f"the targets in {folder / TARGETS_FILE} are token ids of another vocabulary than that of {model!r} now. "
            "Make them again with `tools/make_continuations.py`."
        )
    found = dict.fromkeys(Split, ()) | _targets(table, folder / TARGETS_FILE, tokenizer.get_vocab_size())
    if short := [split for split in Split if len(found[split]) != CASES[split]]:
        raise DataError(
            f"{folder / TARGETS_FILE}: {short[0]} has {len(found[short[0]])} targets, not {CASES[short[0]]}. "
            "Install bench anew."
        )
    parts = "\0".join([table, source, tokenizer.to_str()])
    return Targets(
        of_split=found,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        digest=hashlib.sha256(parts.encode()).hexdigest(),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the targets file {str(path)!r} can not be read: {error}. Install bench anew.") from error


def _tokenizer(model: str) -> Tokenizer:
    try:
        folder = find_model(model).folder
        if folder is None:
            raise DataError(f"the model {model!r}, whose tokenizer the continuations need, is not embedded.")
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except ModelError as error:
        raise DataError(f"the tokenizer of the continuations can not be read: {error}") from error


def _targets(text: str, path: Path, size: int) -> dict[Split, tuple[Tokens, ...]]:
    found: dict[Split, list[Tokens]] = {split: [] for split in Split}
    for line, split, target in _lines(text, path):
        if len(target) != TARGET_TOKENS or not all(0 <= token < size for token in target):
            raise DataError(f"{path}, line {line}: a target has {TARGET_TOKENS} token ids below {size}.")
        found[split].append(target)
    return {split: tuple(targets) for split, targets in found.items()}


def _lines(text: str, path: Path) -> Iterator[tuple[int, Split, Tokens]]:
    rows = csv.reader(io.StringIO(text))
    if next(rows, None) != HEADER:
        raise DataError(f"{path}, line 1: the header is not {','.join(HEADER)!r}.")
    places = dict.fromkeys(Split, 0)
    for line, row in enumerate(rows, start=2):
        try:
            name, number, target = row
            split = Split(name)
            ids = tuple(int(token) for token in target.split())
            if int(number) != places[split]:
                raise ValueError(f"number {number} stands where {places[split]} should")
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}. Install bench anew.") from error
        places[split] += 1
        yield line, split, ids

"""The rows of data files that may be larger than memory: checked once, split by subject, and gone through in order.

Held are a checksum of 8 bytes for the id of every row, and two or three for each row of the test and tune splits; the
rows themselves are read anew each time they are wanted.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.datasets._entries import Entry, read_entries
from bench.datasets._fact_splits import TEST_SHARE, TUNE_SHARE
from bench.datasets._fact_table import rank
from bench.datasets._source import file_digest
from bench.editing.config import config_values
from bench.editing.dataset import Dataset, Split
from bench.editing.request import Probe, Text
from bench.errors import DataError

__all__ = ["Asked", "LeftOut", "Row", "Rows", "content_id", "digest_of"]

WINDOW = 10_000  # rows that are shuffled together; a file of fewer is shuffled as a whole


class Asked(NamedTuple):
    """A question that an edit must leave alone; the fields are those of a probe, but for the group of its own row."""

    prompt: str
    answer: str
    scope: str
    about: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a file says about one edit, before probes are drawn for it.

    Args:
        id: unique in all files.
        where: file and line.
        group: what decides its split: the subject, or what comes nearest to one.
        prompt, target, subject, old_target: as in EditRequest.
        start: of a prompt of token ids, how many the model always reads first.
        alternative: the answer to compare the target's probability with.
        gold: the true answer to the prompt; None if the file does not say it.
        rephrases: prompts with the same target.
        asked: the row's own locality questions.
        probes: all probes, where the file has them.
        relation: what the prompt asks of the subject, if the file says it.
        also: further texts that may be in one split only, like a claim whose prompt has evidence behind it.
        split: the split that the file names.
        is_named: the id stands in the file, so that it may not stand there twice.
    """

    id: str
    where: str
    group: str
    prompt: Text
    target: Text
    start: int = 0
    subject: str | None = None
    old_target: str | None = None
    alternative: str | None = None
    gold: str | None = None
    rephrases: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    probes: tuple[Probe, ...] = ()
    relation: str | None = None
    also: tuple[str, ...] = ()
    split: Split | None = None
    is_named: bool = False


class LeftOut(NamedTuple):
    """A row that gives no case, and why."""

    reason: str


Read = Callable[[Entry], Row | LeftOut]


def content_id(name: str, *parts: str) -> str:
    """Give an id made from what a row says, for files without ids."""
    return f"{name}/{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def digest_of(dataset: Dataset[Any], *file_digests: str) -> str:
    """Give a SHA-256 over name, version, kind and config of a dataset and its files, wherever these lie."""
    drawn = {name: value for name, value in config_values(dataset.config).items() if not name.endswith("path")}
    parts = [dataset.name, str(dataset.version), dataset.kind, repr(sorted(drawn.items())), *file_digests]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Rows:
    """The rows of one file, or of one to be tested on and another to be fitted on.

    A single file is split by a hash of each row's group, in the shares of the dataset `facts`. Of two files the first
    is the test split, and the second is split into fit and tune. A group or prompt of a split is in no other: rows of
    fit that have one of tune or test are left out, and rows of tune that have one of test.

    Args:
        path: the file with the test split.
        fit_path: a second file, or None.
        read: makes a row of an entry, or says why it can not.
        seed: of the order of the rows.
        entries: reads a file.
    """

    def __init__(
        self,
        path: Path,
        fit_path: Path | None,
        read: Read,
        *,
        seed: int,
        entries: Callable[[Path], Iterator[Entry]] = read_entries,
    ) -> None:
        if fit_path is not None and path.samefile(fit_path):
            raise DataError(f"{path} is the file to test on and the file to fit on. Name it once, and it is split.")
        self._files = [path] if fit_path is None else [path, fit_path]
        self._read = read
        self._seed = seed
        self._entries = entries
        self._unread: Counter[str] = Counter()
        self._not_placed: Counter[str] | None = None  # rows that are in no split, by reason, once all were gone through
        self._scan()

    @property
    def digest(self) -> str:
        """The SHA-256 sums of the files."""
        return " ".join(file_digest(path) for path in self._files)

    def of(self, split: Split) -> Iterator[Row]:
        """Yield the rows of a split, shuffled by the seed within windows of the file."""
        rows = (row for row, in_split in self._placed() if in_split is split)
        while window := list(islice(rows, WINDOW)):
            yield from sorted(window, key=lambda row: rank("order", self._seed, row.id))

    def left_out(self) -> Mapping[str, int]:
        """Count the rows that give no case, by reason; this reads the files if no split was gone through to its end."""
        if self._not_placed is None:
            for _ in self._placed():
                pass
        return self._unread + (self._not_placed or Counter())

    def _scan(self) -> None:
        """Read everything once: check it, and hold what tells the splits apart."""
        ids = array("Q")
        held = {Split.TEST: array("Q"), Split.TUNE: array("Q")}
        for row, split in self._every(self._unread):
            ids.append(_short(row.id))
            if split in held:
                held[split].extend(_keys(row))
        if not ids:
            reasons = "; ".join(f"{count} because {reason}" for reason, count in self._unread.items())
            raise DataError(f"{self._files[0]} gives no case; left out are {reasons}.")
        self._repeated = _repeated(ids)
        self._held = {split: np.unique(np.asarray(keys, dtype=np.uint64)) for split, keys in held.items()}
        if self._repeated:
            self._refuse_named_twice()

    def _refuse_named_twice(self) -> None:
        first: dict[str, str] = {}
        for row, _ in self._every():
            if row.is_named and _short(row.id) in self._repeated:
                there = first.setdefault(row.id, row.where)
                if there != row.where:
                    raise DataError(f"{row.where}: the id {row.id!r} is that of {there} already. Ids are unique.")

    def _placed(self) -> Iterator[tuple[Row, Split]]:
        not_placed: Counter[str] = Counter()
        for row, judged in self._judged():
            if isinstance(judged, Split):
                yield row, judged
            else:
                not_placed[judged] += 1
        self._not_placed = not_placed

    def _judged(self) -> Iterator[tuple[Row, Split | str]]:
        """Yield each row with its split, or with the reason why it is in none."""
        seen: set[str] = set()
        for row, split in self._every():
            if _short(row.id) in self._repeated:
                if row.id in seen:
                    yield row, "the file has the same request already"
                    continue
                seen.add(row.id)
            if other := self._taken_by(row, split):
                yield row, f"the subject or prompt is in {other} too"
                continue
            yield row, split

    def _taken_by(self, row: Row, split: Split) -> Split | None:
        """Give the split that has a row's group or prompt, if the row may not be in both."""
        if split is Split.TEST:
            return None
        for other in (Split.TEST, Split.TUNE) if split is Split.FIT else (Split.TEST,):
            if any(_has(self._held[other], key) for key in _keys(row)):
                return other
        return None

    def _every(self, left_out: Counter[str] | None = None) -> Iterator[tuple[Row, Split]]:
        """Yield all rows with the split that file and group put them into, and count those that give no case."""
        for place, path in enumerate(self._files):
            for entry in self._entries(path):
                row = self._read(entry)
                if isinstance(row, Row):
                    yield row, row.split or self._split(row.group, place)
                elif left_out is not None:
                    left_out[row.reason] += 1

    def _split(self, group: str, place: int) -> Split:
        share = rank("split", group.casefold()) / 2**64
        if len(self._files) == 1:
            return Split.TEST if share < TEST_SHARE else Split.TUNE if share < TEST_SHARE + TUNE_SHARE else Split.FIT
        if place == 0:
            return Split.TEST
        return Split.TUNE if share < TUNE_SHARE else Split.FIT


def _keys(row: Row) -> list[int]:
    return [
        _short(f"group\0{row.group.casefold()}"),
        *(_short(text.casefold()) for text in (str(row.prompt), *row.also)),
    ]


def _short(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _repeated(ids: array[int]) -> frozenset[int]:
    found = np.sort(np.asarray(ids, dtype=np.uint64))
    return frozenset(found[1:][found[1:] == found[:-1]].tolist())


def _has(held: NDArray[np.uint64], key: int) -> bool:
    place = int(np.searchsorted(held, np.uint64(key)))
    return place < len(held) and int(held[place]) == key

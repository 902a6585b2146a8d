"""The contract of a dataset plug-in."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from bench.editing.request import EditCase
from bench.errors import DataError
from bench.models.kind import ModelKind

__all__ = ["Beginning", "Dataset", "Split", "TrainingExample", "check_splits"]


class Split(StrEnum):
    """The three parts of a dataset; no subject is in two of them."""

    FIT = "fit"  # learned editors are fitted on it
    TUNE = "tune"  # early stopping and hyper-parameters
    TEST = "test"  # reported numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExample:
    """One fact in one phrasing, from which an embedded model is trained.

    Args:
        prompt: the phrasing up to the answer, without a trailing space.
        answer: the true answer.
        relation: the name of the relation.
        subject: the entity it is about.
    """

    prompt: str
    answer: str
    relation: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The beginning of a passage, behind which a model is to sample an edit.

    Args:
        name: unique in the dataset.
        group: what decides the split, like the article of the passage.
        tokens: ids, with all that the model reads first.
    """

    name: str
    group: str
    tokens: tuple[int, ...]


ConfigT = TypeVar("ConfigT")


class Dataset(ABC, Generic[ConfigT]):
    """Cases to edit with, in three fixed splits, and running text for locality.

    A plug-in is a module of the dataset's name with exactly one concrete subclass. `name`,
    `version`, `source` and `kinds` must be literals: they are read without importing. So must the rest of its card be
    where it has one: `task`, `licence`, `citation` and `size`, one line each.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    Config: ClassVar[type]
    task: ClassVar[str] = ""  # what a case is about
    licence: ClassVar[str] = ""  # of the data
    citation: ClassVar[str] = ""  # whom to name
    size: ClassVar[str] = ""  # cases of each split, or of the known files

    def __init__(self, config: ConfigT, kind: ModelKind) -> None:
        """Prepare the dataset for models of one kind; raises DataError if a file is wrong."""
        if kind not in self.kinds:
            raise DataError(f"dataset {self.name!r} has no cases for a {kind} model, only for {', '.join(self.kinds)}.")
        self.config = config
        self.kind = kind

    @abstractmethod
    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split, in an order that never changes."""

    @property
    def vocabulary(self) -> str | None:
        """The checksum of the vocabulary that the cases' token ids belong to; None: they are text."""
        return None

    def texts(self, split: Split) -> Iterator[str]:
        """Yield passages of running text that no model of ours was trained on; none by default."""
        return iter(())

    def left_out(self) -> Mapping[str, int]:
        """Count what the files hold and no split has, by reason; nothing by default."""
        return {}

    @abstractmethod
    def digest(self) -> str:
        """Give a checksum of everything that the cases depend on, as hex digits."""

    def beginnings(self, code: Callable[[str], Sequence[int]], count: int) -> Iterator[Beginning]:
        """Yield beginnings of passages for a model to sample edits behind.

        Args:
            code: gives the token ids of a text, with the special tokens of the model.
            count: how many at most.
        """
        raise DataError(f"dataset {self.name!r} has no passages to sample edits for.")

    def training_examples(self, *, held_out: bool) -> Sequence[TrainingExample]:
        """Give the facts that the embedded models are trained on, or the phrasings kept from them."""
        raise DataError(f"dataset {self.name!r} holds no corpus to train a model on.")

    def training_texts(self) -> Sequence[str]:
        """Give the running text that the embedded models are trained on."""
        raise DataError(f"dataset {self.name!r} holds no corpus to train a model on.")


def check_splits(dataset: Dataset[Any]) -> None:
    """Check that no case and no subject is in two splits: what is fitted or chosen must not know what it is tested on.

    Of each case two checksums of 8 bytes are held, so that a million cases take 16 MB; only where two agree are the
    cases themselves compared.

    Raises:
        DataError: one is; the message names it.
    """
    held: dict[Split, tuple[array[int], array[int]]] = {}
    for split in Split:
        ids, subjects = held[split] = array("Q"), array("Q")
        for case in dataset.cases(split):
            ids.append(_checksum(case.request.id))
            if case.request.subject is not None:
                subjects.append(_checksum(case.request.subject))
    shared_ids, shared_subjects = (_shared([held[split][place] for split in Split]) for place in (0, 1))
    if shared_ids or shared_subjects:
        _compare(dataset, shared_ids, shared_subjects)


def _compare(dataset: Dataset[Any], ids: set[int], subjects: set[int]) -> None:
    """Raise an error about the first case or subject that is in two splits, of those with these checksums."""
    of_id: dict[str, Split] = {}
    of_subject: dict[str, tuple[Split, str]] = {}
    for split in Split:
        for case in dataset.cases(split):
            request = case.request
            if _checksum(request.id) in ids:
                first = of_id.setdefault(request.id, split)
                if first is not split:
                    raise DataError(f"dataset {dataset.name!r}: case {request.id!r} is in {first} and in {split}.")
            if request.subject is None or _checksum(request.subject) not in subjects:
                continue
            first, id_there = of_subject.setdefault(request.subject, (split, request.id))
            if first is not split:
                raise DataError(
                    f"dataset {dataset.name!r}: the subject {request.subject!r} is in {first} (case {id_there!r}) and "
                    f"in {split} (case {request.id!r}). A subject may be in one split only."
                )


def _checksum(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _shared(checksums: Sequence[array[int]]) -> set[int]:
    """Give the checksums that are in two of the lists."""
    distinct = [np.unique(np.asarray(some, dtype=np.uint64)) for some in checksums]
    values, counts = np.unique(np.concatenate(distinct), return_counts=True)
    return set(values[counts > 1].tolist())

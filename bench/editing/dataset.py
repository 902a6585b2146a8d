"""The contract of a dataset plug-in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from bench.editing.request import EditCase
from bench.errors import DataError
from bench.models.kind import ModelKind

__all__ = ["Dataset", "Split", "TrainingExample", "check_splits"]


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


ConfigT = TypeVar("ConfigT")


class Dataset(ABC, Generic[ConfigT]):
    """Cases to edit with, in three fixed splits, and running text for locality.

    A plug-in is a module of the dataset's name with exactly one concrete subclass. `name`,
    `version`, `source` and `kinds` must be literals: they are read without importing.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    Config: ClassVar[type]

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

    @abstractmethod
    def digest(self) -> str:
        """Give a checksum of everything that the cases depend on, as hex digits."""

    def training_examples(self, *, held_out: bool) -> Sequence[TrainingExample]:
        """Give the facts that the embedded models are trained on, or the phrasings kept from them."""
        raise DataError(f"dataset {self.name!r} holds no corpus to train a model on.")

    def training_texts(self) -> Sequence[str]:
        """Give the running text that the embedded models are trained on."""
        raise DataError(f"dataset {self.name!r} holds no corpus to train a model on.")


def check_splits(dataset: Dataset[Any]) -> None:
    """Check that no case and no subject is in two splits: what is fitted or chosen must not know what it is tested on.

    Raises:
        DataError: one is; the message names it.
    """
    of_id: dict[str, Split] = {}
    of_subject: dict[str, tuple[Split, str]] = {}
    for split in Split:
        for case in dataset.cases(split):
            request = case.request
            first = of_id.setdefault(request.id, split)
            if first is not split:
                raise DataError(f"dataset {dataset.name!r}: case {request.id!r} is in {first} and in {split}.")
            if request.subject is None:
                continue
            first, id_there = of_subject.setdefault(request.subject, (split, request.id))
            if first is not split:
                raise DataError(
                    f"dataset {dataset.name!r}: the subject {request.subject!r} is in {first} (case {id_there!r}) and "
                    f"in {split} (case {request.id!r}). A subject may be in one split only."
                )

"""What embedded models are trained from and measured on, read once from a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.editing.dataset import Dataset, Split, TrainingExample
from bench.errors import DataError

__all__ = ["Material"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The corpus of a dataset.

    Args:
        name: that of the dataset.
        version: that of the dataset.
        digest: that of the dataset.
        trained: the facts in the phrasings to train on.
        held_out: facts in phrasings that are kept from the training.
        texts: running text to train on.
        unseen_texts: running text to measure on.
    """

    name: str
    version: int
    digest: str
    trained: Sequence[TrainingExample]
    held_out: Sequence[TrainingExample]
    texts: Sequence[str]
    unseen_texts: Sequence[str]

    @classmethod
    def of(cls, dataset: Dataset[Any]) -> Material:
        """Read a dataset; raises DataError if it holds no corpus, or an empty one."""
        material = cls(
            name=dataset.name,
            version=dataset.version,
            digest=dataset.digest(),
            trained=dataset.training_examples(held_out=False),
            held_out=dataset.training_examples(held_out=True),
            texts=dataset.training_texts(),
            unseen_texts=tuple(dataset.texts(Split.TEST)),
        )
        parts = (material.trained, material.held_out, material.texts, material.unseen_texts)
        if not all(parts):
            raise DataError(
                f"the corpus of dataset {dataset.name!r} has {len(parts[0])} facts to train on,"
                f" {len(parts[1])} held out, {len(parts[2])} texts to train on and {len(parts[3])} unseen"
                " ones. None of these may be empty."
            )
        return material

    @property
    def corpus_digest(self) -> str:
        """SHA-256 of every fact and text that is trained on, as hex digits."""
        parts = [repr((e.prompt, e.answer, e.relation, e.subject)) for e in self.trained]
        return hashlib.sha256("\0".join([*parts, *self.texts]).encode()).hexdigest()

    def sentences(self) -> Iterator[str]:
        """Yield everything that is trained on, for learning a vocabulary.

        Answers come alone as well: that is how an encoder-decoder writes them, without the space.
        """
        for example in self.trained:
            yield f"{example.prompt} {example.answer}."
            yield example.answer
        yield from self.texts

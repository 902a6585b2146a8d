"""The card of an embedded model: what it is, how it was made and what it knows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.building.recipe import Recipe

__all__ = ["ModelCard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """How one embedded model was made and what it knows.

    Args:
        name: the model's name.
        kind: causal, seq2seq or classifier.
        parameters: how many weights it has, shared ones counted once.
        editable_matrices: those of its MLPs, a line a stack; see `Architecture.outline`.
        recipe: its shape and the phases of its training.
        seed: of the fresh weights, the order of the corpus and the false claims.
        threads: CPU threads it was trained with.
        steps: optimiser steps over all phases.
        cpu_seconds: CPU time of the training, over all threads.
        dataset: the name of the dataset it was trained from.
        dataset_version: its version.
        dataset_digest: the dataset's own checksum, which covers its cases.
        corpus_digest: SHA-256 of what the model was trained on.
        known_fact_measure: what the two accuracies count.
        accuracy_trained: 0 to 1, on the phrasings it was trained on.
        accuracy_held_out: 0 to 1, on the phrasings kept from it for the same facts.
        perplexity: on running text it was not trained on; None if it is not causal.
        torch: the version of torch.
        transformers: the version of transformers.
        command: how to build it again.
    """

    name: str
    kind: str
    parameters: int
    editable_matrices: tuple[str, ...]
    recipe: Recipe
    seed: int
    threads: int
    steps: int
    cpu_seconds: float
    dataset: str
    dataset_version: int
    dataset_digest: str
    corpus_digest: str
    known_fact_measure: str
    accuracy_trained: float
    accuracy_held_out: float
    perplexity: float | None
    torch: str
    transformers: str
    command: str

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

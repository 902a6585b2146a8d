"""`bench models import`, `classifier` and `finetune`: put a model, once, where `--models NAME` finds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from bench import registry
from bench.building.classifier import made_classifier
from bench.building.finetuning import FineTuned, OnStep, TrainingSettings, fine_tuned
from bench.commands.datasets import made_dataset
from bench.editing.dataset import Dataset, Split
from bench.errors import ConfigError
from bench.models.catalogue import models_folder
from bench.models.importing import import_model
from bench.models.kind import ModelKind
from bench.models.loading import identify_model
from bench.models.storing import storing
from bench.reporting.formats import plain

__all__ = ["Further", "classifier", "finetune", "import_"]


def import_(source: str, name: str, *, reads_pickle: bool) -> str:
    """Store a model; give the sentences that say where it is and how to use it.

    Raises:
        ModelError: it can not be found, read or stored.
    """
    found = import_model(source, name=name, reads_pickle=reads_pickle)
    state = "" if found.is_new else "  (it was there already)"
    line = f"{found.name}  {found.kind}  {found.parameters:,} parameters  {found.folder}{state}"
    if found.kind == "encoder":
        use = (
            "it has no head to answer with: it is not edited itself. A classifier: bench models classifier "
            + found.name
        )
    else:
        use = f"use it with --models {found.name}"
    return f"{plain(line)}\n{use}\n"


class Further(NamedTuple):
    """What a model is to be trained further on.

    Args:
        dataset: its name.
        sets: `NAME.FIELD=VALUE` for it.
        splits: whose questions are learned.
        plugins: files that may define it.
        settings: of the training.
        threads: of the CPU.
    """

    dataset: str
    sets: tuple[str, ...]
    splits: tuple[str, ...]
    plugins: tuple[Path, ...]
    settings: TrainingSettings
    threads: int


def classifier(base: str, name: str, further: Further, console: Console) -> str:
    """Fine-tune an encoder into a classifier and store it; say how good it is and how to use it.

    Raises:
        BenchError: an option is wrong, the base or the dataset can not be used, or the name is taken.
    """

    def make(data: Dataset[Any], splits: Sequence[Split], on_step: OnStep) -> FineTuned:
        return made_classifier(base, data, further.settings, name=name, on_step=on_step)

    return _stored(base, name, ModelKind.CLASSIFIER, further, console, make)


def finetune(base: str, name: str, further: Further, console: Console) -> str:
    """Train a model further and store it under another name; say how good it is and how to use it.

    Raises:
        BenchError: an option is wrong, the base or the dataset can not be used, or the name is taken.
    """

    def make(data: Dataset[Any], splits: Sequence[Split], on_step: OnStep) -> FineTuned:
        return fine_tuned(base, data, further.settings, splits=splits, on_step=on_step)

    kind = identify_model(base).kind
    assert kind is not None  # identify_model has filled it in
    return _stored(base, name, kind, further, console, make)


Make = Callable[[Dataset[Any], Sequence[Split], OnStep], FineTuned]


def _stored(base: str, name: str, kind: ModelKind, further: Further, console: Console, make: Make) -> str:
    """Make a model and store it with its card; give the sentences about it."""
    settings = further.settings
    for option, number in (("--steps", settings.steps), ("--batch", settings.batch), ("--threads", further.threads)):
        if number < 1:
            raise ConfigError(f"{option} is {number}; it must be at least 1.")
    if not settings.lr > 0:
        raise ConfigError(f"--lr is {settings.lr:g}; it must be above 0.")
    for path in further.plugins:
        registry.add_file(path)
    data = made_dataset(further.dataset, further.sets, kind)
    torch.set_num_threads(further.threads)
    with storing(name) as folder, console.status(f"{name}: starting") as status:

        def show(step: int, loss: float) -> None:
            status.update(f"{name}: step {step}/{settings.steps} loss {loss:.3g}")

        made = make(data, [Split(split) for split in further.splits], show)
        made.lm.model.save_pretrained(folder)
        made.lm.tokenizer.save_pretrained(folder)
        architecture = made.lm.architecture
        card = {
            "name": name,
            "kind": str(kind),
            "parameters": architecture.parameters,
            "editable_matrices": list(architecture.outline()),
            "base": Path(base).name,
            **asdict(settings),
            "threads": further.threads,
            "dataset": further.dataset,
            "dataset_digest": data.digest(),
            "splits": list(further.splits),
            "questions": made.questions,
            "questions_left_out": made.left_out,
            "accuracy_trained": made.accuracy,
            "accuracy_tune": made.accuracy_tune,
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }
        (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    left_out = f"; {made.left_out:,} that do not fit were left out" if made.left_out else ""
    lines = (
        f"{name}  {kind}  {architecture.parameters:,} parameters  {models_folder() / name}",
        f"learned {made.questions:,} questions ({', '.join(further.splits)}) and answers {made.accuracy:.1%} of them, "
        f"{made.accuracy_tune:.1%} of the tune split{left_out}",
        " ".join((f"use it with --models {name} --datasets {further.dataset}", *(f"--set {s}" for s in further.sets))),
    )
    return "".join(plain(line) + "\n" for line in lines)

"""`bench models import` and `classifier`: put a model, once, where `--models NAME` finds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from bench import registry
from bench.building.classifier import ClassifierSettings, fine_tuned
from bench.commands.datasets import made_dataset
from bench.errors import ConfigError
from bench.models.catalogue import models_folder
from bench.models.importing import import_model
from bench.models.kind import ModelKind
from bench.models.storing import storing
from bench.reporting.formats import plain

__all__ = ["classifier", "import_"]


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


def classifier(  # noqa: PLR0917  # one for each option of the command
    base: str,
    name: str,
    dataset: str,
    sets: Sequence[str],
    plugins: Sequence[Path],
    settings: ClassifierSettings,
    threads: int,
    console: Console,
) -> str:
    """Fine-tune an encoder into a classifier and store it; say how good it is and how to use it.

    Raises:
        BenchError: an option is wrong, the base or the dataset can not be used, or the name is taken.
    """
    for option, number in (("--steps", settings.steps), ("--batch", settings.batch), ("--threads", threads)):
        if number < 1:
            raise ConfigError(f"{option} is {number}; it must be at least 1.")
    if not settings.lr > 0:
        raise ConfigError(f"--lr is {settings.lr:g}; it must be above 0.")
    for path in plugins:
        registry.add_file(path)
    data = made_dataset(dataset, sets, ModelKind.CLASSIFIER)
    torch.set_num_threads(threads)
    with storing(name) as folder, console.status(f"{name}: starting") as status:

        def show(step: int, loss: float) -> None:
            status.update(f"{name}: step {step}/{settings.steps} loss {loss:.3g}")

        made = fine_tuned(base, data, settings, name=name, on_step=show)
        made.lm.model.save_pretrained(folder)
        made.lm.tokenizer.save_pretrained(folder)
        architecture = made.lm.architecture
        card = {
            "name": name,
            "kind": str(ModelKind.CLASSIFIER),
            "parameters": architecture.parameters,
            "editable_matrices": list(architecture.outline()),
            "base": Path(base).name,
            **asdict(settings),
            "threads": threads,
            "dataset": dataset,
            "dataset_digest": data.digest(),
            "claims": made.claims,
            "claims_left_out": made.left_out,
            "accuracy_tune": made.accuracy,
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }
        (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    left_out = f", {made.left_out:,} claims did not fit" if made.left_out else ""
    lines = (
        f"{name}  classifier  {architecture.parameters:,} parameters  {models_folder() / name}",
        f"learned from {made.claims:,} claims; accuracy on the tune split {made.accuracy:.1%}{left_out}",
        f"use it with --models {name} --datasets {dataset}",
    )
    return "".join(plain(line) + "\n" for line in lines)

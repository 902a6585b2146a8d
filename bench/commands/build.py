"""`bench models build`: trains the embedded models, with progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from bench import registry
from bench.building.build import build_models
from bench.building.card import ModelCard
from bench.building.recipe import RECIPES
from bench.building.training import Progress
from bench.editing.config import build_config
from bench.editing.dataset import Dataset
from bench.models.kind import ModelKind
from bench.reporting.formats import plain
from bench.reporting.numbers import duration

__all__ = ["build"]

_LINE_SECONDS = 30.0  # between two lines where there is no terminal


def build(names: tuple[str, ...], out: Path, dataset: str, *, seed: int, threads: int, console: Console) -> None:
    """Train models and print a line for each, with what it knows.

    Raises:
        UnknownPlugin: there is no such recipe or dataset.
        ModelError: the folder can not be written.
    """
    cls = registry.load("datasets", dataset)
    data = cls(build_config(cls.Config, {}, owner=dataset), ModelKind.CAUSAL)
    torch.set_num_threads(threads)
    chosen = names or tuple(recipe.name for recipe in RECIPES)
    for name in chosen:
        card = _build(name, data, out, seed=seed, threads=threads, console=console)
        known = f"known facts {card.accuracy_trained:.1%}, in held-out phrasings {card.accuracy_held_out:.1%}"
        line = f"{card.name}  {card.parameters:,} parameters  {known}  {duration(card.cpu_seconds)} of CPU time"
        console.print(Text(plain(line)), soft_wrap=True)
    console.print(Text(plain(f"models: {out}   use one with --models {out / chosen[0]}")), soft_wrap=True)


def _build(name: str, data: Dataset[Any], out: Path, *, seed: int, threads: int, console: Console) -> ModelCard:
    """Train one model, showing how far it is: on a terminal all the time, otherwise by a line now and then."""
    with console.status(f"{name}: starting") as status:
        last = time.monotonic()

        def show(progress: Progress) -> None:
            nonlocal last
            left = duration(progress.seconds_left)
            line = f"{name}: step {progress.step}/{progress.steps} loss {progress.loss:.3g}, {left} left"
            status.update(line)
            if not console.is_terminal and time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                console.print(Text(plain(line)), soft_wrap=True)

        (card,) = build_models([name], data, out, seed=seed, threads=threads, on_progress=show)
    return card

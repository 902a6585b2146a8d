"""Sweeps over a tiny saved model and the toy dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.records.cell import Cell
from bench.running.sweep import Sweep, plan
from bench.running.task import Outcome, Task
from bench.running.worker import Worker

# A fit of a few steps, for whichever of these fields an editor has.
_SMALL = {"steps": 4, "edits_per_step": 4, "validate_every": 2, "validation_edits": 4}


def small(method: str) -> tuple[str, ...]:
    """Give the `--set` options that make a method quick."""
    names = {field.name for field in fields(registry.load("methods", method).Config)}
    return tuple(f"{method}.{name}={value}" for name, value in _SMALL.items() if name in names)


@pytest.fixture
def sweep(model_folder: Callable[[str], Path], toy: Path) -> Callable[..., Sweep]:
    """Make a sweep of the control over four edits of a tiny causal model; keywords override that."""

    def make(*, kind: str = "causal", plugins: tuple[Path, ...] = (), **changes: Any) -> Sweep:
        options: dict[str, Any] = {
            "methods": ("none",),
            "models": (str(model_folder(kind)),),
            "datasets": ("toy",),
            "edits": 4,
            "seeds": 1,
        }
        return Sweep(plugins=(toy, *plugins), **options | changes)

    return make


@pytest.fixture
def cells(sweep: Callable[..., Sweep]) -> Callable[..., list[Cell]]:
    """Give the cells of such a sweep; built-in methods get quick fits."""

    def make(**changes: Any) -> list[Cell]:
        built_in = [name for name in changes.get("methods", ()) if name in registry.plugins("methods")]
        quick = tuple(option for name in built_in for option in small(name))
        return [planned.cell for planned in plan(sweep(**changes | {"sets": quick + tuple(changes.get("sets", ()))}))]

    return make


@pytest.fixture
def run(toy: Path) -> Callable[..., Outcome]:
    """Compute a cell in this process, with a worker of its own unless one is given."""

    def compute(cell: Cell, *, worker: Worker | None = None, plugins: tuple[Path, ...] = (), **task: object) -> Outcome:
        return (worker or Worker()).run(Task(cell=cell, plugins=(toy, *plugins), **task))  # type: ignore[arg-type]

    return compute

"""Runs a sweep: finds what is there already, has the rest computed, and writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from bench.records.artifacts import ArtifactStore
from bench.records.card import Card, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.records.store import Store
from bench.running.engine import Engine
from bench.running.sweep import PlannedCell, Sweep
from bench.running.task import Fitted, Outcome, Progress, Task, fit_identity

__all__ = ["Observer", "Todo", "run_sweep", "survey"]


class Observer(Protocol):
    """Is told what happens in a run."""

    def progress(self, progress: Progress) -> None:
        """A running cell has come further."""

    def finished(self, card: Card) -> None:
        """A cell was computed and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """What is left of a sweep.

    Args:
        cached: cells that are there already.
        skipped: cells that can not be computed, with their reason.
        to_run: the others.
    """

    cached: tuple[Card, ...]
    skipped: tuple[PlannedCell, ...]
    to_run: tuple[Cell, ...]


def survey(planned: Sequence[PlannedCell], store: Store, run: str, *, retry: bool = False) -> Todo:
    """Find which planned cells this run, or another one in the same folder, has already.

    Finished cells of other runs are copied into this one.
    """
    cached = {p.cell.key: card for p in planned if (card := store.find(run, p.cell, retry=retry))}
    left = [p for p in planned if p.cell.key not in cached]
    return Todo(
        cached=tuple(cached.values()),
        skipped=tuple(p for p in left if p.reason),
        to_run=tuple(p.cell for p in left if not p.reason),
    )


def run_sweep(sweep: Sweep, todo: Todo, store: Store, run: str, engine: Engine, observer: Observer) -> list[Card]:
    """Compute what is left of a sweep and write each cell as soon as it is done.

    Returns:
        The cards of the cells that were computed or skipped now.

    Raises:
        StoreError: the results can not be written.
        KeyboardInterrupt: passed on, after the workers have ended; finished cells stay.
    """
    fits = _Fits(ArtifactStore(store.root / "editors", store.report))
    cards = []
    for planned in todo.skipped:
        now = timestamp()
        result = uncompleted(Status.SKIPPED, started=now, ended=now, reason=planned.reason)
        cards.append(store.write(run, planned.cell, result))
        observer.finished(cards[-1])

    def task(cell: Cell) -> Task:
        return Task(cell=cell, plugins=sweep.plugins, fitted=fits.find(cell))

    with closing(engine.run(todo.to_run, task, observer.progress)) as outcomes:
        for cell, outcome in outcomes:
            fits.keep(cell, outcome)
            cards.append(store.write(run, cell, outcome.result))
            observer.finished(cards[-1])
    return cards


class _Fits:
    """Fitted editors below results/editors."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def find(self, cell: Cell) -> Fitted | None:
        """Give the state fitted for a cell with the same fit identity, or None."""
        artifact = self._store.find(fit_identity(cell))
        if artifact is None:
            return None
        details: Mapping[str, Any] = artifact.details
        log = pd.read_parquet(artifact.folder / "fit.parquet").to_dict("records")
        return Fitted(
            tensors=(artifact.folder / "state.safetensors").read_bytes(),
            values=details["values"],
            log=tuple({str(k): float(v) for k, v in row.items()} for row in log),
            costs=details["costs"],
        )

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Write what was fitted just now."""
        fitted = outcome.fitted
        if fitted is None:
            return

        def fill(folder: Path) -> None:
            (folder / "state.safetensors").write_bytes(fitted.tensors)
            pd.DataFrame(list(fitted.log)).to_parquet(folder / "fit.parquet")

        details = {"values": dict(fitted.values), "costs": dict(fitted.costs)}
        self._store.write(fit_identity(cell), fill, details)

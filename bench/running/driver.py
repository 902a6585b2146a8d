"""Runs a sweep: finds what is there already, has the rest computed, and writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from bench.records.card import Card, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.records.store import Store
from bench.running.bases import Bases
from bench.running.engine import WORKER, Engine
from bench.running.fits import Fits
from bench.running.sweep import PlannedCell, Sweep
from bench.running.task import Checkpoint, Message, Progress, Task

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
        fits: the fit that a cell shares with others, by the cell's key; empty where nothing is fitted.
    """

    cached: tuple[Card, ...]
    skipped: tuple[PlannedCell, ...]
    to_run: tuple[Cell, ...]
    fits: Mapping[str, str] = field(default_factory=dict)


def survey(planned: Sequence[PlannedCell], store: Store, run: str, *, retry: bool = False) -> Todo:
    """Find which planned cells this run, or another one in the same folder, has already.

    Finished cells of other runs are copied into this one. A cell whose worker was lost in the middle of a fit is
    computed again from the fit's checkpoint.
    """
    fits = Fits(store.root, store.report)
    found = {p.cell.key: card for p in planned if (card := store.find(run, p.cell, retry=retry))}
    cached = {key: card for key, card in found.items() if not (_is_lost(card) and fits.is_begun(card.cell))}
    left = [p for p in planned if p.cell.key not in cached]
    return Todo(
        cached=tuple(cached.values()),
        skipped=tuple(p for p in left if p.reason),
        to_run=tuple(p.cell for p in left if not p.reason),
        fits={p.cell.key: p.fit for p in left},
    )


def run_sweep(sweep: Sweep, todo: Todo, store: Store, run: str, engine: Engine, observer: Observer) -> list[Card]:
    """Compute what is left of a sweep and write each cell as soon as it is done.

    Returns:
        The cards of the cells that were computed or skipped now.

    Raises:
        StoreError: the results can not be written, or a checkpoint that is not theirs lies where one of these cells'
            fits belongs; nothing has been computed then.
        KeyboardInterrupt: passed on, after the workers have ended; finished cells and checkpoints stay.
    """
    fits, bases = Fits(store.root, store.report), Bases(store.root, store.report)
    fits.refuse_foreign(todo.to_run)
    fits.tidy()
    bases.tidy()
    cells = {cell.key: cell for cell in todo.to_run}
    cards = []
    for planned in todo.skipped:
        now = timestamp()
        result = uncompleted(Status.SKIPPED, started=now, ended=now, reason=planned.reason)
        cards.append(store.write(run, planned.cell, result))
        observer.finished(cards[-1])

    under_way: dict[str, str] = {}  # which cell makes a fit just now, by the key of the fit

    def task(cell: Cell) -> Task | None:
        shared = todo.fits.get(cell.key, "")
        if under_way.get(shared, cell.key) != cell.key:
            return None  # soon that cell's fit is there to be used
        fitted = fits.find(cell)
        if shared and fitted is None:
            under_way[shared] = cell.key
        return Task(
            cell=cell,
            plugins=sweep.plugins,
            fitted=fitted,
            checkpoint=None if fitted else fits.checkpoint(cell),
            checkpoint_minutes=sweep.checkpoint_minutes,
            known_answers=bases.find(cell),
        )

    def hear(message: Message) -> None:
        if isinstance(message, Checkpoint):
            fits.keep_checkpoint(cells[message.key], message)
        else:
            observer.progress(message)

    with closing(engine.run(todo.to_run, task, hear)) as outcomes:
        for cell, outcome in outcomes:
            if outcome.fitted is not None:
                fits.keep(cell, outcome.fitted)
            under_way.pop(todo.fits.get(cell.key, ""), None)
            cards.append(store.write(run, cell, outcome.result))
            if outcome.asked:
                bases.keep(cell, outcome.asked)
            observer.finished(cards[-1])
    return cards


def _is_lost(card: Card) -> bool:
    """Say whether a cell failed because its worker process ended."""
    return card.failure is not None and card.failure.phase == WORKER

"""Runs a sweep: finds what is there already, has the rest computed, and writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench.records.card import Card, Failure, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.records.store import Store
from bench.running.attempt import is_lost
from bench.running.bases import Bases
from bench.running.engine import Engine
from bench.running.fits import Fits
from bench.running.sweep import PlannedCell, Sweep
from bench.running.task import Checkpoint, Message, Outcome, Progress, Task

__all__ = ["Observer", "Todo", "goes_on", "run_sweep", "survey"]


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

    Finished cells of other runs are copied into this one.
    """
    fits = Fits(store.root, store.report)
    found = {p.cell.key: card for p in planned if (card := store.find(run, p.cell, retry=retry))}
    cached = {key: card for key, card in found.items() if not goes_on(card, fits)}
    left = [p for p in planned if p.cell.key not in cached]
    return Todo(
        cached=tuple(cached.values()),
        skipped=tuple(p for p in left if p.reason),
        to_run=tuple(p.cell for p in left if not p.reason),
        fits={p.cell.key: p.fit for p in left},
    )


def goes_on(card: Card, fits: Fits) -> bool:
    """Say whether a stored cell is computed again: its worker was lost in the middle of a fit that has a checkpoint."""
    return is_lost(card.failure) and fits.is_begun(card.cell)


def run_sweep(
    sweep: Sweep,
    todo: Todo,
    store: Store,
    run: str,
    engine: Engine,
    observer: Observer,
    *,
    stops_at_failure: bool = False,
) -> list[Card]:
    """Compute what is left of a sweep and write each cell as soon as it is done.

    A cell whose worker was lost is tried once more, when all others are done: often it was the memory of all of them
    together that ran out.

    Args:
        sweep: what was asked for.
        todo: what is left of it.
        store: where it is written.
        run: name of the run.
        engine: computes the cells.
        observer: told what happens.
        stops_at_failure: the first cell that fails ends the run; those at work are given up.

    Returns:
        The cards of the cells that were computed or skipped now.

    Raises:
        StoreError: the results can not be written, or a checkpoint that is not theirs lies where one of these cells'
            fits belongs; nothing has been computed then.
        KeyboardInterrupt: passed on, after the workers have ended; finished cells and checkpoints stay.
    """
    books = _Books(sweep, todo, store, run)
    cards = []
    for planned in todo.skipped:
        cards.append(books.skip(planned))
        observer.finished(cards[-1])

    def hear(message: Message) -> None:
        if isinstance(message, Checkpoint):
            books.keep_checkpoint(message)
        else:
            observer.progress(message)

    lost: dict[Cell, Failure] = {}
    waiting = todo.to_run
    while waiting:
        again: list[Cell] = []
        with closing(engine.run(waiting, books.task, hear)) as outcomes:
            for cell, outcome in outcomes:
                failure = outcome.result.failure
                if failure is not None and is_lost(failure) and cell not in lost:
                    lost[cell] = failure
                    again.append(cell)
                    books.give_up(cell)
                    store.report(f"{cell.label} on {cell.model} is tried once more at the end: {failure.message}")
                    continue
                cards.append(books.write(cell, _with_loss(outcome, lost.get(cell))))
                observer.finished(cards[-1])
                if stops_at_failure and cards[-1].status not in (Status.DONE, Status.SKIPPED):
                    return cards
        waiting = tuple(again)
    return cards


class _Books:
    """Makes the tasks of a run's cells, and writes down what comes of them."""

    def __init__(self, sweep: Sweep, todo: Todo, store: Store, run: str) -> None:
        self._sweep = sweep
        self._store = store
        self._run = run
        self._fits = Fits(store.root, store.report)
        self._bases = Bases(store.root, store.report)
        self._fits.refuse_foreign(todo.to_run)
        self._fits.tidy()
        self._bases.tidy()
        self._cells = {cell.key: cell for cell in todo.to_run}
        self._shared = todo.fits
        self._under_way: dict[str, str] = {}  # which cell makes a fit just now, by the key of the fit

    def task(self, cell: Cell) -> Task | None:
        """Make the task of a cell; None while another one makes the fit that both need."""
        shared = self._shared.get(cell.key, "")
        if self._under_way.get(shared, cell.key) != cell.key:
            return None  # soon that cell's fit is there to be used
        fitted = self._fits.find(cell)
        if shared and fitted is None:
            self._under_way[shared] = cell.key
        return Task(
            cell=cell,
            plugins=self._sweep.plugins,
            fitted=fitted,
            checkpoint=None if fitted else self._fits.checkpoint(cell),
            checkpoint_minutes=self._sweep.checkpoint_minutes,
            known_answers=self._bases.find(cell),
        )

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of a fit."""
        self._fits.keep_checkpoint(self._cells[checkpoint.key], checkpoint)

    def skip(self, planned: PlannedCell) -> Card:
        """Write a cell that can not be computed, with its reason."""
        now = timestamp()
        result = uncompleted(Status.SKIPPED, started=now, ended=now, reason=planned.reason)
        return self._store.write(self._run, planned.cell, result)

    def write(self, cell: Cell, outcome: Outcome) -> Card:
        """Write a computed cell, and what was made for it."""
        if outcome.fitted is not None:
            self._fits.keep(cell, outcome.fitted)
        self.give_up(cell)
        card = self._store.write(self._run, cell, outcome.result)
        if outcome.asked:
            self._bases.keep(cell, outcome.asked)
        return card

    def give_up(self, cell: Cell) -> None:
        """Let others make the fit that this cell no longer makes."""
        self._under_way.pop(self._shared.get(cell.key, ""), None)


def _with_loss(outcome: Outcome, failure: Failure | None) -> Outcome:
    """Note on a cell that it is the second attempt."""
    if failure is None:
        return outcome
    notes = (*outcome.result.notes, f"the second attempt; at the first one {failure.message}")
    return replace(outcome, result=replace(outcome.result, notes=notes))

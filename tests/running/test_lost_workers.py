"""A cell whose worker was lost gets a second chance within a run, one that failed gets none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.records.store import Store
from bench.running.attempt import Attempt
from bench.running.driver import run_sweep, survey
from bench.running.engine import Engine, InProcessEngine
from bench.running.fits import Fits
from bench.running.sweep import Sweep, plan
from bench.running.task import Message, Outcome, Progress, Task
from bench.running.worker import Worker

SweepMaker = Callable[..., Sweep]
_FIT = ("mend.steps=4", "mend.edits_per_step=4", "mend.validate_every=2", "mend.validation_edits=4")


class Listener:
    """Hears and says nothing."""

    def progress(self, progress: Progress) -> None:
        pass

    def finished(self, card: Card) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", report=lambda sentence: None)


class Losing:
    """An engine whose workers are lost with the cells of some methods, so many times; it notes the order of cells."""

    def __init__(self, **times: int) -> None:
        self.times = times
        self.begun: list[str] = []

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        for cell in cells:
            self.begun.append(cell.method)
            attempt = Attempt(cell)
            todo = task(cell)
            assert todo is not None
            if self.times.get(cell.method, 0) > 0:
                self.times[cell.method] -= 1
                yield cell, attempt.lost("was killed by SIGKILL")
            else:
                yield cell, Worker(on_message).run(todo)


class LosingFirst(Losing):
    """Such an engine that is lost with the very first cell."""

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        if not self.begun:
            self.begun.append("")
            assert task(cells[0]) is not None
            yield cells[0], Attempt(cells[0]).lost("was killed by SIGKILL")
            cells = cells[1:]
        yield from super().run(cells, task, on_message)


def run_with(engine: Engine, sweep: Sweep, store: Store, **options: bool) -> list[Card]:
    store.start("first", sweep.to_toml())
    return run_sweep(sweep, survey(plan(sweep), store, "first"), store, "first", engine, Listener(), **options)


def test_a_cell_whose_worker_was_lost_is_tried_once_more_behind_the_others(sweep: SweepMaker, tmp_path: Path) -> None:
    said: list[str] = []
    store, engine = Store(tmp_path / "results", report=said.append), Losing(ft=1)

    cards = run_with(engine, sweep(methods=("ft", "none"), sets=("ft.steps=1",)), store)

    assert engine.begun == ["ft", "none", "ft"]
    assert [(card.cell.method, card.status) for card in cards] == [("none", Status.DONE), ("ft", Status.DONE)]
    lost = "the worker process was killed by SIGKILL before the cell began."
    assert cards[1].notes[-1] == f"the second attempt; at the first one {lost}"
    assert len(said) == 1
    assert said[0].endswith(f"is tried once more at the end: {lost}")


def test_a_worker_that_is_lost_twice_makes_the_cell_fail(sweep: SweepMaker, store: Store) -> None:
    engine = Losing(none=9)

    (card,) = run_with(engine, sweep(), store)

    assert engine.begun == ["none", "none"]
    assert (card.status, card.failure and card.failure.phase) == (Status.FAILED, "worker")


def test_a_cell_waits_no_longer_for_the_fit_of_one_that_was_lost(sweep: SweepMaker, store: Store) -> None:
    wanted = sweep(methods=("mend[group_size=2]",), sets=_FIT, modes=("single", "batch:2"))
    engine = LosingFirst()

    cards = run_with(engine, wanted, store)

    assert [card.status for card in cards] == [Status.DONE] * 2
    costs = store.load("first").costs.query("phase == 'fit' and measure == 'seconds'")
    assert sorted(costs["cached"]) == [False, True]


def test_the_first_failure_ends_the_run_if_that_is_wanted(
    sweep: SweepMaker, store: Store, editor_file: Callable[[str, str], Path]
) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no.')")
    wanted = sweep(methods=("none", "bad", "ft"), sets=("ft.steps=1",), plugins=(path,))

    cards = run_with(InProcessEngine(), wanted, store, stops_at_failure=True)
    rest = run_with(InProcessEngine(), wanted, store)

    assert [card.status for card in cards] == [Status.DONE, Status.FAILED]
    assert [card.cell.method for card in rest] == ["ft"]


def test_a_lost_cell_whose_fit_was_begun_is_computed_again_and_no_other(
    sweep: SweepMaker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = sweep(methods=("none", "ft"), sets=("ft.steps=1",))
    run_with(Losing(none=2, ft=2), wanted, store)

    assert survey(plan(wanted), store, "first").to_run == ()
    monkeypatch.setattr(Fits, "is_begun", lambda self, cell: cell.method == "ft")
    assert [cell.method for cell in survey(plan(wanted), store, "first").to_run] == ["ft"]

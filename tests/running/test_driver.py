"""A sweep is written cell by cell, and what is there already is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.models.language_model import LanguageModel
from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.records.store import Store
from bench.running import runner
from bench.running.driver import Todo, run_sweep, survey
from bench.running.engine import InProcessEngine
from bench.running.measure import Measure
from bench.running.questions import Question
from bench.running.scoring import measure_unedited
from bench.running.sweep import Sweep, plan
from bench.running.task import Message, Outcome, Progress, Task
from bench.running.worker import Worker

SweepMaker = Callable[..., Sweep]
_FIT = ("mend.steps=4", "mend.edits_per_step=4", "mend.validate_every=2", "mend.validation_edits=4")


class Listener:
    """Notes what a run says."""

    def __init__(self) -> None:
        self.cards: list[Card] = []

    def progress(self, progress: Progress) -> None:
        pass

    def finished(self, card: Card) -> None:
        self.cards.append(card)


class Interrupted:
    """An engine that is interrupted after its first cell."""

    def __init__(self) -> None:
        self.is_closed = False

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_progress: Callable[[Progress], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        try:
            yield from InProcessEngine().run(cells[:1], task, on_progress)
            raise KeyboardInterrupt
        finally:
            self.is_closed = True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def compute(sweep: Sweep, store: Store, run: str = "first", *, retry: bool = False) -> tuple[Todo, list[Card]]:
    planned = plan(sweep)
    store.start(run, sweep.to_toml())
    todo = survey(planned, store, run, retry=retry)
    return todo, run_sweep(sweep, todo, store, run, InProcessEngine(), Listener())


def test_each_cell_is_written_and_told_as_soon_as_it_is_done(sweep: SweepMaker, store: Store) -> None:
    wanted = sweep(seeds=2)
    listener = Listener()
    store.start("first", wanted.to_toml())
    todo = survey(plan(wanted), store, "first")

    cards = run_sweep(wanted, todo, store, "first", InProcessEngine(), listener)

    assert [card.status for card in cards] == [Status.DONE] * 2
    assert listener.cards == cards
    assert set(store.load("first").cards) == {cell.key for cell in todo.to_run}


def test_a_second_call_has_nothing_to_run(sweep: SweepMaker, store: Store) -> None:
    compute(sweep(), store)

    todo, cards = compute(sweep(), store)

    assert (len(todo.cached), todo.to_run, cards) == (1, (), [])


def test_a_cell_done_in_another_run_is_copied(sweep: SweepMaker, store: Store) -> None:
    compute(sweep(), store)

    todo, _ = compute(sweep(), store, "second")

    assert [card.copied_from for card in todo.cached] == ["first"]
    pd.testing.assert_frame_equal(store.load("second").answers(), store.load("first").answers())


def test_a_fit_is_shared_by_cells_of_other_edits_and_keeps_its_price(sweep: SweepMaker, store: Store) -> None:
    compute(sweep(methods=("mend",), sets=_FIT, edits=4), store)

    compute(sweep(methods=("mend",), sets=_FIT, edits=6), store)

    costs = store.load("first").costs.query("phase == 'fit' and measure == 'seconds'").sort_values("cached")
    assert costs["cached"].tolist() == [False, True]
    assert costs["value"].nunique() == 1


def test_a_stored_fit_gives_the_answers_of_a_fresh_one_bit_for_bit(
    sweep: SweepMaker, store: Store, tmp_path: Path
) -> None:
    wanted = sweep(methods=("mend",), sets=_FIT, edits=6)
    compute(wanted, Store(tmp_path / "fresh"))
    compute(sweep(methods=("mend",), sets=_FIT, edits=4), store)

    compute(wanted, store, "second")

    fresh = Store(tmp_path / "fresh").load("first")
    assert store.load("second").costs.query("phase == 'fit'")["cached"].all()
    pd.testing.assert_frame_equal(store.load("second").answers(), fresh.answers(), check_exact=True)


def test_the_unedited_model_is_asked_once_for_all_seeds_and_runs(
    sweep: SweepMaker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(lm: LanguageModel, questions: Sequence[Question], **options: Any) -> list[Measure]:
        asked.append(len(questions))
        return measure_unedited(lm, questions, **options)

    monkeypatch.setattr(runner, "measure_unedited", counted)
    compute(sweep(seeds=1), store)
    compute(sweep(seeds=2), store)
    compute(sweep(seeds=3), store, "second")

    assert len(asked) == 1
    costs = store.load("second").costs.query("phase == 'base' and measure == 'seconds'")
    assert costs["cached"].tolist() == [False]  # it cost the other two nothing
    answers = store.load("second").answers().query("phase == 'original'")
    alike = [frame.drop(columns=["cell", "seed"], errors="ignore") for _, frame in answers.groupby("cell")]
    assert len(alike) == 3
    for other in alike[1:]:
        pd.testing.assert_frame_equal(alike[0].reset_index(drop=True), other.reset_index(drop=True), check_exact=True)

    compute(sweep(edits=5), store)
    assert len(asked) == 2


def test_broken_answers_of_the_unedited_model_are_asked_for_again(sweep: SweepMaker, tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path / "results", report=said.append)
    compute(sweep(seeds=1), store)
    (answers,) = (tmp_path / "results" / "bases").glob("*/answers.parquet")
    answers.write_bytes(answers.read_bytes()[:-1] + b"x")

    _, cards = compute(sweep(seeds=2), store)

    assert [card.status for card in cards] == [Status.DONE]
    assert len(said) == 1


def test_a_broken_fit_is_made_again(sweep: SweepMaker, store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path / "results", report=said.append)
    compute(sweep(methods=("mend",), sets=_FIT, edits=4), store)
    (state,) = (tmp_path / "results" / "editors").glob("*/state.safetensors")
    state.write_bytes(state.read_bytes()[:-1] + b"x")

    compute(sweep(methods=("mend",), sets=_FIT, edits=6), store)

    costs = store.load("first").costs.query("phase == 'fit'")
    assert not costs["cached"].any()
    assert len(said) == 1
    assert "is broken" in said[0]


def test_a_fit_without_a_log_is_stored_and_found(sweep: SweepMaker, store: Store) -> None:
    wanted = ("ft.kl=true", "ft.steps=2")
    compute(sweep(methods=("ft",), sets=wanted, edits=4), store)

    _, cards = compute(sweep(methods=("ft",), sets=wanted, edits=5), store)

    assert [card.status for card in cards] == [Status.DONE]
    assert len(list((store.root / "editors").iterdir())) == 1


def test_a_cell_that_can_not_be_computed_gets_a_card_with_its_reason(
    sweep: SweepMaker, store: Store, toy: Path
) -> None:
    toy.write_text(toy.read_text().replace('("causal", "seq2seq", "classifier")', '("seq2seq",)'))

    todo, (card,) = compute(sweep(), store)

    assert todo.to_run == ()
    assert (card.status, card.reason) == (Status.SKIPPED, "toy has no cases for causal models")
    assert len(compute(sweep(), store)[0].cached) == 1


def test_a_failed_cell_is_computed_again_only_if_asked(
    sweep: SweepMaker, store: Store, editor_file: Callable[[str, str], Path]
) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no.')")
    wanted = sweep(methods=("bad",), plugins=(path,))
    _, (card,) = compute(wanted, store)

    kept, _ = compute(wanted, store)
    again, _ = compute(wanted, store, retry=True)

    assert card.status == Status.FAILED
    assert (len(kept.cached), len(kept.to_run)) == (1, 0)
    assert (len(again.cached), len(again.to_run)) == (0, 1)


def test_an_interrupted_sweep_keeps_what_was_finished_and_goes_on(sweep: SweepMaker, store: Store) -> None:
    wanted = sweep(seeds=3)
    store.start("first", wanted.to_toml())
    engine = Interrupted()

    with pytest.raises(KeyboardInterrupt):
        run_sweep(wanted, survey(plan(wanted), store, "first"), store, "first", engine, Listener())

    todo, _ = compute(wanted, store)
    assert engine.is_closed
    assert (len(todo.cached), len(todo.to_run)) == (1, 2)


def test_the_engine_is_closed_if_a_result_can_not_be_told(sweep: SweepMaker, store: Store) -> None:
    class Broken(Listener):
        def finished(self, card: Card) -> None:
            raise OSError("the terminal is gone")

    wanted = sweep(seeds=2)
    store.start("first", wanted.to_toml())
    engine = Interrupted()

    with pytest.raises(OSError, match="terminal is gone"):
        run_sweep(wanted, survey(plan(wanted), store, "first"), store, "first", engine, Broken())

    assert engine.is_closed


class TwoAtOnce:
    """An engine that asks for the tasks of two cells before it computes the first; it notes which it was refused."""

    def __init__(self) -> None:
        self.tasks: list[Task | None] = []

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        first, second = cells
        begun = task(first)
        assert begun is not None
        self.tasks = [begun, task(second)]
        yield first, Worker(on_message).run(begun)
        self.tasks.append(later := task(second))
        assert later is not None
        yield second, Worker(on_message).run(later)


@pytest.mark.parametrize(("method", "waits"), [("mend", True), ("none", False)])
def test_two_workers_never_make_the_same_fit_at_the_same_time(
    sweep: SweepMaker, store: Store, method: str, waits: bool
) -> None:
    group = {"mend": "[group_size=2]"}.get(method, "")
    wanted = sweep(methods=(method + group,), sets=_FIT if method == "mend" else (), modes=("single", "batch:2"))
    store.start("first", wanted.to_toml())
    engine = TwoAtOnce()

    cards = run_sweep(wanted, survey(plan(wanted), store, "first"), store, "first", engine, Listener())

    assert [card.status for card in cards] == [Status.DONE] * 2
    assert (engine.tasks[1] is None) == waits
    assert engine.tasks[2] is not None
    assert (engine.tasks[2].fitted is not None) == waits

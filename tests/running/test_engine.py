"""Where cells are computed changes no number, and a worker that dies costs its cell only."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.engine import InProcessEngine, LocalEngine
from bench.running.task import Outcome, Progress, Task

pytestmark = pytest.mark.slow  # a worker process imports torch

CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]

_KILLED = "def edit(self, requests, *, memory, generator): os.kill(os.getpid(), signal.SIGKILL)"
_EXITED = "def edit(self, requests, *, memory, generator): os._exit(7)"
_STUBBORN = """
def edit(self, requests, *, memory, generator):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.01)
"""


def nothing(progress: Progress) -> None:
    pass


@pytest.fixture
def task(toy: Path, tmp_path: Path) -> Callable[[Cell], Task]:
    """Make the task of a cell, with every plug-in file that the test wrote."""
    return lambda cell: Task(cell=cell, plugins=tuple(sorted(tmp_path.glob("*.py"))))


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def by_key(outcomes: Iterator[tuple[Cell, Outcome]]) -> dict[str, Outcome]:
    return {cell.key: outcome for cell, outcome in outcomes}


def test_two_workers_give_the_scores_of_one_process_bit_for_bit(cells: CellMaker, task: Callable[[Cell], Task]) -> None:
    todo = cells(methods=("mend", "none"))

    said: list[Progress] = []
    most = 0

    def watch(progress: Progress) -> None:
        nonlocal most
        said.append(progress)
        most = max(most, len(multiprocessing.active_children()))

    here = by_key(InProcessEngine().run(todo, task, nothing))
    there = by_key(LocalEngine(8).run(todo, task, watch))

    assert set(here) == set(there) == {cell.key for cell in todo}
    for key, outcome in here.items():
        for table in ("answers", "scores"):
            pd.testing.assert_frame_equal(
                outcome.result.tables[table], there[key].result.tables[table], check_exact=True
            )
    assert most == 2  # no more workers than cells
    assert {p.key for p in said} == {cell.key for cell in todo}


def test_a_worker_that_dies_costs_its_cell_and_is_replaced(
    cells: CellMaker, task: Callable[[Cell], Task], editor_file: EditorFile
) -> None:
    plugins = (editor_file("killed", _KILLED), editor_file("exited", _EXITED))
    todo = cells(methods=("killed", "exited", "none"), plugins=plugins)

    outcomes = dict(LocalEngine(1).run(todo, task, nothing))

    killed, exited, fine = (outcomes[cell].result for cell in todo)
    assert (killed.status, exited.status, fine.status) == (Status.FAILED, Status.FAILED, Status.DONE)
    assert killed.failure is not None
    assert killed.failure.phase == "worker"
    assert "was killed by SIGKILL" in killed.failure.message
    assert "out of memory" in killed.failure.message
    assert exited.failure is not None
    assert "ended with exit code 7" in exited.failure.message
    assert killed.started <= killed.ended


def test_closing_the_iterator_ends_workers_in_the_middle_of_their_cells(
    cells: CellMaker, task: Callable[[Cell], Task], editor_file: EditorFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.running.process._PATIENCE_SECONDS", 0.5)
    todo = cells(methods=("stubborn", "none"), plugins=(editor_file("stubborn", _STUBBORN),))
    outcomes = LocalEngine(2).run(todo, task, nothing)

    cell, _ = next(outcomes)
    assert cell.method == "none"
    assert multiprocessing.active_children()
    outcomes.close()

    assert multiprocessing.active_children() == []


def test_no_cell_starts_no_worker(task: Callable[[Cell], Task]) -> None:
    assert list(LocalEngine(2).run([], task, nothing)) == []


def test_each_worker_sees_its_own_gpus_before_torch_is_loaded(
    cells: CellMaker, task: Callable[[Cell], Task], editor_file: EditorFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    says = "def edit(self, requests, *, memory, generator): raise EditError(os.environ['CUDA_VISIBLE_DEVICES'])"
    todo = cells(methods=("first", "second"), plugins=(editor_file("first", says), editor_file("second", says)))

    outcomes = dict(LocalEngine(2, devices=["7", "8,9"]).run(todo, task, nothing))

    messages = [outcome.result.failure.message for outcome in outcomes.values() if outcome.result.failure]
    assert sorted(messages) == ["7", "8,9"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_failed_cell_leaves_its_worker_warm_and_a_damaged_one_is_replaced(
    cells: CellMaker, task: Callable[[Cell], Task], editor_file: EditorFile
) -> None:
    says = "def edit(self, requests, *, memory, generator): raise EditError(str(os.getpid()))"
    damages = """
    def edit(self, requests, *, memory, generator):
        torch.set_default_dtype(torch.float64)
        raise EditError(str(os.getpid()))
    """
    names = ("first", "second", "damaging", "last")
    plugins = tuple(editor_file(name, damages if name == "damaging" else says) for name in names)
    todo = cells(methods=names, plugins=plugins)

    outcomes = dict(LocalEngine(1).run(todo, task, nothing))

    first, second, damaging, last = (outcomes[cell].result.failure for cell in todo)
    assert first and second and damaging and last
    assert first.message == second.message == damaging.message != last.message

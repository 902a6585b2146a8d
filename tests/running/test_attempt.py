"""What becomes of a cell whose worker is late or lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.attempt import Attempt, is_lost
from bench.running.task import Progress

CellMaker = Callable[..., list[Cell]]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set the clock by hand."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_its_clock_begins_with_the_first_word_of_the_worker(cells: CellMaker, now: list[float]) -> None:
    (cell,) = cells()
    attempt = Attempt(cell, 10.0)

    now[0] += 8  # the worker imports
    assert attempt.seconds_left() == 2
    attempt.hear(Progress(key=cell.key, phase="load"))
    assert attempt.seconds_left() == 10
    now[0] += 8
    attempt.hear(Progress(key=cell.key, phase="fit"))

    assert attempt.seconds_left() == 2


def test_without_a_limit_it_is_never_overdue(cells: CellMaker, now: list[float]) -> None:
    assert Attempt(cells()[0]).seconds_left() is None


@pytest.mark.parametrize(("heard", "phase"), [((), "load"), (("load", "edit"), "edit")])
def test_what_is_overdue_has_the_last_phase_that_was_heard_of(
    heard: tuple[str, ...], phase: str, cells: CellMaker
) -> None:
    (cell,) = cells()
    attempt = Attempt(cell, 0.5)
    for name in heard:
        attempt.hear(Progress(key=cell.key, phase=name))

    result = attempt.overdue("somewhere").result

    assert result.status is Status.TIMEOUT
    assert result.failure is not None
    assert (result.failure.phase, result.failure.traceback) == (phase, "somewhere")
    assert result.failure.message == "it was not done after 0.5 s, the limit that --timeout sets."
    assert result.started <= result.ended


def test_what_was_lost_is_known_by_its_phase(cells: CellMaker) -> None:
    (cell,) = cells()
    attempt = Attempt(cell)
    before = attempt.lost("ended with exit code 7").result.failure
    attempt.hear(Progress(key=cell.key, phase="fit"))

    failure = attempt.lost("was killed by SIGKILL", hint="Memory.").result.failure

    assert before is not None and failure is not None
    assert before.message == "the worker process ended with exit code 7 before the cell began."
    assert failure.message == "the worker process was killed by SIGKILL in phase 'fit'. Memory."
    assert is_lost(failure) and is_lost(before)
    assert not is_lost(None)

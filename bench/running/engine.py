"""Engines: where cells are computed. `local` keeps warm worker processes on this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from bench.records.cell import Cell
from bench.running.process import WorkerProcess
from bench.running.task import Message, Outcome, Task

__all__ = ["Engine", "InProcessEngine", "LocalEngine"]


class Engine(Protocol):
    """Computes cells and gives each as soon as it is done.

    What is common to all engines is elsewhere: a cell whose worker was lost is tried again by the driver, which also
    stops at the first failure where that is wanted; `Attempt` knows when a cell is overdue and what becomes of it.
    """

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        """Compute cells; closing what this gives ends the work.

        Args:
            cells: in the order in which they are started.
            task: makes the task of a cell when its turn comes, so that it can use what earlier cells fitted; None
                while a cell that runs makes the very fit that this one needs.
            on_message: told how far running cells have come, and given the checkpoints of their fits.
        """
        ...


class InProcessEngine:
    """Computes cells in this process, for debugging."""

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        """Compute cells one after the other."""
        from bench.running.worker import Worker

        worker = Worker(on_message)
        for cell in cells:
            todo = task(cell)
            assert todo is not None  # no other cell runs meanwhile
            yield cell, worker.run(todo)


class LocalEngine:
    """Computes cells in processes of their own; one that dies, hangs or is damaged costs its cell and is replaced.

    Args:
        workers: how many processes.
        timeout_seconds: how long a cell may take; None: as long as it likes.
        devices: the GPUs of each worker, as CUDA_VISIBLE_DEVICES names them; they are dealt out in turns. None: every
            worker sees what this process sees.
    """

    def __init__(
        self, workers: int, *, timeout_seconds: float | None = None, devices: Sequence[str] | None = None
    ) -> None:
        self._workers = workers
        self._timeout = timeout_seconds
        self._devices = devices

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        """Compute cells; closing the iterator ends all workers."""
        waiting = deque(cells)
        team: list[WorkerProcess] = []
        try:
            for number in range(min(self._workers, len(cells))):
                team.append(WorkerProcess(self._devices[number % len(self._devices)] if self._devices else None))
            while waiting or any(member.attempt for member in team):
                for member in team:
                    if member.attempt is None and (turn := _next(waiting, task)) is not None:
                        member.start(turn, self._timeout)
                for member in _said_something(team):
                    message = member.receive()
                    if isinstance(message, Outcome):
                        yield _done(member), message
                    else:
                        on_message(message)
                for member in team:
                    if member.is_overdue:
                        outcome = member.stop()
                        yield _done(member), outcome
        finally:
            for member in team:
                member.end()


def _next(waiting: deque[Cell], task: Callable[[Cell], Task | None]) -> Task | None:
    """Take the first cell out of those that wait whose turn has come; None if there is none."""
    for cell in waiting:
        if (found := task(cell)) is not None:
            waiting.remove(cell)
            return found
    return None


def _said_something(team: Sequence[WorkerProcess]) -> list[WorkerProcess]:
    """Wait until a worker has said something, or until one is overdue."""
    busy = {member.connection: member for member in team if member.attempt}
    left = [member.attempt.seconds_left() for member in busy.values() if member.attempt]
    soonest = min((seconds for seconds in left if seconds is not None), default=None)
    ready = wait(list(busy), timeout=None if soonest is None else max(0.0, soonest))
    return [busy[connection] for connection in ready]  # type: ignore[index]  # wait gives back what it was given


def _done(member: WorkerProcess) -> Cell:
    """Free a worker of its cell."""
    assert member.attempt is not None
    cell, member.attempt = member.attempt.cell, None
    return cell

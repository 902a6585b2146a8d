"""Engines: where cells are computed. `local` keeps warm worker processes on this machine; `ray` is in ray_engine.py."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from bench.records.cell import Cell
from bench.running.process import WorkerProcess
from bench.running.task import Message, Outcome, Task
from bench.running.team import work_through

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
        team: list[WorkerProcess] = []
        try:
            for number in range(min(self._workers, len(cells))):
                team.append(WorkerProcess(self._devices[number % len(self._devices)] if self._devices else None))
            yield from work_through(cells, task, on_message, team, _listen, self._timeout)
        finally:
            for member in team:
                member.end()


def _listen(team: Sequence[WorkerProcess], seconds: float | None) -> list[WorkerProcess]:
    """Wait until a worker has said something, so many seconds at most."""
    busy = {member.connection: member for member in team if member.attempt}
    ready = wait(list(busy), timeout=seconds)
    return [busy[connection] for connection in ready]  # type: ignore[index]  # wait gives back what it was given

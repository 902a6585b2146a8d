"""Engines: where cells are computed. `local` keeps warm worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Protocol

from bench.records.card import Failure, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.running.task import Message, Outcome, Progress, Task

__all__ = ["WORKER", "Engine", "InProcessEngine", "LocalEngine"]

WORKER = "worker"  # the phase in which a cell failed whose process ended

_PROGRESS_SECONDS = 0.2  # between two reports of one worker; faster than the eye gains nothing
_PATIENCE_SECONDS = 5.0  # for a worker that was asked to end; then it is killed


class Engine(Protocol):
    """Computes cells and gives each as soon as it is done."""

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
    """Computes cells in processes of their own; one that dies costs its cell and is replaced.

    Args:
        workers: how many processes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        """Compute cells; closing the iterator ends all workers."""
        waiting = deque(cells)
        team = [_Process() for _ in range(min(self._workers, len(cells)))]
        try:
            while waiting or any(member.cell for member in team):
                for member in team:
                    if member.cell is None and (turn := _next(waiting, task)) is not None:
                        member.start(*turn)
                busy = {member.connection: member for member in team if member.cell}
                for connection in wait(list(busy)):
                    member = busy[connection]  # type: ignore[index]  # wait gives back what it was given
                    message = member.receive()
                    if not isinstance(message, Outcome):
                        on_message(message)
                    elif member.cell is not None:
                        cell, member.cell = member.cell, None
                        yield cell, message
        finally:
            for member in team:
                member.end()


def _next(waiting: deque[Cell], task: Callable[[Cell], Task | None]) -> tuple[Cell, Task] | None:
    """Take the first cell out of those that wait whose turn has come; None if there is none."""
    for cell in waiting:
        if (found := task(cell)) is not None:
            waiting.remove(cell)
            return cell, found
    return None


class _Process:
    """One worker process, started anew when it has died."""

    def __init__(self) -> None:
        self.cell: Cell | None = None
        self._began = ""
        self._launch()

    def start(self, cell: Cell, task: Task) -> None:
        """Send a task; a process that has died is replaced first."""
        self.cell, self._began = cell, timestamp()
        if not self._process.is_alive():
            self._launch()
        try:
            self.connection.send(task)
        except OSError:
            self._launch()
            self.connection.send(task)

    def receive(self) -> Message | Outcome:
        """Give the next message; the death of the process becomes the outcome of its cell."""
        try:
            message: Message | Outcome = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return self._lost(self._process.exitcode)
        return message

    def end(self) -> None:
        """End the process, at once if it is at work."""
        self.connection.close()
        if self.cell is not None:
            self._process.terminate()
        self._process.join(timeout=_PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _launch(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _undisturbed():
            self._process.start()
        theirs.close()

    def _lost(self, code: int | None) -> Outcome:
        cause = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        hint = " The system may have run out of memory." if code == -signal.SIGKILL else ""
        failure = Failure(phase=WORKER, message=f"the worker process {cause}.{hint}")
        return Outcome(result=uncompleted(Status.FAILED, started=self._began, ended=timestamp(), failure=failure))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back: a process that is started meanwhile never gets it, this one when the block is left.

    A terminal sends Ctrl-C to the workers, too, and one that still imports would print a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection) -> None:
    """Be a worker: compute the tasks that come until the driver hangs up."""
    threading.Thread(target=_end_with_driver, daemon=True).start()
    from bench.running.worker import Worker

    last = 0.0

    def report(message: Message) -> None:
        nonlocal last
        now = time.monotonic()
        if not isinstance(message, Progress):
            connection.send(message)
        elif now - last >= _PROGRESS_SECONDS or message.done == 0:
            last = now
            connection.send(message)

    worker = Worker(report)
    try:
        while True:
            connection.send(worker.run(connection.recv()))
    except (EOFError, OSError):
        return


def _end_with_driver() -> None:
    """End this process at once when its driver has died, whatever it is doing."""
    driver = multiprocessing.parent_process()
    assert driver is not None  # only workers come here
    wait([driver.sentinel])
    os._exit(1)

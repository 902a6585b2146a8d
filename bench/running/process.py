"""A worker process: started, watched, and ended, by force where that is needed."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from bench.running.attempt import Attempt
from bench.running.reports import thinned
from bench.running.task import Message, Outcome, Task

__all__ = ["WorkerProcess"]

_PATIENCE_SECONDS = 5.0  # for a worker that was asked to end; then it is killed
_POLL_SECONDS = 0.01  # between two looks at whether it has ended
_STACK_SECONDS = 1.0  # for a worker that was asked where it is; one that hangs in a system call can not say
_DEVICES = "CUDA_VISIBLE_DEVICES"


class WorkerProcess:
    """One worker process, started anew when it has ended.

    Args:
        devices: the GPUs that it sees, as CUDA_VISIBLE_DEVICES names them; None: those that this process sees.
    """

    def __init__(self, devices: str | None = None) -> None:
        self.attempt: Attempt | None = None
        self._devices = devices
        self._process, self.connection, self._said = _launched(devices)

    @property
    def is_free(self) -> bool:
        """Say whether it can be given a cell."""
        return self.attempt is None

    @property
    def is_overdue(self) -> bool:
        """Say whether its cell has taken too long, and it has not just said that it is done."""
        left = self.attempt.seconds_left() if self.attempt else None
        return left is not None and left <= 0 and not self.connection.poll()

    def start(self, task: Task, timeout_seconds: float | None) -> None:
        """Send a task; a process that has ended is replaced first."""
        if not self._process.is_alive():
            self._replace()
        self.attempt = Attempt(task.cell, timeout_seconds)
        try:
            self.connection.send(task)
        except OSError:
            self._replace()
            self.connection.send(task)

    def receive(self) -> Message | Outcome:
        """Give the next message; the end of the process becomes the outcome of its cell."""
        assert self.attempt is not None  # only those at work are listened to
        try:
            message: Message | Outcome = self.connection.recv()
        except (EOFError, OSError):
            return self._lost(self.attempt)
        if not isinstance(message, Outcome):
            self.attempt.hear(message)
        elif message.ends_worker:
            self._kill()
        return message

    def stop(self) -> Outcome:
        """End a process whose cell is overdue, and give the outcome of that."""
        assert self.attempt is not None
        traceback = self._stack()
        self._kill()
        return self.attempt.overdue(traceback)

    def end(self) -> None:
        """End the process, at once if it is at work."""
        self.connection.close()
        if self.attempt is not None:
            self._process.terminate()
        self._ends()
        self._kill()
        self._said.close()

    def _replace(self) -> None:
        self._kill()
        self.connection.close()
        self._said.close()
        self._process, self.connection, self._said = _launched(self._devices)

    def _ends(self) -> bool:
        """Wait a while for the end of the process, and say whether it has come."""
        # Process.join(timeout) takes the closing of a file for the end, and a process may close that and go on.
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._process.is_alive() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return not self._process.is_alive()

    def _kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _lost(self, attempt: Attempt) -> Outcome:
        if not self._ends():
            self._kill()
            return attempt.lost("closed its connection and went on")
        code = self._process.exitcode
        name = signal.Signals(-code).name if code and code < 0 else ""
        cause = f"was killed by {name}" if name else f"ended with exit code {code}"
        hint = "The system may have run out of memory." if name == "SIGKILL" else ""
        return attempt.lost(cause, hint=hint, traceback=self._read(0))

    def _stack(self) -> str:
        """Ask the process where it is."""
        if self._process.pid is None or not self._process.is_alive():
            return ""
        os.kill(self._process.pid, signal.SIGUSR1)
        return self._read(_STACK_SECONDS)

    def _read(self, seconds: float) -> str:
        """Read what is said about where the process is; give it so many seconds to begin."""
        said = b""
        while wait([self._said], timeout=0.1 if said else seconds):
            part = os.read(self._said.fileno(), 2**16)
            if not part:
                break
            said += part
        return said.decode(errors="replace").strip()


class _Launched(NamedTuple):
    process: SpawnProcess
    connection: Connection  # tasks go there, messages and outcomes come from there
    said: Connection  # tracebacks, written even where no Python runs any more


def _launched(devices: str | None) -> _Launched:
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    said, say = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, say), daemon=True)
    with _undisturbed(), _environment(devices):
        process.start()
    theirs.close()
    say.close()
    return _Launched(process, connection, said)


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


@contextmanager
def _environment(devices: str | None) -> Iterator[None]:
    """Let a process that is started meanwhile see some GPUs only, from before it loads torch."""
    before = os.environ.get(_DEVICES)
    if devices is not None:
        os.environ[_DEVICES] = devices
    try:
        yield
    finally:
        if devices is not None:
            del os.environ[_DEVICES]
            os.environ.update({} if before is None else {_DEVICES: before})


def _serve(connection: Connection, said: Connection) -> None:
    """Be a worker: compute the tasks that come until the driver hangs up, or until a cell has left damage behind."""
    threading.Thread(target=_end_with_driver, daemon=True).start()
    faulthandler.enable(said.fileno())
    faulthandler.register(signal.SIGUSR1, said.fileno(), all_threads=False)
    from bench.running.worker import Worker

    worker = Worker(thinned(connection.send))
    try:
        while True:
            connection.send(outcome := worker.run(connection.recv()))
            if outcome.ends_worker:
                return
    except (EOFError, OSError):
        return


def _end_with_driver() -> None:
    """End this process at once when its driver has died, whatever it is doing."""
    driver = multiprocessing.parent_process()
    assert driver is not None  # only workers come here
    wait([driver.sentinel])
    os._exit(1)

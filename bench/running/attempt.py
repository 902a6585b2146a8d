"""One attempt to compute a cell in a worker: how far it has come, when it is overdue, how it ends without a result.

Engines share it: what becomes of a cell does not depend on where it was computed.
"""

from __future__ import annotations

import time

from bench.records.card import Failure, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.running.task import Message, Outcome, Progress

__all__ = ["WORKER", "Attempt", "is_lost"]

WORKER = "worker"  # the phase in which a cell failed whose worker was lost


class Attempt:
    """A cell at work in some worker.

    Args:
        cell: which one.
        timeout_seconds: how long it may take; None: as long as it likes.
    """

    def __init__(self, cell: Cell, timeout_seconds: float | None = None) -> None:
        self.cell = cell
        self._timeout = timeout_seconds
        self._began, self._since = timestamp(), time.monotonic()
        self._phase = ""

    def hear(self, message: Message) -> None:
        """Take note of what the worker says."""
        if not isinstance(message, Progress):
            return
        if not self._phase:  # a new worker imports torch first, which is no part of the cell
            self._since = time.monotonic()
        self._phase = message.phase

    def seconds_left(self) -> float | None:
        """Give the seconds until it is overdue, 0 or less if it is; None without a limit.

        The start of a worker has the same limit for itself.
        """
        return None if self._timeout is None else self._since + self._timeout - time.monotonic()

    def overdue(self, traceback: str = "") -> Outcome:
        """Give what becomes of a cell that took too long.

        Args:
            traceback: where it was, if that is known.
        """
        message = f"it was not done after {self._timeout:g} s, the limit that --timeout sets."
        failure = Failure(phase=self._phase or "load", message=message, traceback=traceback)
        return self._outcome(Status.TIMEOUT, failure)

    def lost(self, cause: str, *, hint: str = "", traceback: str = "") -> Outcome:
        """Give what becomes of a cell whose worker ended.

        Args:
            cause: what happened, to follow "the worker process".
            hint: a sentence about why that may be.
            traceback: where it was, if that is known.
        """
        where = f" in phase {self._phase!r}" if self._phase else " before the cell began"
        message = f"the worker process {cause}{where}. {hint}".strip()
        failure = Failure(phase=WORKER, message=message, traceback=traceback)
        return self._outcome(Status.FAILED, failure)

    def _outcome(self, status: Status, failure: Failure) -> Outcome:
        return Outcome(result=uncompleted(status, started=self._began, ended=timestamp(), failure=failure))


def is_lost(failure: Failure | None) -> bool:
    """Say whether a cell failed only because its worker was lost."""
    return failure is not None and failure.phase == WORKER

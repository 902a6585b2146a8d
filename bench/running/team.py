"""A team of workers: who gets which cell, who is listened to, and who is late. Engines with workers share it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from bench.records.cell import Cell
from bench.running.attempt import Attempt
from bench.running.task import Message, Outcome, Task

__all__ = ["Member", "work_through"]


class Member(Protocol):
    """A worker, wherever it is; one that has ended is replaced without anybody noticing."""

    attempt: Attempt | None

    @property
    def is_free(self) -> bool:
        """Say whether it can be given a cell."""

    @property
    def is_overdue(self) -> bool:
        """Say whether its cell has taken too long, and it has not just said that it is done."""

    def start(self, task: Task, timeout_seconds: float | None) -> None:
        """Give it a cell."""

    def receive(self) -> Message | Outcome | None:
        """Give what it has just said, None if that is of no interest; its end becomes the outcome of its cell."""

    def stop(self) -> Outcome:
        """End what is overdue, and give the outcome of that."""

    def end(self) -> None:
        """Send it away, at once if it is at work."""


_Member = TypeVar("_Member", bound=Member)


def work_through(
    cells: Sequence[Cell],
    task: Callable[[Cell], Task | None],
    on_message: Callable[[Message], None],
    team: Sequence[_Member],
    listen: Callable[[Sequence[_Member], float | None], Sequence[_Member]],
    timeout_seconds: float | None,
) -> Generator[tuple[Cell, Outcome], None, None]:
    """Compute cells with a team, as `Engine.run` promises; whoever made the team sends it away.

    Args:
        cells: in the order in which they are started.
        task: makes the task of a cell, None while it is not its turn.
        on_message: told what the members say before a cell is done.
        team: the workers, at least one.
        listen: waits until one of the members has said something, so many seconds at most, and gives those that have.
        timeout_seconds: how long a cell may take; None: as long as it likes.
    """
    waiting = deque(cells)
    while waiting or any(member.attempt for member in team):
        for member in team:
            if member.is_free and (turn := _next(waiting, task)) is not None:
                member.start(turn, timeout_seconds)
        for member in listen(team, _soonest(team)):
            said = member.receive()
            if isinstance(said, Outcome):
                yield _done(member), said
            elif said is not None:
                on_message(said)
        for member in team:
            if member.is_overdue:
                outcome = member.stop()
                yield _done(member), outcome


def _next(waiting: deque[Cell], task: Callable[[Cell], Task | None]) -> Task | None:
    """Take the first cell out of those that wait whose turn has come; None if there is none."""
    for cell in waiting:
        if (found := task(cell)) is not None:
            waiting.remove(cell)
            return found
    return None


def _soonest(team: Sequence[Member]) -> float | None:
    """Give the seconds until the first cell is overdue; None if none ever is."""
    left = [member.attempt.seconds_left() for member in team if member.attempt]
    soonest = min((seconds for seconds in left if seconds is not None), default=None)
    return None if soonest is None else max(0.0, soonest)


def _done(member: Member) -> Cell:
    """Free a worker of its cell."""
    assert member.attempt is not None
    cell, member.attempt = member.attempt.cell, None
    return cell

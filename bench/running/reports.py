"""What a worker reports while it computes: every checkpoint, and progress as often as somebody can look at it."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.running.task import Message, Progress

__all__ = ["thinned"]

_PROGRESS_SECONDS = 0.2  # between two reports of one worker; faster than the eye gains nothing


def thinned(send: Callable[[Message], object]) -> Callable[[Message], None]:
    """Give a function that sends messages on, but of the progress within a phase one in 0.2 seconds at most."""
    last = ("", 0.0)  # phase and time of the last report

    def report(message: Message) -> None:
        nonlocal last
        now = time.monotonic()
        if not isinstance(message, Progress):
            send(message)
        elif message.done == 0 or message.phase != last[0] or now - last[1] >= _PROGRESS_SECONDS:
            last = (message.phase, now)
            send(message)

    return report

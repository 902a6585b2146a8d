"""What is measured of one answer."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Measure"]


class Measure(NamedTuple):
    """What was measured of one question.

    Args:
        tokens: of the answer.
        tokens_correct: of these, how many were the most probable token.
        log_prob: of the whole answer, nats.
        kl: mean divergence from the unedited model over the answer's positions, nats; None if not wanted.
    """

    tokens: int
    tokens_correct: int
    log_prob: float
    kl: float | None = None

"""How a cell ended."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Status"]


class Status(StrEnum):
    """How a cell ended; the same word in cards, tables and messages."""

    DONE = "done"
    FAILED = "failed"  # an editor, dataset or model raised, or broke the contract
    OOM = "oom"  # out of memory
    NAN = "nan"  # an edit or an answer holds NaN or infinity
    TIMEOUT = "timeout"
    SKIPPED = "skipped"  # not run, for a reason that is given
    INTERRUPTED = "interrupted"  # stopped from outside; computed again next time

"""How many requests one edit installs, as cells and the command line spell it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import ConfigError, nearest

__all__ = ["SINGLE", "Mode", "parse_mode"]

SINGLE = "single"
_BATCH = re.compile(r"batch:([1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a cell's mode means.

    Args:
        at_once: how many requests one edit installs.
        is_grouped: requests are installed in groups, and groups are what intervals resample.
    """

    at_once: int = 1
    is_grouped: bool = False


def parse_mode(text: str) -> Mode:
    """Read `single` or `batch:n`; raises ConfigError for anything else."""
    if text == SINGLE:
        return Mode()
    match = _BATCH.fullmatch(text)
    if match is None:
        known = (SINGLE, "batch:n")
        raise ConfigError(
            f"--mode is {text!r}; it can be single, or batch:n with n requests an edit, as in batch:5."
            f"{nearest(text, known)}"
        )
    return Mode(at_once=int(match[1]), is_grouped=True)

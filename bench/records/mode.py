"""How the edits of a cell go together: each alone, some at once, or one after the other and kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import ConfigError, nearest

__all__ = ["SINGLE", "Mode", "parse_mode"]

SINGLE = "single"
_BATCH = re.compile(r"batch:([1-9]\d*)")
_SEQUENTIAL = re.compile(r"sequential:([1-9]\d*)(?::every ?([1-9]\d*))?")
_FORMS = (
    "single, batch:n with n requests an edit, as in batch:5, or sequential:n with n edits kept one after the other, "
    "as in sequential:100 or sequential:100:every20"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a cell's mode means.

    Args:
        at_once: how many requests one edit installs.
        is_grouped: requests belong to groups, and groups are what intervals resample: those that one edit installs,
            or those of one sequence.
        sequence: how many edits are made one after the other and kept; 0: each is made of the unedited model.
        every: edits between two checkpoints of a sequence, beside those at 1, 10, 100, …; 0: no others.
    """

    at_once: int = 1
    is_grouped: bool = False
    sequence: int = 0
    every: int = 0

    @property
    def name(self) -> str:
        """How cells spell it."""
        if self.is_sequential:
            return f"sequential:{self.sequence}" + (f":every {self.every}" if self.every else "")
        return f"batch:{self.at_once}" if self.is_grouped else SINGLE

    @property
    def is_sequential(self) -> bool:
        return self.sequence > 0

    @property
    def group_size(self) -> int:
        """How many requests are in one group; the edits of a cell are a multiple of it."""
        return self.sequence or self.at_once

    @property
    def application(self) -> str:
        """How edits are applied if nobody asks for another way.

        The edits of a sequence are written: beside the weights their rank would grow with every one of them.
        """
        return "written" if self.is_sequential else "factored"

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """After how many edits of a sequence the model as a whole is looked at: 1, 10, 100, …, each k-th, the last."""
        powers = [10**exponent for exponent in range(len(str(self.sequence)))]
        regular = range(self.every, self.sequence + 1, self.every) if self.every else ()
        return tuple(sorted({*powers, *regular, self.sequence}))


def parse_mode(text: str) -> Mode:
    """Read `single`, `batch:n`, `sequential:n` or `sequential:n:every k`, which may lack its space.

    Raises:
        ConfigError: it is anything else.
    """
    if text == SINGLE:
        return Mode()
    if match := _BATCH.fullmatch(text):
        return Mode(at_once=int(match[1]), is_grouped=True)
    if match := _SEQUENTIAL.fullmatch(text):
        mode = Mode(is_grouped=True, sequence=int(match[1]), every=int(match[2] or 0))
        if mode.every > mode.sequence:
            raise ConfigError(
                f"--mode is {text!r}; a checkpoint every {mode.every} edits never comes in a sequence of "
                f"{mode.sequence}. Give a smaller k."
            )
        return mode
    hint = nearest(text, (SINGLE, "batch:n", "sequential:n", "sequential:n:every k"))
    raise ConfigError(f"--mode is {text!r}; it can be {_FORMS}.{hint}")

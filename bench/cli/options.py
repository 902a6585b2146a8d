"""Options and checks that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["AsJson", "Plugins", "Results", "Settings", "check_choice", "names", "output", "run_folder"]

Results = Annotated[Path, typer.Option("--results", envvar="BENCH_RESULTS", help="Folder of all runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A file with a method or dataset; may be repeated.")
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="NAME.FIELD=VALUE; may be repeated.")]


def check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a value that an option can not have.

    Raises:
        ConfigError: the value is not known; the nearest is named.
    """
    if value not in known:
        raise ConfigError(f"{option} is {value!r}; it can be {', '.join(known)}.{nearest(value, known)}")


def names(text: str) -> tuple[str, ...]:
    """Give the names in a list that is separated by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def run_folder(name: str, results: Path) -> Path:
    """Give the folder of a run by its name, or by a path to it."""
    folder = Path(name).expanduser()
    return folder if folder.is_dir() and (folder / "cells").is_dir() else results / name


def output(*, is_stderr: bool = False) -> Console:
    """Give the console to print on."""
    from rich.console import Console

    return Console(stderr=is_stderr, highlight=False)

"""`bench editors`: hand fitted editors on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import AsJson, Results, run_folder

__all__ = ["editors_app"]

editors_app = typer.Typer(
    help="Hand fitted editors on, so that nobody fits twice: export one here, import it there; "
    "the same `bench run` then finds it and fits nothing.",
    no_args_is_help=True,
)


@editors_app.command("list", epilog="Example:  bench editors list --json")
def list_editors(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """List the fitted editors, and the fits that were interrupted."""
    from bench.commands import editors

    print(editors.list_editors(results, as_json=as_json), end="")


@editors_app.command("export", epilog="Example:  bench editors export 2026-11-23-facts mend.safetensors")
def export_editor(
    name: Annotated[
        str, typer.Argument(metavar="RUN|KEY", help="A run with one fitted editor, or a key of `bench editors list`.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    results: Results = Path("results"),
) -> None:
    """Write a fitted editor into one file, with its card, its log, its cost and a digest."""
    from bench.commands import editors

    print(editors.export_editor(name, run_folder(name, results), file, results), end="")


@editors_app.command("import", epilog="Example:  bench editors import mend.safetensors")
def import_editor(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `bench editors export`.")],
    results: Results = Path("results"),
) -> None:
    """Store an exported editor where `bench run` finds it, and print the run that does."""
    from bench.commands import editors

    print(editors.import_editor(file, results), end="")

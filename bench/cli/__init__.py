"""The command `bench`. Each verb imports what it needs when it is called, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import bench
from bench.cli.datasets import datasets_app
from bench.cli.editors import editors_app
from bench.cli.listing import list_app
from bench.cli.models import models_app
from bench.cli.results import results_app
from bench.cli.run import run_app
from bench.cli.runs import runs_app
from bench.errors import BenchError

__all__ = ["app", "main"]

app = typer.Typer(
    name="bench",
    help="Run editors of language models under one protocol: what an edit changed, broke and cost.",
    epilog="Start with:  bench run --methods mend,ke",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verbs in (run_app, list_app, results_app, runs_app):
    app.add_typer(verbs)
app.add_typer(models_app, name="models")
app.add_typer(editors_app, name="editors")
app.add_typer(datasets_app, name="datasets")


def main() -> None:
    """Run the command; an error of ours is one sentence on stderr and exit code 2."""
    try:
        try:
            app(prog_name="bench")
        finally:
            sys.stdout.flush()  # while a reader that has gone can still be told from a fault
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"editbench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass

"""`bench status`, `bench clean` and `bench merge`: look after runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import AsJson, Results, run_folder

__all__ = ["runs_app"]

runs_app = typer.Typer()


@runs_app.command("status", epilog="Example:  bench status 2026-11-23-facts")
def show_status(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Say how far a run has come, what is being computed and by whom; also while it goes on."""
    from bench.commands.status import status

    print(status(run_folder(name, results), as_json=as_json), end="")


@runs_app.command("clean", epilog="Example:  bench clean --results results")
def clean_results(
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List as JSON and delete nothing.")] = False,
) -> None:
    """Delete what no key reaches: fits and answers that no cell uses, broken folders that were moved aside, leftovers.

    It lists them and asks first. What a cell of any run can use stays, and nothing outside the folder is touched.
    """
    from bench.commands.clean import clean

    def confirm(listed: str) -> bool:
        print(listed, end="", flush=True)
        return yes or typer.confirm("Delete them?")

    print(clean(results, confirm, as_json=as_json), end="")


@runs_app.command("merge", epilog="Example:  bench merge monday /mnt/other/results/monday --run both")
def merge(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Names or folders of runs, of any results folder.")
    ],
    name: Annotated[str, typer.Option("--run", help="Name of the run that gets all cells.")],
    results: Results = Path("results"),
) -> None:
    """Copy the cells of several runs, perhaps of several machines, into one.

    A cell that is there twice is taken once; one that has other scores in two runs stops the merge.
    """
    from bench.commands.merge import merge_runs

    print(merge_runs([run_folder(run, results) for run in runs], results, name), end="")

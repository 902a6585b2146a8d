"""`bench table` and `bench plot`: what runs came to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Results, check_choice, names, output, run_folder

__all__ = ["results_app"]

results_app = typer.Typer()

_FORMATS = ("text", "csv", "json", "md", "latex")


@results_app.command(epilog="Example:  bench table 2026-11-23-facts --format md --metrics success,drawdown")
def table(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run.")],
    format_: Annotated[str, typer.Option("--format", help=f"How to print: {', '.join(_FORMATS)}.")] = "text",
    metrics: Annotated[str, typer.Option(help="Metrics, separated by commas; `bench list metrics` shows all.")] = "",
    results: Results = Path("results"),
) -> None:
    """Print the summary of a run.

    csv and json give every metric, one row each.
    """
    from bench.commands.results import print_table

    check_choice("--format", format_, _FORMATS)
    print_table(run_folder(name, results), format_, names(metrics), output())


@results_app.command(epilog="Example:  bench plot 2026-11-23-facts scaling --metrics success,edit_seconds")
def plot(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run.")],
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help="What to draw.")] = "tradeoff",
    metrics: Annotated[str, typer.Option(help="Metrics to draw, separated by commas; a panel each.")] = "",
    x: Annotated[str, typer.Option(help="Metric of the horizontal axis, of tradeoff, cost and breakeven.")] = "",
    y: Annotated[str, typer.Option(help="Metric of the vertical axis, of tradeoff and cost.")] = "",
    published: Annotated[
        Path | None, typer.Option(help="A CSV of published numbers, to be shown as open markers.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Draw a run: a PNG, an SVG, and a CSV with the numbers.

    Kinds: tradeoff (two metrics against each other), scaling (metrics against parameters), batch (against edits at
    once), sequence (against edits kept one after the other), cost (time of an edit against success), breakeven
    (when a fit has paid off), heat (method by model), memory (peak against parameters), pairs (differences on the
    same edits).
    """
    from bench.commands.results import draw

    asked = {"metrics": names(metrics), "x": names(x), "y": names(y)}
    for path in draw(run_folder(name, results), kind, asked=asked, published=published):
        print(path)

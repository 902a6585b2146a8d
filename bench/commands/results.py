"""`bench table` and `bench plot`: what a run folder says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.reporting import formats
from bench.reporting.load import load
from bench.reporting.plots import tradeoff
from bench.reporting.tables import DEFAULT_METRICS, build

__all__ = ["draw", "print_table"]


def print_table(folder: Path, format_: str, metrics: Sequence[str], console: Console) -> None:
    """Print a run: `text`, `md` and `latex` wide, for people; `csv` and `json` long, for programs.

    Raises:
        StoreError: there is no run in this folder.
        UnknownPlugin: there is no metric of one of these names.
    """
    run = load(folder)
    table = build(run, metrics or DEFAULT_METRICS)
    if format_ in ("csv", "json"):
        long = run.summary if not metrics else run.summary[run.summary["metric"].isin(metrics)]
        print(formats.csv(long) if format_ == "csv" else formats.records(long), end="")
    elif format_ == "text":
        console.print(formats.terminal(table, console.width))
    else:
        print(formats.markdown(table) if format_ == "md" else formats.latex(table), end="")


def draw(folder: Path, x: str, y: str) -> tuple[Path, ...]:
    """Draw two metrics of a run against each other into its folder `plots`; give the files.

    Raises:
        StoreError: there is no run in this folder, or it can not be written.
        UnknownPlugin: there is no metric of one of these names.
    """
    name = "tradeoff" if (x, y) == ("drawdown", "success") else f"tradeoff-{x}-{y}"
    return tuple(tradeoff(load(folder).summary, folder / "plots", x=x, y=y, name=name))

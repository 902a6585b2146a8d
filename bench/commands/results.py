"""`bench table` and `bench plot`: what a run folder says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from bench.errors import StoreError
from bench.registry import plugins
from bench.reporting import formats, plots
from bench.reporting.load import load
from bench.reporting.tables import build

__all__ = ["draw", "print_table"]


def print_table(folder: Path, format_: str, metrics: Sequence[str], console: Console) -> None:
    """Print a run: `text`, `md` and `latex` wide, for people; `csv` and `json` long, for programs.

    Raises:
        StoreError: there is no run in this folder.
        UnknownPlugin: there is no metric of one of these names.
    """
    run = load(folder)
    table = build(run, metrics)
    if format_ in ("csv", "json"):
        long = run.summary if not metrics else run.summary[run.summary["metric"].isin(metrics)]
        print(formats.csv(long) if format_ == "csv" else formats.records(long), end="")
    elif format_ == "text":
        console.print(formats.terminal(table, console.width))
    else:
        print(formats.markdown(table) if format_ == "md" else formats.latex(table), end="")
    run.refresh_index()


def draw(
    folder: Path,
    kind: str = "tradeoff",
    *,
    asked: Mapping[str, Sequence[str]] = MappingProxyType({}),
    published: Path | None = None,
) -> tuple[Path, ...]:
    """Draw a run into its folder `plots`; give the files.

    Args:
        folder: of the run.
        kind: a name of bench.reporting.plots.KINDS.
        asked: metrics to draw, by the option that named them: `x`, `y` or `metrics`.
        published: a CSV of published numbers to be shown beside.

    Raises:
        StoreError: there is no run in this folder, or it can not be written.
        UnknownPlugin: there is no kind or metric of one of these names.
        ConfigError: this kind does not take these options.
    """
    if (folder / "plots").is_symlink():
        raise StoreError(f"{str(folder / 'plots')!r} is a link, which a results folder never holds. Delete it.")
    found = plots.find(kind)
    metrics = found.chosen(asked)
    beside = {} if published is None else {"published": plots.read_published(published)}
    material = plots.Material(tables=load(folder), metrics=metrics, methods=sorted(plugins("methods")), **beside)
    return tuple(plots.plot(found, material, folder / "plots"))

"""What all figures share: fonts, labels of axes, panels, captions, and the files they become."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bench.errors import StoreError
from bench.records.metrics import Metric
from bench.reporting.formats import csv, plain
from bench.reporting.plots.kind import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "Files",
    "Panel",
    "axis_label",
    "caption",
    "config_lines",
    "counts",
    "cut",
    "empty_drawing",
    "label_of",
    "new_figure",
    "panels",
    "save",
    "styled",
]

GREY = "#666666"
_LINE = 24  # characters of a line of a label
_CONFIG_LINES = 3  # of a label, below the method's name
_TITLE = 36  # characters
_DPI = 200
_UNITS = {
    "fraction": "fraction",
    "nats": "nats",
    "perplexity": "per token",
    "ratio": "ratio",
    "edits": "edits",
    "seconds": "seconds",
    "bytes": "bytes",
}
_RC: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": "#EEEEEE",
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "editbench",
}


class Files(NamedTuple):
    """What a plot wrote."""

    png: Path
    svg: Path
    csv: Path


class Panel(NamedTuple):
    """A part of the numbers that is drawn into axes of its own."""

    title: str
    rows: pd.DataFrame


@contextmanager
def styled() -> Iterator[None]:
    """Set fonts, lines and colours for all that is drawn and saved inside."""
    import matplotlib

    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def axis_label(metric: Metric) -> str:
    """Name, unit and an arrow to the better end; a vertical label is read turned to the left."""
    unit = _UNITS[metric.unit]
    if metric.better == "none":
        return f"{metric.name} ({unit})"
    arrow = "better →" if metric.better == "higher" else "← better"
    return f"{metric.name} ({unit}, {arrow})"


def new_figure(
    count: int, *, columns: int, width: float, height: float, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure with so many axes.

    Args:
        count: of the axes, ≥ 1.
        columns: axes beside each other, at most.
        width: of one, inches.
        height: of one, inches.
        sharex: all have the same horizontal axis.
        sharey: all have the same vertical axis.
    """
    from matplotlib.figure import Figure

    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    figure = Figure(figsize=(max(4.6, width * columns), height * rows + 0.6), layout="constrained", dpi=_DPI)
    axes = list(figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def panels(rows: pd.DataFrame, names: Sequence[str], *, always: Sequence[str] = ()) -> list[Panel]:
    """Part rows by some columns; the title says in what the parts differ.

    Args:
        rows: to be parted.
        names: of the columns.
        always: of these, in the title even where all parts agree.
    """
    parts = [part for _, part in rows.groupby(list(names), sort=False, dropna=False)]
    firsts = [part.iloc[0] for part in parts]
    told = [name for name in names if name in always or len({str(first[name]) for first in firsts}) > 1]
    titles = [plain(cut(", ".join(str(first[name]) for name in told), _TITLE)) for first in firsts]
    return [Panel(title, part) for title, part in zip(titles, parts, strict=True)]


def caption(figure: Figure, sentences: Sequence[str]) -> None:
    """Write sentences below the figure, to the right."""
    text = plain("; ".join(sentence for sentence in sentences if sentence))
    lines = textwrap.wrap(text, int(17.5 * figure.get_figwidth()))
    figure.supxlabel("\n".join(lines), x=0.995, ha="right", fontsize=7, color=GREY, parse_math=False)


def counts(rows: pd.DataFrame) -> str:
    """Say what n is: `n = 200`, or by metric where that differs.

    Args:
        rows: with the columns metric and n.
    """
    found: dict[str, list[str]] = {}
    for name, numbers in rows.groupby("metric", sort=False)["n"]:
        ends = dict.fromkeys([f"{int(numbers.min()):,}", f"{int(numbers.max()):,}"])
        found.setdefault("–".join(ends), []).append(str(name))
    if len(found) == 1:
        return f"n = {next(iter(found))}"
    return "n: " + ", ".join(f"{number} ({', '.join(names)})" for number, names in found.items())


def label_of(method: str, config: str) -> str:
    """The name of a method with its configuration, in a few short lines."""
    return "\n".join(plain(line) for line in [cut(method, _LINE), *config_lines(config)])


def config_lines(config: str) -> list[str]:
    """Break a configuration into a few short lines, at its commas where they fit."""
    if config in ("default", ""):
        return []
    lines: list[str] = []
    for part in config.split(","):
        if lines and len(lines[-1]) + len(part) < _LINE:
            lines[-1] += f",{part}"
        else:
            lines.append(part)
    if len(lines) > _CONFIG_LINES:
        lines[_CONFIG_LINES - 1 :] = ["…"]
    return [cut(line, _LINE) for line in lines]


def cut(text: str, length: int) -> str:
    """Cut the middle out of a text that is too long: names differ at both ends."""
    left = (length - 1) // 2
    return text if len(text) <= length else f"{text[:left]}…{text[left + 1 - length :]}"


def empty_drawing(reason: str, numbers: pd.DataFrame) -> Drawing:
    """A figure that says in words why it shows nothing.

    Args:
        reason: one sentence, after "nothing to draw:".
        numbers: without rows, so that the CSV has its columns.
    """
    figure, axes = new_figure(1, columns=1, width=4.6, height=3.1)
    axes[0].set_axis_off()
    text = textwrap.fill(plain(f"nothing to draw: {reason}"), 52)
    axes[0].text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes[0].transAxes, parse_math=False)
    return Drawing(figure, numbers)


def save(drawing: Drawing, folder: Path, name: str) -> Files:
    """Write a figure as PNG and SVG and its numbers as CSV; the same figure gives the same bytes.

    Raises:
        StoreError: the folder can not be written.
    """
    files = Files(*(folder / f"{name}.{kind}" for kind in ("png", "svg", "csv")))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawing.figure.savefig(files.png, metadata={"Software": None})
        drawing.figure.savefig(files.svg, metadata={"Date": None, "Creator": None})
        files.csv.write_text(csv(drawing.numbers), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the plot can not be written to {str(folder)!r}: {error.strerror or error}.") from error
    return files

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
from bench.reporting.formats import csv, plain
from bench.reporting.plots.kind import Drawing
from bench.reporting.plots.wording import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GREY", "Files", "Panel", "caption", "empty_drawing", "new_figure", "panels", "save", "styled"]

GREY = "#666666"
_TITLE = 36  # characters
_DPI = 200
_PIXELS = 60_000  # of a side; matplotlib's renderer ends at 2¹⁶
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
    size = (max(4.6, width * columns), height * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained", dpi=min(_DPI, _PIXELS / max(size)))
    axes = list(figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def panels(
    rows: pd.DataFrame, names: Sequence[str], *, always: Sequence[str] = (), silent: Sequence[str] = ()
) -> list[Panel]:
    """Part rows by some columns; the title says in what the parts differ.

    Args:
        rows: to be parted.
        names: of the columns.
        always: of these, in the title even where all parts agree.
        silent: of these, never in the title.
    """
    parts = [part for _, part in rows.groupby(list(names), sort=False, dropna=False)]
    firsts = [part.iloc[0] for part in parts]
    values = {name: {str(first[name]) for first in firsts if not pd.isna(first[name])} for name in names}
    told = [name for name in names if name not in silent and (name in always or len(values[name]) > 1)]
    texts = [", ".join(str(first[name]) for name in told if not pd.isna(first[name])) for first in firsts]
    titles = [plain(cut(text, _TITLE)) for text in texts]
    return [Panel(title, part) for title, part in zip(titles, parts, strict=True)]


def caption(figure: Figure, sentences: Sequence[str]) -> None:
    """Write sentences below the figure, to the right."""
    text = plain("; ".join(sentence for sentence in sentences if sentence))
    lines = textwrap.wrap(text, int(17.5 * figure.get_figwidth()))
    figure.supxlabel("\n".join(lines), x=0.995, ha="right", fontsize=7, color=GREY, parse_math=False)


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

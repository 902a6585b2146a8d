"""Figures of a run, each as PNG and SVG with its numbers as CSV beside it."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bench.errors import StoreError
from bench.records.metrics import Metric, choose
from bench.records.summary import IDENTITY
from bench.reporting.formats import csv, plain
from bench.reporting.labels import Label, place_labels
from bench.reporting.numbers import quantity
from bench.reporting.style import Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

__all__ = ["Files", "tradeoff"]

_PANEL = ("model", "parameters", "dataset", "split", "mode", "dtype", "device", "application")
_COLUMNS = 3  # panels beside each other
_WIDTH = 24  # characters of a line of a label
_CONFIG_LINES = 3  # of a label, below the method's name
_GREY = "#666666"
_UNITS = {
    "fraction": "fraction",
    "nats": "nats",
    "perplexity": "per token",
    "seconds": "seconds",
    "bytes": "bytes",
}
_RC: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "editbench",
}


class Files(NamedTuple):
    """What a plot wrote."""

    png: Path
    svg: Path
    csv: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    metric: Metric
    is_horizontal: bool

    @property
    def label(self) -> str:
        """Name, unit and an arrow to the better end; a vertical label is read turned to the left."""
        better = self.metric.better
        unit = _UNITS[self.metric.unit]
        if better == "none":
            return f"{self.metric.name} ({unit})"
        arrow = "better →" if better == "higher" else "← better"
        return f"{self.metric.name} ({unit}, {arrow})"

    @property
    def is_log(self) -> bool:
        return self.metric.unit in ("seconds", "bytes")


def tradeoff(
    summary: pd.DataFrame, folder: Path, *, x: str = "drawdown", y: str = "success", name: str = "tradeoff"
) -> Files:
    """Draw each method at its two metrics with both intervals, and the frontier of the best.

    One panel a model (and dataset, mode, dtype … where they differ), all with the same axes.

    Args:
        summary: columns of schema.SUMMARY.
        folder: where the files go; made if it is not there.
        x: metric of the horizontal axis.
        y: metric of the vertical axis.
        name: of the files.

    Raises:
        UnknownPlugin: there is no metric of one of these names.
        StoreError: the folder can not be written.
    """
    import matplotlib

    horizontal, vertical = choose([x, y])
    points = _points(summary, horizontal, vertical)
    missing = _missing(summary, points)
    styles = looks(summary["method"] + summary["config"])  # of all methods, so that figures agree
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        axes = (_Axis(metric=horizontal, is_horizontal=True), _Axis(metric=vertical, is_horizontal=False))
        figure = _figure(points, *axes, styles, missing)
        return _save(figure, points, folder, name)


def _points(summary: pd.DataFrame, x: Metric, y: Metric) -> pd.DataFrame:
    """A row a method and panel that has both metrics, with `is_frontier`."""
    columns = [*IDENTITY, "seeds", "mean", "ci_low", "ci_high", "n"]
    sides = []
    for metric, suffix in ((x, "_x"), (y, "_y")):
        side = summary.loc[summary["metric"] == metric.name, columns]
        side = side[side["mean"].astype("float64").abs() < math.inf]
        sides.append(side.rename(columns={end: f"{end}{suffix}" for end in columns[-4:]}))
    points = sides[0].merge(sides[1], on=[*IDENTITY, "seeds"], how="inner")
    points.insert(0, "y", y.name)
    points.insert(0, "x", x.name)
    frontier = pd.Series(False, index=points.index)
    for _, panel in points.groupby(list(_PANEL), sort=False, dropna=False):
        frontier[_frontier(panel, x, y)] = True
    return points.assign(is_frontier=frontier)


def _missing(summary: pd.DataFrame, points: pd.DataFrame) -> list[str]:
    """Methods that lack one of the two metrics somewhere, in order."""
    drawn = set(points[list(IDENTITY)].astype("str").itertuples(index=False, name=None))
    groups = summary[list(IDENTITY)].drop_duplicates().astype("str").itertuples(index=False, name=None)
    absent = dict.fromkeys((str(group[0]), str(group[1])) for group in groups if group not in drawn)
    return [name if config == "default" else f"{name}[{config}]" for name, config in absent]


def _frontier(panel: pd.DataFrame, x: Metric, y: Metric) -> list[int]:
    """Index of the points that no other beats on both axes, from the best x to the worst."""
    down = panel["mean_x"] * (-1 if x.better == "higher" else 1)
    up = panel["mean_y"] * (-1 if y.better == "lower" else 1)
    best, kept = -math.inf, []
    for place in pd.DataFrame({"down": down, "up": -up}).sort_values(["down", "up"]).index:
        if up[place] > best:
            best = float(up[place])
            kept.append(int(place))
    return kept


def _figure(points: pd.DataFrame, x: _Axis, y: _Axis, styles: dict[str, Look], missing: list[str]) -> Figure:
    from matplotlib.figure import Figure

    panels = [panel for _, panel in points.groupby(list(_PANEL), sort=False, dropna=False)]
    columns = max(1, min(_COLUMNS, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = Figure(figsize=(max(4.6, 3.3 * columns), 3.1 * rows + 0.6), layout="constrained", dpi=160)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    if not panels:
        return _nothing(figure, axes[0], x, y)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    titles = _titles(panels)
    for place, (panel, ax) in enumerate(zip(panels, axes, strict=False)):
        _draw(ax, panel, x, y, styles)
        ax.set_title(titles[place], loc="left", parse_math=False)
        is_lowest = place + columns >= len(panels)
        ax.tick_params(labelbottom=is_lowest, labelleft=place % columns == 0)
        if is_lowest:
            ax.set_xlabel(x.label, parse_math=False)
    _limits(axes[0], points, x, y)
    caption = "\n".join(textwrap.wrap(_caption(points, missing), int(26 * figure.get_figwidth())))
    figure.supxlabel(caption, x=0.995, ha="right", fontsize=7, color=_GREY, parse_math=False)
    figure.supylabel(y.label, fontsize=9, parse_math=False)
    figure.draw_without_rendering()
    for panel, ax in zip(panels, axes, strict=False):
        place_labels(ax, _labels(panel, styles), lines=_corners(panel, x.metric, y.metric))
    return figure


def _draw(ax: Axes, panel: pd.DataFrame, x: _Axis, y: _Axis, styles: dict[str, Look]) -> None:
    corners = _corners(panel, x.metric, y.metric)
    ax.plot([x for x, _ in corners], [y for _, y in corners], color="#AAAAAA", lw=0.8, zorder=1)
    for point in panel.to_dict("records"):
        look = styles[f"{point['method']}{point['config']}"]
        ax.errorbar(
            [point["mean_x"]],
            [point["mean_y"]],
            xerr=_bar(point, "_x"),
            yerr=_bar(point, "_y"),
            fmt=look.marker,
            color=look.colour,
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1,
            zorder=3,
        )
    ax.grid(color="#EEEEEE", lw=0.6, zorder=0)
    ax.set_axisbelow(True)


def _corners(panel: pd.DataFrame, x: Metric, y: Metric) -> list[tuple[float, float]]:
    """The frontier as steps: the best y that can be had for the x there, or a better one."""
    corners: list[tuple[float, float]] = []
    for place in _frontier(panel, x, y):
        here = (float(panel["mean_x"][place]), float(panel["mean_y"][place]))
        corners += [(here[0], corners[-1][1]), here] if corners else [here]
    return corners


def _bar(point: Mapping[Hashable, Any], side: str) -> list[list[float]] | None:
    mean, low, high = (float(point[f"{end}{side}"]) for end in ("mean", "ci_low", "ci_high"))
    if math.isnan(low) or math.isnan(high):
        return None
    return [[max(0.0, mean - low)], [max(0.0, high - mean)]]


def _limits(ax: Axes, points: pd.DataFrame, x: _Axis, y: _Axis) -> None:
    """Set the shared limits: all intervals with a margin, and never a span too small to read."""
    for axis, side in ((x, "_x"), (y, "_y")):
        numbers = points[[f"mean{side}", f"ci_low{side}", f"ci_high{side}"]].astype("float64")
        low, high = float(numbers.min().min()), float(numbers.max().max())
        scale, limit = (ax.set_xscale, ax.set_xlim) if axis.is_horizontal else (ax.set_yscale, ax.set_ylim)
        if axis.is_log and low > 0:
            scale("log")
            limit(low / 1.6, high * 1.6)
            _units(ax.xaxis if axis.is_horizontal else ax.yaxis, axis.metric, high / low)
        else:
            margin = 0.08 * max(high - low, 0.05)
            limit(low - margin, high + margin)


def _units(axis: XAxis | YAxis, metric: Metric, span: float) -> None:
    """Write durations and sizes at the ticks of a log axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # The locator counts in tens, also for bytes: 100 MiB would not fall on a power of ten of bytes.
    axis.set_major_locator(LogLocator(subs=(1.0,) if span > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value, metric.unit)))
    axis.set_minor_formatter(NullFormatter())


def _titles(panels: Sequence[pd.DataFrame]) -> list[str]:
    """The model, and whatever else differs between the panels."""
    firsts = [panel.iloc[0] for panel in panels]
    names = [
        name
        for name in _PANEL
        if name == "model" or (name != "parameters" and len({str(first[name]) for first in firsts}) > 1)
    ]
    return [plain(_cut(", ".join(str(first[name]) for name in names), 36)) for first in firsts]


def _labels(panel: pd.DataFrame, styles: dict[str, Look]) -> list[Label]:
    labels = []
    for point in panel.to_dict("records"):
        lines = [_cut(str(point["method"]), _WIDTH), *_config_lines(str(point["config"]))]
        labels.append(
            Label(
                text="\n".join(plain(line) for line in lines),
                x=float(point["mean_x"]),
                y=float(point["mean_y"]),
                x_bar=_ends(point, "_x"),
                y_bar=_ends(point, "_y"),
                colour=styles[f"{point['method']}{point['config']}"].ink,
            )
        )
    return labels


def _config_lines(config: str) -> list[str]:
    """Break a configuration into a few short lines, at its commas where they fit."""
    if config == "default":
        return []
    lines: list[str] = []
    for part in config.split(","):
        if lines and len(lines[-1]) + len(part) < _WIDTH:
            lines[-1] += f",{part}"
        else:
            lines.append(part)
    if len(lines) > _CONFIG_LINES:
        lines[_CONFIG_LINES - 1 :] = ["…"]
    return [_cut(line, _WIDTH) for line in lines]


def _ends(point: Mapping[Hashable, Any], side: str) -> tuple[float, float]:
    low, high, mean = (float(point[f"{end}{side}"]) for end in ("ci_low", "ci_high", "mean"))
    return (mean, mean) if math.isnan(low) or math.isnan(high) else (low, high)


def _caption(points: pd.DataFrame, missing: list[str]) -> str:
    counts = sorted({*points["n_x"].tolist(), *points["n_y"].tolist()})
    numbers = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    line = "; grey line: frontier" if points["is_frontier"].sum() > 1 else ""
    absent = f"; without one of the two here or there: {', '.join(missing)}" if missing else ""
    return plain(f"bars: 95 % intervals, n = {numbers}{line}{absent}")


def _nothing(figure: Figure, ax: Axes, x: _Axis, y: _Axis) -> Figure:
    ax.set_axis_off()
    text = f"nothing to draw: no finished cell\nhas both {x.metric.name} and {y.metric.name}"
    ax.text(0.5, 0.5, text, ha="center", va="center", color=_GREY, transform=ax.transAxes)
    return figure


def _save(figure: Figure, points: pd.DataFrame, folder: Path, name: str) -> Files:
    files = Files(*(folder / f"{name}.{kind}" for kind in ("png", "svg", "csv")))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(files.png, metadata={"Software": None})
        figure.savefig(files.svg, metadata={"Date": None, "Creator": None})
        files.csv.write_text(csv(points), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the plot can not be written to {str(folder)!r}: {error.strerror or error}.") from error
    return files


def _cut(text: str, length: int) -> str:
    """Cut the middle out of a text that is too long: names differ at both ends."""
    left = (length - 1) // 2
    return text if len(text) <= length else f"{text[:left]}…{text[left + 1 - length :]}"

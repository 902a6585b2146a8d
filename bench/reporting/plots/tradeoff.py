"""Two metrics against each other: by default what edits install against what they break."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bench.records.metrics import Metric
from bench.records.summary import IDENTITY
from bench.reporting.labels import place_labels
from bench.reporting.plots.figure import Panel, axis_label, caption, counts, empty_drawing, new_figure, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.rows import measured_rows, undone
from bench.reporting.plots.scales import set_values
from bench.reporting.plots.scatter import draw_points, meet, names_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND"]

_PANEL = ("model", "parameters", "dataset", "split", "mode", "dtype", "device", "application")
_COLUMNS = 3  # panels beside each other


def draw(material: Material) -> Drawing:
    """Draw each method at its two metrics with both intervals, and the frontier of the best.

    One panel a model (and dataset, mode, dtype … where they differ), all with the same axes.
    """
    x, y = material.metrics
    rows = measured_rows(material)
    points = _with_frontier(meet(rows, x, y), x, y)
    parts = panels(points.assign(parameters=None), _PANEL, always=("model",)) if len(points) else []
    if not parts:
        return empty_drawing(f"no finished cell has both {x.name} and {y.name}.", points)
    figure, axes = new_figure(
        len(parts), columns=_COLUMNS, width=3.3 if len(parts) > 1 else 4.6, height=3.1, sharex=True, sharey=True
    )
    for place, (panel, ax) in enumerate(zip(parts, axes, strict=True)):
        _draw_panel(ax, panel, material, x, y)
        is_lowest = place + _COLUMNS >= len(parts)
        ax.tick_params(labelbottom=is_lowest, labelleft=place % _COLUMNS == 0)
        if is_lowest:
            ax.set_xlabel(axis_label(x), parse_math=False)
    for side, metric in (("x", x), ("y", y)):
        ends = points[[f"{end}_{side}" for end in ("mean", "ci_low", "ci_high")]].astype("float64")
        set_values(axes[0], "x" if side == "x" else "y", ends.to_numpy().ravel(), metric.unit)
    figure.supylabel(axis_label(y), fontsize=9, parse_math=False)
    caption(figure, _sentences(material, points, rows))
    figure.draw_without_rendering()
    for panel, ax in zip(parts, axes, strict=True):
        place_labels(ax, names_of(panel.rows, material.looks), lines=_corners(panel.rows, x, y))
    return Drawing(figure, points)


KIND = Kind(
    name="tradeoff",
    says="two metrics against each other, with the frontier of methods that nothing beats on both",
    draw=draw,
    metrics=("drawdown", "success"),
    options=("x", "y"),
)


def _draw_panel(ax: Axes, panel: Panel, material: Material, x: Metric, y: Metric) -> None:
    corners = _corners(panel.rows, x, y)
    ax.plot([x for x, _ in corners], [y for _, y in corners], color="#AAAAAA", lw=0.8, zorder=1)
    draw_points(ax, panel.rows, material.looks)
    ax.set_title(panel.title, loc="left", parse_math=False)


def _with_frontier(points: pd.DataFrame, x: Metric, y: Metric) -> pd.DataFrame:
    frontier = pd.Series(False, index=points.index)
    for _, panel in points.groupby(list(_PANEL), sort=False, dropna=False):
        frontier[_frontier(panel, x, y)] = True
    return points.assign(is_frontier=frontier)


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


def _corners(panel: pd.DataFrame, x: Metric, y: Metric) -> list[tuple[float, float]]:
    """The frontier as steps: the best y that can be had for the x there, or a better one."""
    corners: list[tuple[float, float]] = []
    for place in _frontier(panel, x, y):
        here = (float(panel["mean_x"][place]), float(panel["mean_y"][place]))
        corners += [(here[0], corners[-1][1]), here] if corners else [here]
    return corners


def _sentences(material: Material, points: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    absent = _missing(material.tables.summary, points)
    drawn = rows.merge(points[list(IDENTITY)], on=list(IDENTITY))
    return [
        f"bars: 95 % intervals, {counts(drawn)}",
        "grey line: frontier" if points["is_frontier"].sum() > 1 else "",
        f"without one of the two here or there: {', '.join(absent)}" if absent else "",
        undone(material),
    ]


def _missing(summary: pd.DataFrame, points: pd.DataFrame) -> Sequence[str]:
    """Methods that lack one of the two metrics somewhere, in order."""
    drawn = set(points[list(IDENTITY)].astype("str").itertuples(index=False, name=None))
    groups = summary[list(IDENTITY)].drop_duplicates().astype("str").itertuples(index=False, name=None)
    absent = dict.fromkeys((str(group[0]), str(group[1])) for group in groups if group not in drawn)
    return [name if config == "default" else f"{name}[{config}]" for name, config in absent]

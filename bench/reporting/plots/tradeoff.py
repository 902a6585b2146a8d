"""Two metrics against each other: by default what edits install against what they break."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from bench.records.metrics import Metric
from bench.records.summary import IDENTITY
from bench.reporting.plots.figure import empty_drawing
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.published import about, published_points
from bench.reporting.plots.rows import measured_rows, undone
from bench.reporting.plots.scatter import PANEL, meet, scatter_figure
from bench.reporting.plots.wording import counts

__all__ = ["KIND"]


def draw(material: Material) -> Drawing:
    """Draw each method at its two metrics with both intervals, and the frontier of the best.

    What was published stands in panels of its own: it is of other models and data.
    """
    x, y = material.metrics
    rows = measured_rows(material)
    points = meet(rows, x, y)
    if not len(points):
        return empty_drawing(f"no finished cell has both {x.name} and {y.name}.", points.assign(is_frontier=False))
    sentences = _sentences(material, points, rows)
    published = published_points(material, x, y)
    if len(published):
        both = [points.assign(is_published=False), published.assign(is_published=True)]
        points = pd.concat(both, ignore_index=True)
        sentences.append(about(published))
    points = _with_frontier(points, x, y)
    if points["is_frontier"].sum() > 1:
        sentences.insert(1, "grey line: frontier")
    figure = scatter_figure(points, (x, y), material, sentences, partial(_corners, x=x, y=y))
    return Drawing(figure, points)


KIND = Kind(
    name="tradeoff",
    says="two metrics against each other, with the frontier of methods that nothing beats on both",
    draw=draw,
    metrics=("drawdown", "success"),
    options=("x", "y"),
)


def _with_frontier(points: pd.DataFrame, x: Metric, y: Metric) -> pd.DataFrame:
    frontier = pd.Series(False, index=points.index)
    for _, panel in points.groupby(list(PANEL), sort=False, dropna=False):
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
        f"without one of the two here or there: {', '.join(absent)}" if absent else "",
        material.settings,
        undone(material),
    ]


def _missing(summary: pd.DataFrame, points: pd.DataFrame) -> Sequence[str]:
    """Methods that lack one of the two metrics somewhere, in order."""
    drawn = set(points[list(IDENTITY)].astype("str").itertuples(index=False, name=None))
    groups = summary[list(IDENTITY)].drop_duplicates().astype("str").itertuples(index=False, name=None)
    absent = dict.fromkeys((str(group[0]), str(group[1])) for group in groups if group not in drawn)
    return [name if config == "default" else f"{name}[{config}]" for name, config in absent]

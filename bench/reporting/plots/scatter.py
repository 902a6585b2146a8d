"""Points with an interval on each axis, and their names."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.records.metrics import Metric
from bench.records.summary import IDENTITY
from bench.reporting.labels import Label
from bench.reporting.plots.figure import label_of
from bench.reporting.style import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_points", "meet", "names_of"]

_NUMBERS = ["mean", "ci_low", "ci_high", "n"]


def meet(rows: pd.DataFrame, x: Metric, y: Metric) -> pd.DataFrame:
    """Give a row a method and group that has both metrics: `mean_x`, `ci_low_x` … `n_y`.

    Args:
        rows: of the summary.
        x: metric of the horizontal axis.
        y: of the vertical one.
    """
    sides = []
    for metric, suffix in ((x, "_x"), (y, "_y")):
        side = rows.loc[rows["metric"] == metric.name, [*IDENTITY, "seeds", *_NUMBERS]]
        sides.append(side.rename(columns={name: f"{name}{suffix}" for name in _NUMBERS}))
    points = sides[0].merge(sides[1], on=[*IDENTITY, "seeds"], how="inner")
    points.insert(0, "y", y.name)
    points.insert(0, "x", x.name)
    return points


def draw_points(ax: Axes, points: pd.DataFrame, looks: Mapping[tuple[str, str], Look]) -> None:
    """Draw each point with its two intervals.

    Args:
        ax: where.
        points: what `meet` gives; a column `size` is the diameter of the marker in points.
        looks: of all methods.
    """
    for point in points.to_dict("records"):
        look = looks[str(point["method"]), str(point["config"])]
        ax.errorbar(
            [point["mean_x"]],
            [point["mean_y"]],
            xerr=_bar(point, "_x"),
            yerr=_bar(point, "_y"),
            fmt=look.marker,
            color=look.colour,
            markersize=float(point.get("size", 6)),
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1,
            zorder=3,
        )


def names_of(points: pd.DataFrame, looks: Mapping[tuple[str, str], Look]) -> list[Label]:
    """Give the names of points, to be placed beside them; a column `note` stands below the name."""
    labels = []
    for point in points.to_dict("records"):
        name = label_of(str(point["method"]), str(point["config"]))
        labels.append(
            Label(
                text=f"{name}\n{point['note']}" if point.get("note") else name,
                x=float(point["mean_x"]),
                y=float(point["mean_y"]),
                x_bar=_ends(point, "_x"),
                y_bar=_ends(point, "_y"),
                colour=looks[str(point["method"]), str(point["config"])].ink,
            )
        )
    return labels


def _bar(point: Mapping[Hashable, Any], side: str) -> list[list[float]] | None:
    mean, low, high = (float(point[f"{end}{side}"]) for end in ("mean", "ci_low", "ci_high"))
    if math.isnan(low) or math.isnan(high):
        return None
    return [[max(0.0, mean - low)], [max(0.0, high - mean)]]


def _ends(point: Mapping[Hashable, Any], side: str) -> tuple[float, float]:
    low, high, mean = (float(point[f"{end}{side}"]) for end in ("ci_low", "ci_high", "mean"))
    return (mean, mean) if math.isnan(low) or math.isnan(high) else (low, high)

"""Panels of points with an interval on each axis, each with its name beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.records.metrics import Metric
from bench.records.summary import IDENTITY
from bench.reporting.labels import Label, place_labels
from bench.reporting.plots.figure import Panel, caption, new_figure, panels
from bench.reporting.plots.kind import Material
from bench.reporting.plots.scales import Side, set_values, short
from bench.reporting.plots.wording import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PANEL", "meet", "scatter_figure"]

PANEL = ("model", "parameters", "dataset", "split", "mode", "dtype", "device", "application")
_COLUMNS = 3  # panels beside each other
_SQUARE = 4  # so many panels are better two by two
_SIZE = 6.0  # of a marker, points
_SIDES: tuple[Side, Side] = ("x", "y")
_BELOW: Mapping[Side, str] = {"x": "◀", "y": "▼"}  # stands before a value that is too small for its axis

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


def scatter_figure(
    points: pd.DataFrame,
    axes_of: tuple[Metric, Metric],
    material: Material,
    sentences: Sequence[str],
    corners: Callable[[pd.DataFrame], list[tuple[float, float]]] | None = None,
) -> Figure:
    """Draw a panel a model (and dataset, mode, dtype … where they differ), all with the same axes.

    Args:
        points: what `meet` gives, ≥ 1; may have `size`, the diameter of the marker in points, `note`, a line below
            the name, and `is_published`, for open markers in panels of their own.
        axes_of: metrics of the horizontal and the vertical axis.
        material: of the figure.
        sentences: of the caption.
        corners: gives the corners of a grey line through the points of a panel.
    """
    parts = panels(points.assign(parameters=None), PANEL, always=("model",))
    columns = 2 if len(parts) == _SQUARE else _COLUMNS
    figure, axes = new_figure(
        len(parts), columns=columns, width=3.3 if len(parts) > 1 else 4.6, height=3.1, sharex=True, sharey=True
    )
    for side, metric in zip(_SIDES, axes_of, strict=True):
        ends = points[[f"{end}_{side}" for end in ("mean", "ci_low", "ci_high")]].astype("float64")
        floor = set_values(axes[0], side, ends.to_numpy().ravel(), metric.unit)
        parts = [Panel(part.title, _lifted(part.rows, side, floor, metric)) for part in parts]
    for place, (panel, ax) in enumerate(zip(parts, axes, strict=True)):
        line = corners(panel.rows) if corners is not None else []
        ax.plot([x for x, _ in line], [y for _, y in line], color="#AAAAAA", lw=0.8, zorder=1)
        _draw_points(ax, panel.rows, material)
        ax.set_title(panel.title, loc="left", parse_math=False)
        is_lowest = place + columns >= len(parts)
        ax.tick_params(labelbottom=is_lowest, labelleft=place % columns == 0)
        if is_lowest:
            ax.set_xlabel(axis_label(axes_of[0]), parse_math=False)
    figure.supylabel(axis_label(axes_of[1]), fontsize=9, parse_math=False)
    caption(figure, sentences)
    figure.draw_without_rendering()
    for panel, ax in zip(parts, axes, strict=True):
        line = corners(panel.rows) if corners is not None else []
        place_labels(ax, _names(panel.rows, material), lines=line)
    return figure


def _lifted(points: pd.DataFrame, side: Side, floor: float | None, metric: Metric) -> pd.DataFrame:
    """Put points that are too small for an axis at its edge, with their value in `note`."""
    mean = points[f"mean_{side}"].astype("float64")
    is_small = mean < (-math.inf if floor is None else floor)
    points = points.assign(note=points.get("note", ""))
    values = [f"{_BELOW[side]} {short(value, metric.unit)}" for value in mean[is_small]]
    notes = points.loc[is_small, "note"]
    points.loc[is_small, "note"] = [f"{value}\n{note}".strip() for value, note in zip(values, notes, strict=True)]
    points.loc[is_small, [f"ci_low_{side}", f"ci_high_{side}"]] = math.nan
    points[f"mean_{side}"] = mean.where(~is_small, floor)
    return points


def _draw_points(ax: Axes, points: pd.DataFrame, material: Material) -> None:
    for point in points.to_dict("records"):
        look = material.looks[str(point["method"]), str(point["config"])]
        is_open = bool(point.get("is_published", False))
        ax.errorbar(
            [point["mean_x"]],
            [point["mean_y"]],
            xerr=_bar(point, "_x"),
            yerr=_bar(point, "_y"),
            fmt=look.marker,
            color=look.colour,
            markersize=float(point.get("size", _SIZE)),
            markerfacecolor="white" if is_open else look.colour,
            markeredgecolor=look.colour if is_open else "white",
            markeredgewidth=1.0 if is_open else 0.6,
            elinewidth=1,
            zorder=3,
        )


def _names(points: pd.DataFrame, material: Material) -> list[Label]:
    labels = []
    for point in points.to_dict("records"):
        key = (str(point["method"]), str(point["config"]))
        name = material.labels[key]
        labels.append(
            Label(
                text=f"{name}\n{point['note']}" if point.get("note") else name,
                x=float(point["mean_x"]),
                y=float(point["mean_y"]),
                x_bar=_ends(point, "_x"),
                y_bar=_ends(point, "_y"),
                colour=material.looks[key].ink,
                radius=float(point.get("size", _SIZE)) / 2 + 1.5,
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

"""A metric of every method on every model, as a coloured table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.records.metrics import Metric
from bench.records.status import Status
from bench.reporting.formats import plain
from bench.reporting.numbers import amount, quantity
from bench.reporting.plots.figure import Panel, caption, empty_drawing, new_figure, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.rows import measured_rows, tuples, undone
from bench.reporting.plots.scales import is_log
from bench.reporting.plots.wording import counts, cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND"]

_GROUP = ("dataset", "split", "mode", "dtype", "device", "application")
_COLOURS = "cividis"  # Nuñez et al. 2018 (doi:10.1371/journal.pone.0199239): the same to the colour-blind
_DARK = 0.55  # of the scale: text is white below it
_CELL = (1.15, 0.42)  # inches
_AROUND = (1.9, 1.0)  # inches beside and below the cells
_NAME = 22  # characters


def draw(material: Material) -> Drawing:
    """Draw a panel a metric and data, methods down and models across by size, each number in its cell."""
    rows = measured_rows(material)
    if not len(rows):
        names = " or ".join(metric.name for metric in material.metrics)
        return empty_drawing(f"no finished cell has {names}.", rows)
    metrics = {metric.name: metric for metric in material.metrics}
    parts = [
        (metrics[str(name)], group) for name, own in rows.groupby("metric", sort=False) for group in panels(own, _GROUP)
    ]
    parts.sort(key=lambda part: list(metrics).index(part[0].name))
    methods = list(dict.fromkeys(zip(rows["method"], rows["config"], strict=True)))
    models = rows.drop_duplicates("model").sort_values("parameters", kind="stable")
    width = _AROUND[0] + _CELL[0] * len(models)
    height = _AROUND[1] + _CELL[1] * len(methods)
    figure, axes = new_figure(len(parts), columns=2, width=max(3.3, width), height=height)
    for ax, (metric, group) in zip(axes, parts, strict=True):
        _draw_panel(ax, group, metric, material, methods, models)
    told = ["brighter is better", f"numbers: mean ± half the 95 % interval, {counts(rows)}"]
    caption(figure, [*told, material.settings, undone(material)])
    return Drawing(figure, rows)


KIND = Kind(
    name="heat",
    says="a metric of each method on each model, as a coloured table",
    draw=draw,
    metrics=("success", "drawdown"),
    options=("metrics",),
)


def _draw_panel(
    ax: Axes, panel: Panel, metric: Metric, material: Material, methods: list[tuple[str, str]], models: pd.DataFrame
) -> None:
    means = np.full((len(methods), len(models)), np.nan)
    names = list(models["model"])
    for row in tuples(panel.rows):
        place = methods.index((row.method, row.config)), names.index(row.model)
        means[place] = row.mean
        text = quantity(float(row.mean), metric.unit, float(row.ci_low), float(row.ci_high)).replace(" ±", "\n±")
        is_dark = _share(means[place], panel.rows["mean"], metric) < _DARK
        _write(ax, place, text, "white" if is_dark else "#222222")
    shares = np.vectorize(lambda mean: _share(mean, panel.rows["mean"], metric))(means)
    edges = [np.arange(count + 1) - 0.5 for count in (len(models), len(methods))]
    ax.pcolormesh(*edges, np.ma.masked_invalid(shares), cmap=_COLOURS, vmin=0, vmax=1, edgecolors="white", lw=1.5)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    for place in zip(*np.nonzero(np.isnan(means)), strict=True):
        _write(ax, place, _status(material.tables.cells, methods[place[0]], names[place[1]]), "#666666")
    ax.grid(visible=False)
    ax.set_xticks(range(len(names)), [_model(row) for row in tuples(models)], parse_math=False)
    labels = [material.labels[method].replace("\n", " ") for method in methods]
    ax.set_yticks(range(len(methods)), [cut(label, _NAME) for label in labels], parse_math=False)
    ax.tick_params(length=0, labelsize=8)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    arrow = {"higher": ", higher is better", "lower": ", lower is better", "none": ""}[metric.better]
    title = f"{metric.name}{arrow}" + (f"\n{panel.title}" if panel.title else "")
    ax.set_title(title, loc="left", fontsize=9, parse_math=False)


def _write(ax: Axes, place: tuple[Any, ...], text: str, colour: str) -> None:
    ax.text(place[1], place[0], _lines(text), ha="center", va="center", color=colour, fontsize=7, parse_math=False)


def _lines(text: str) -> str:
    """Show control characters, but keep line ends."""
    return "\n".join(plain(line) for line in text.split("\n"))


def _share(mean: float, means: pd.Series, metric: Metric) -> float:
    """Where a value is between the worst (0) and the best (1) of its panel; durations and sizes by their logarithm."""
    values = means.to_numpy(np.float64)
    if math.isnan(mean):
        return math.nan
    numbers: npt.NDArray[np.float64] = np.append(values, mean)
    if is_log(metric.unit):
        numbers = np.log(np.maximum(numbers, np.finfo(np.float64).tiny))
    low, high = numbers.min(), numbers.max()
    share = 0.5 if high == low else (numbers[-1] - low) / (high - low)
    return float(1 - share if metric.better == "lower" else share)


def _model(row: Any) -> str:
    name = plain(cut(str(row.model).rpartition("/")[2], 16))
    return name if pd.isna(row.parameters) else f"{name}\n{amount(float(row.parameters))}"


def _status(cells: pd.DataFrame, method: tuple[str, str], model: str) -> str:
    """Why a cell of the table has no number: the status, or a dash where nothing was to be done."""
    own = cells[(cells["method"] == method[0]) & (cells["config"] == method[1]) & (cells["model"] == model)]
    missing = own.loc[own["status"] != Status.DONE, "status"] if "status" in own else own.iloc[:0]
    return str(missing.iloc[0]) if len(missing) else "–"

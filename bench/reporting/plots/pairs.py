"""Differences between methods on the same edits, with intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bench.records.aggregate import Floats
from bench.records.metrics import Metric
from bench.records.statistics import Interval, estimate
from bench.records.status import Status
from bench.reporting.plots.figure import Panel, caption, empty_drawing, new_figure, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.rows import tuples, undone
from bench.reporting.plots.wording import cut
from bench.reporting.style import WHOLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND"]

# What has to agree for two groups of cells to be about the same edits.
_SAME = ("model", "parameters", "dataset", "split", "edits", "mode", "dtype", "device", "application")
_SAME_DATA = ("model_digest", "dataset_digest", "dataset_config", "known_only", "chat", "protocol_version")
_MOST = 15  # pairs in a panel; of more methods only those with the best one are drawn
_SEED = 0  # of the resampling
_SURE, _UNSURE = "#1B4F72", "#9A9A9A"
_ROW, _CHARACTER = 0.24, 0.066  # inches: of a pair; of a character of its name
_OTHER = "other: "  # stands before the parts of the second of a pair
_NAME = 28  # characters
_COLUMNS = ("metric", "first", "second", "mean", "ci_low", "ci_high", "n")


class _Method(NamedTuple):
    """The score rows of one method and configuration; `cell` is the seed."""

    name: str
    label: str  # with the whole configuration
    rows: pd.DataFrame


def draw(material: Material) -> Drawing:
    """Draw first − second of each pair of methods, a row a pair, a panel a metric and data."""
    rows = _differences(material)
    if not len(rows):
        names = " or ".join(metric.name for metric in material.metrics)
        return empty_drawing(f"no two methods have {names} on the same edits.", rows)
    same = [name for name in (*_SAME, *_SAME_DATA) if name in rows]
    groups = panels(rows, same, silent=("parameters", "edits", *_SAME_DATA))
    metrics = [metric for metric in material.metrics if (rows["metric"] == metric.name).any()]
    most = max(int(group.rows.groupby("metric").size().max()) for group in groups)
    longest = max(len(_pair(row)) for row in tuples(rows))
    figure, axes = new_figure(
        len(groups) * len(metrics),
        columns=len(metrics),
        width=2.6 + _CHARACTER * longest / len(metrics),
        height=max(1.6, 0.9 + _ROW * most),
    )
    for place, (ax, (group, metric)) in enumerate(zip(axes, itertools.product(groups, metrics), strict=True)):
        _draw_panel(ax, group, metric, has_names=place % len(metrics) == 0)
    told = [
        f"first − second on the same edits, 95 % intervals, not adjusted for the number of pairs, {_n(rows)}",
        "grey: the interval holds 0",
        f"of more than {_MOST} pairs those with the best method" if most < _pairs(rows) else "",
    ]
    caption(figure, [*told, material.settings, undone(material)])
    return Drawing(figure, rows.drop(columns="pairs"))


KIND = Kind(
    name="pairs",
    says="differences between methods on the same edits, with intervals",
    draw=draw,
    metrics=("success", "drawdown"),
    options=("metrics",),
)


def _differences(material: Material) -> pd.DataFrame:
    """A row a metric and pair, with what both have in common."""
    cells = material.tables.cells
    done = cells[cells["status"] == Status.DONE] if "status" in cells else cells.iloc[:0]
    same = [name for name in (*_SAME, *_SAME_DATA) if name in done]
    found: list[dict[str, Any]] = []
    parts = {part for metric in material.metrics for part in metric.parts}
    scores = material.tables.scores
    rows_of = {str(cell): rows for cell, rows in scores[scores["metric"].isin(parts)].groupby("cell", sort=False)}
    done = done[done["key"].isin(rows_of)] if len(done) else done
    texts = done[same].astype("str")
    for _, members in done.groupby([texts[name] for name in same], sort=False) if len(done) else ():
        methods = _methods(members, material, rows_of)
        common = {name: members[name].iloc[0] for name in same}
        pairs = _chosen(methods, material.metrics[0])
        for metric in material.metrics:
            for first, second in pairs:
                difference = _difference(first, second, metric)
                if difference is not None and math.isfinite(difference.mean):
                    numbers = dict(zip(_COLUMNS[3:], difference, strict=True))
                    names = {"metric": metric.name, "first": first.name, "second": second.name}
                    names |= {"first_label": first.label, "second_label": second.label}
                    found.append({**common, **names, **numbers, "pairs": math.comb(len(methods), 2)})
    return pd.DataFrame(found, columns=None if found else [*same, *_COLUMNS])


def _methods(members: pd.DataFrame, material: Material, rows_of: Mapping[str, pd.DataFrame]) -> list[_Method]:
    """The methods of one group; a configuration is in the name only where the method has several here."""
    configs = members.drop_duplicates(["method", "config"])["method"].astype("str").tolist()
    found = []
    for (method, config), own in members.groupby(["method", "config"], sort=False):
        label = material.labels[str(method), str(config) if configs.count(str(method)) > 1 else WHOLE]
        # A seed draws the same groups for all methods, so cells of one seed go together.
        rows = [rows_of[key].assign(cell=str(seed)) for key, seed in zip(own["key"], own["seed"], strict=True)]
        found.append(_Method(label.replace("\n", " "), str(own["label"].iloc[0]), pd.concat(rows, ignore_index=True)))
    return found


def _chosen(methods: Sequence[_Method], metric: Metric) -> list[tuple[_Method, _Method]]:
    """All pairs, or those of the best method if there are too many."""
    pairs = list(itertools.combinations(methods, 2))
    if len(pairs) <= _MOST:
        return pairs
    goodness = [_goodness(method, metric) for method in methods]
    best = methods[max(range(len(methods)), key=goodness.__getitem__)]
    return [(best, other) for other in methods if other is not best]


def _goodness(method: _Method, metric: Metric) -> float:
    rows = method.rows[method.rows["metric"] == metric.parts[0]]
    if not len(rows):
        return -math.inf
    mean = float(rows["value"].sum() / rows["weight"].sum())
    return -mean if metric.better == "lower" else mean


def _difference(first: _Method, second: _Method, metric: Metric) -> Interval | None:
    """The metric of one less that of another, over the edits that both have; None without any.

    The two sets of rows become one, with parts of two names, so that the same edits, or groups of edits, are
    resampled in both.
    """
    mine, other = (method.rows[method.rows["metric"].isin(metric.parts)] for method in (first, second))
    if not len(mine) or not len(other):
        return None
    both = pd.concat([mine, other.assign(metric=_OTHER + other["metric"].astype("str"))], ignore_index=True)
    return estimate(both, _less(metric), seed=_SEED)


def _less(metric: Metric) -> Metric:
    """The metric of `first − second`."""
    count = len(metric.parts)
    low, high = metric.range

    def difference(values: Floats, weights: Floats) -> Any:
        return metric.aggregate(values[:count], weights[:count]) - metric.aggregate(values[count:], weights[count:])

    return Metric(
        name=metric.name,
        formula=f"{metric.formula}, first less second",
        unit=metric.unit,
        range=(low - high, high - low),
        better=metric.better,
        source=metric.source,
        parts=(*metric.parts, *(f"{_OTHER}{part}" for part in metric.parts)),
        aggregate=difference,
        when=metric.when,
    )


def _draw_panel(ax: Axes, group: Panel, metric: Metric, *, has_names: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(_pair(row) for row in tuples(group.rows)))
    ax.axvline(0, color="#333333", lw=0.8, zorder=1)
    for row in tuples(group.rows[group.rows["metric"] == metric.name]):
        y = names.index(_pair(row))
        colour = _SURE if row.ci_low > 0 or row.ci_high < 0 else _UNSURE
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4, zorder=2)
        ax.plot([row.mean], [y], "o", color=colour, ms=5, mec="white", mew=0.6, zorder=3)
    ax.set_yticks(range(len(names)), names if has_names else [""] * len(names), fontsize=8, parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    arrow = {"higher": " (first better →)", "lower": " (← first better)", "none": ""}[metric.better]
    ax.set_xlabel(f"{metric.name}: difference{arrow}", parse_math=False)
    ax.set_title(group.title, loc="left", parse_math=False)


def _pair(row: Any) -> str:
    return f"{cut(str(row.first), _NAME)} − {cut(str(row.second), _NAME)}"


def _n(rows: pd.DataFrame) -> str:
    ends = dict.fromkeys([f"{int(rows['n'].min()):,}", f"{int(rows['n'].max()):,}"])
    return f"n = {'–'.join(ends)}"


def _pairs(rows: pd.DataFrame) -> int:
    return int(rows["pairs"].max())

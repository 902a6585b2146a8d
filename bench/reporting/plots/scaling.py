"""How metrics and costs change with the size of the model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.records.metrics import Metric
from bench.reporting.numbers import amount
from bench.reporting.plots.figure import caption, counts, empty_drawing, new_figure, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import Places, Series, draw_lines, lines_of_labels, name_ends, series_of
from bench.reporting.plots.rows import joined, measured_rows, undone

__all__ = ["KIND"]

_GROUP = ("model_kind", "dataset", "split", "mode", "dtype", "device", "application")


def draw(material: Material) -> Drawing:
    """Draw a panel a metric, parameters to the right; kinds of model and data are rows of panels."""
    rows = measured_rows(material)
    rows = rows[rows["parameters"].notna()]
    rows = rows.assign(x=rows["parameters"].astype("float64"))
    sizes = rows.groupby(list(_GROUP), sort=False, dropna=False)["x"].transform("nunique")
    drawn, alone = rows[sizes > 1], rows[sizes == 1]
    if not len(drawn):
        return empty_drawing(_reason(rows, material.metrics), rows)
    groups = panels(drawn, _GROUP)
    parts = [
        (group.title, metric, series_of(group.rows[group.rows["metric"] == metric.name], material.looks))
        for group in groups
        for metric in material.metrics
    ]
    parts = [part for part in parts if part[2]]
    figure, axes = new_figure(
        len(parts),
        columns=_columns(len(groups), len(material.metrics)),
        width=3.5,
        height=max(2.5, 0.17 * max(lines_of_labels(series) for _, _, series in parts)),
    )
    places = Places(values=sorted(set(drawn["x"])), shown=amount, label="parameters")
    names = []
    for ax, (title, metric, series) in zip(axes, parts, strict=True):
        ax.set_title(title, loc="left", parse_math=False)
        names.append(draw_lines(ax, series, metric, places))
    caption(figure, _sentences(material, drawn, alone, [series for _, _, series in parts]))
    figure.draw_without_rendering()
    for ax, own in zip(axes, names, strict=True):
        name_ends(ax, own)
    return Drawing(figure, drawn)


KIND = Kind(
    name="scaling",
    says="metrics and costs against the number of parameters, a panel a metric",
    draw=draw,
    metrics=("success", "drawdown", "edit_seconds", "fit_seconds"),
    options=("metrics",),
)


def _columns(groups: int, metrics: int) -> int:
    """Panels beside each other: the metrics of a group in one line, four of a single group in two."""
    return metrics if metrics <= 3 or (groups > 1 and metrics == 4) else 2 if metrics == 4 else 3


def _reason(rows: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    if not len(rows):
        return f"no finished cell has {' or '.join(metric.name for metric in metrics)}."
    models = rows.drop_duplicates("model")
    found = ", ".join(f"{row.model} ({amount(row.x)})" for row in models.itertuples())
    return f"scaling needs two sizes of model on the same data; there is {found}."


def _sentences(
    material: Material, drawn: pd.DataFrame, alone: pd.DataFrame, series: Sequence[Sequence[Series]]
) -> list[str]:
    models = drawn.drop_duplicates("model").sort_values("x", kind="stable")
    names = ", ".join(f"{row.model} {amount(row.x)}" for row in models.itertuples())
    return [
        f"models: {names}",
        f"bars: 95 % intervals, {counts(drawn)}",
        joined(series),
        "" if alone.empty else f"of one size only, left out: {', '.join(dict.fromkeys(alone['model']))}",
        undone(material),
    ]

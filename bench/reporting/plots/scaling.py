"""How metrics and costs change with the size of the model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.records.metrics import Metric
from bench.reporting.numbers import amount
from bench.reporting.plots.figure import empty_drawing, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import Part, Places, Series, line_figure, series_of
from bench.reporting.plots.published import note, published_rows, with_published
from bench.reporting.plots.rows import joined, measured_rows, tuples, undone
from bench.reporting.plots.wording import counts

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
        Part(group.title, metric, lines)
        for group in groups
        for metric in material.metrics
        if (lines := _lines(group.rows, metric, material))
    ]
    drawn = with_published(drawn, parts)
    figure = line_figure(
        parts,
        Places(values=sorted(set(drawn["x"])), shown=amount, label="parameters"),
        columns=_columns(len(groups), len(material.metrics)),
        sentences=_sentences(material, rows[sizes > 1], alone, parts),
    )
    return Drawing(figure, drawn)


KIND = Kind(
    name="scaling",
    says="metrics and costs against the number of parameters, a panel a metric",
    draw=draw,
    metrics=("success", "drawdown", "edit_seconds", "fit_seconds"),
    options=("metrics",),
)


def _lines(rows: pd.DataFrame, metric: Metric, material: Material) -> list[Series]:
    measured = series_of(rows[rows["metric"] == metric.name], material)
    found = published_rows(material, metric, kind=str(rows["model_kind"].iloc[0]))
    found = found[found["edits"] == 1].assign(x=found["parameters"])
    return measured + series_of(found.drop_duplicates(["method", "config", "x"]), material, is_published=True)


def _columns(groups: int, metrics: int) -> int:
    """Panels beside each other: the metrics of a group in one line, four of a single group in two."""
    return metrics if metrics <= 3 or (groups > 1 and metrics == 4) else 2 if metrics == 4 else 3


def _reason(rows: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    if not len(rows):
        return f"no finished cell has {' or '.join(metric.name for metric in metrics)}."
    models = rows.drop_duplicates("model")
    found = ", ".join(f"{row.model} ({amount(row.x)})" for row in tuples(models))
    return f"scaling needs two sizes of model on the same data; there is {found}."


def _sentences(material: Material, drawn: pd.DataFrame, alone: pd.DataFrame, parts: Sequence[Part]) -> list[str]:
    models = drawn.drop_duplicates("model").sort_values("x", kind="stable")
    names = ", ".join(f"{row.model} {amount(row.x)}" for row in tuples(models))
    return [
        f"models: {names}",
        f"bars: 95 % intervals, {counts(drawn)}",
        joined(parts),
        "" if alone.empty else f"of one size only, left out: {', '.join(dict.fromkeys(alone['model']))}",
        material.settings,
        undone(material),
        note(parts),
    ]

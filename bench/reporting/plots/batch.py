"""How metrics change with the number of requests that one edit installs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.records.metrics import Metric
from bench.records.mode import parse_mode
from bench.reporting.plots.figure import empty_drawing, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import Part, Places, Series, line_figure, series_of
from bench.reporting.plots.published import note, published_rows, with_published
from bench.reporting.plots.rows import joined, measured_rows, tuples, undone
from bench.reporting.plots.wording import counts

__all__ = ["KIND"]

_GROUP = ("model", "model_kind", "dataset", "split", "dtype", "device", "application")
_LOG_FROM = 8  # of the largest to the smallest number


def draw(material: Material) -> Drawing:
    """Draw a panel a metric, requests installed at once to the right; models and data are rows of panels."""
    rows = measured_rows(material)
    modes = {mode: parse_mode(mode) for mode in dict.fromkeys(rows["mode"])}
    is_sequential = [mode for mode, parsed in modes.items() if parsed.is_sequential]
    rows = rows[~rows["mode"].isin(is_sequential)]
    rows = rows.assign(x=[float(modes[mode].at_once) for mode in rows["mode"]])
    sizes = rows.groupby(list(_GROUP), sort=False, dropna=False)["x"].transform("nunique")
    drawn = rows[sizes > 1]
    if not len(drawn):
        return empty_drawing(_reason(rows, material.metrics), rows)
    groups = panels(drawn, _GROUP)
    parts = [
        Part(group.title, metric, lines)
        for group in groups
        for metric in material.metrics
        if (lines := _lines(group.rows, metric, material))
    ]
    models = ", ".join(dict.fromkeys(f"{row.model} on {row.dataset}" for row in tuples(drawn)))
    sentences = [models, f"bars: 95 % intervals over groups, or single edits, {counts(drawn)}", joined(parts)]
    drawn = with_published(drawn, parts)
    values = sorted(set(drawn["x"]))
    figure = line_figure(
        parts,
        Places(
            values=values, shown="{:,.0f}".format, label="edits at once", is_log=values[-1] >= _LOG_FROM * values[0]
        ),
        columns=min(3, len(material.metrics)) if len(material.metrics) != 4 else 2,
        sentences=[*sentences, material.settings, undone(material), note(parts)],
    )
    return Drawing(figure, drawn)


KIND = Kind(
    name="batch",
    says="metrics against the number of requests that one edit installs, a panel a metric",
    draw=draw,
    metrics=("success", "drawdown"),
    options=("metrics",),
)


def _lines(rows: pd.DataFrame, metric: Metric, material: Material) -> list[Series]:
    measured = series_of(rows[rows["metric"] == metric.name], material)
    found = published_rows(material, metric, kind=str(rows["model_kind"].iloc[0]))
    several = found.groupby(["source", "table", "method", "config"], sort=False)["edits"].transform("nunique") > 1
    found = found[several].assign(x=found["edits"].astype("float64"))
    return measured + series_of(found, material, is_published=True)


def _reason(rows: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    if not len(rows):
        return f"no finished cell of single or batch mode has {' or '.join(metric.name for metric in metrics)}."
    return (
        f"batch needs two modes of one model and its data, as --mode single,batch:5; there is {rows['mode'].iloc[0]}."
    )

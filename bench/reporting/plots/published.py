"""Published numbers, to be shown beside measured ones as open markers; they enter no mean and no interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.errors import StoreError, nearest
from bench.records.metrics import METRICS, Metric
from bench.reporting.plots.kind import Material
from bench.reporting.plots.lines import Part

__all__ = ["COLUMNS", "about", "note", "published_points", "published_rows", "read", "with_published"]

# `kind` is that of the model; `edits` how many one change installed; `bound` is `<` or `>` where only that is given.
COLUMNS = (
    *("source", "table", "model", "kind", "parameters", "data", "protocol"),
    *("method", "config", "edits", "metric", "value", "bound"),
)
_PUBLISHED = "published: "  # stands before the model in the title of a panel


def read(path: Path) -> pd.DataFrame:
    """Read published numbers.

    Args:
        path: a CSV with the columns of `COLUMNS`.

    Raises:
        StoreError: the file can not be read, lacks a column, or has a number that is none or an unknown metric.
    """
    try:
        rows = pd.read_csv(path, keep_default_na=False, dtype="str")
    except (OSError, ValueError) as error:
        raise StoreError(f"published numbers can not be read from {str(path)!r}: {error}.") from error
    for name in COLUMNS:
        if name not in rows:
            hint = nearest(name, map(str, rows.columns))
            raise StoreError(f"{str(path)!r} has no column {name!r}; it needs {', '.join(COLUMNS)}.{hint}")
    for name in dict.fromkeys(rows["metric"]):
        if name not in METRICS:
            raise StoreError(f"{str(path)!r} has the metric {name!r}, which is unknown.{nearest(name, METRICS)}")
    try:
        return rows.astype({"parameters": "float64", "edits": "int64", "value": "float64"})
    except ValueError as error:
        raise StoreError(f"{str(path)!r}: parameters, edits and value must be numbers; {error}.") from error


def published_rows(material: Material, metric: Metric, *, kind: str) -> pd.DataFrame:
    """Give the published numbers of a metric for one kind of model, in the columns of measured ones and their own."""
    found = material.beside
    if not len(found):
        return pd.DataFrame(columns=[*COLUMNS, "mean", "ci_low", "ci_high"])
    found = found[(found["metric"] == metric.name) & (found["kind"] == kind)]
    return found.assign(mean=found["value"], ci_low=float("nan"), ci_high=float("nan"))


def published_points(material: Material, x: Metric, y: Metric) -> pd.DataFrame:
    """Give a row a published method and model that has both metrics, as `scatter.meet` does for measured ones."""
    found = material.beside
    if not len(found):
        return pd.DataFrame()
    found = found[found["edits"] == 1].rename(columns={"data": "dataset"})
    keys = ["source", "table", "model", "parameters", "dataset", "protocol", "method", "config"]
    sides = [
        found.loc[found["metric"] == metric.name, [*keys, "value", "bound"]].rename(
            columns={"value": f"mean_{side}", "bound": f"bound_{side}"}
        )
        for side, metric in (("x", x), ("y", y))
    ]
    points = sides[0].merge(sides[1], on=keys).drop_duplicates(["model", "dataset", "method", "config"])
    ends = {f"{end}_{side}": float("nan") for side in "xy" for end in ("ci_low", "ci_high")}
    model = [f"{_PUBLISHED}{name}" for name in points["model"]]
    return points.assign(**ends, x=x.name, y=y.name, model=model)


def with_published(rows: pd.DataFrame, parts: Sequence[Part]) -> pd.DataFrame:
    """Put the published numbers that are drawn below the measured ones; `origin` tells them apart."""
    drawn = [one.rows for part in parts for one in part.series if one.is_published]
    if not drawn:
        return rows
    beside = pd.concat(drawn).drop_duplicates().rename(columns={"kind": "model_kind", "data": "dataset"})
    return pd.concat([rows.assign(origin="measured"), beside.assign(origin="published")], ignore_index=True)


def note(parts: Sequence[Part]) -> str:
    """Say what open markers are; empty where there are none."""
    return about(pd.concat([one.rows for part in parts for one in part.series if one.is_published] or [pd.DataFrame()]))


def about(rows: pd.DataFrame) -> str:
    """Say where some published numbers come from; empty for none."""
    if not len(rows):
        return ""
    places = [
        f"{source}, {', '.join(dict.fromkeys(own['table']))}" for source, own in rows.groupby("source", sort=False)
    ]
    models = rows["model"] + " on " + (rows["data"] if "data" in rows else rows["dataset"])
    names = ", ".join(name.removeprefix(_PUBLISHED) for name in dict.fromkeys(models))
    return f"open markers: published ({'; '.join(places)}: {names}), no intervals, another protocol: see CSV"

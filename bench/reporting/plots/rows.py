"""The rows that figures are drawn from, and sentences about those that are not there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from bench.records.status import Status
from bench.records.summary import IDENTITY
from bench.reporting.plots.kind import Material
from bench.reporting.plots.lines import Part
from bench.reporting.style import WHOLE

__all__ = ["joined", "measured_rows", "named", "tuples", "undone"]

_NUMBERS = ("seeds", "metric", "mean", "ci_low", "ci_high", "n")


def measured_rows(material: Material) -> pd.DataFrame:
    """Give the summary of the metrics that are drawn, with `model_kind`; without means that are not finite."""
    names = [metric.name for metric in material.metrics]
    summary = material.tables.summary
    rows = summary.loc[summary["metric"].isin(names), [*IDENTITY, *_NUMBERS]]
    rows = rows[rows["mean"].astype("float64").abs() < math.inf]
    cells = material.tables.cells
    kinds = dict(zip(cells["model"], cells["model_kind"], strict=True)) if "model_kind" in cells else {}
    rows.insert(list(rows.columns).index("model") + 1, "model_kind", rows["model"].map(kinds).fillna(""))
    return rows.reset_index(drop=True)


def joined(parts: Sequence[Part]) -> str:
    """Say of which methods the configuration differs along a line; empty for none."""
    methods = dict.fromkeys(one.method for part in parts for one in part.series if one.config == WHOLE)
    return f"the configuration differs along the line (see CSV): {', '.join(methods)}" if methods else ""


def tuples(rows: pd.DataFrame) -> Iterator[Any]:
    """Give the rows as named tuples; pandas knows no types of their columns."""
    return iter(rows.itertuples())


def named(row: Any) -> str:
    """The name of a row's method, with its configuration if that is not the default."""
    return str(row.method) if row.config == "default" else f"{row.method}[{row.config}]"


def undone(material: Material) -> str:
    """Say which cells have no result, and why; empty if all have."""
    cells = material.tables.cells
    if "status" not in cells:
        return ""
    missing = cells[cells["status"] != Status.DONE]
    told = dict.fromkeys(f"{row.label} on {row.model} ({row.status})" for row in tuples(missing))
    shown = list(told)[:4]
    more = f" and {len(told) - len(shown)} more" if len(told) > len(shown) else ""
    return f"without a result: {', '.join(shown)}{more}" if told else ""

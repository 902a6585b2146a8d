"""The wide table of a run: a row a group of cells, a column a metric, and why some have none."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from bench.records.metrics import Metric, choose
from bench.records.mode import parse_mode
from bench.records.run_data import RunData
from bench.records.schema import SUMMARY
from bench.records.status import Status
from bench.records.summary import IDENTITY
from bench.reporting.numbers import duration, quantity

__all__ = ["DEFAULT_METRICS", "Column", "Row", "Table", "Value", "build"]

DEFAULT_METRICS = (
    "success_request",
    "success_rephrase",
    "drawdown",
    "edit_seconds",
    "fit_seconds",
    "peak_memory_bytes",
)

_OF_SEQUENCES = ("perplexity_ratio", "weight_change", "edits_until_collapse")  # where there are any

_ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
# Shown only where they differ between rows; the other columns are always there.
_WHERE_VARIED = ("split", "dtype", "device", "application", "seeds")
_UNKNOWN = "–"


class Value(NamedTuple):
    """A metric of a row; NaN bounds: no interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: a text of the row (`metric` is None) or a metric."""

    name: str
    metric: Metric | None = None

    @property
    def title(self) -> str:
        """The header, with an arrow to where a metric is better."""
        return self.name if self.metric is None else f"{self.name}{_ARROWS[self.metric.better]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A group of cells that differ only in seed."""

    texts: dict[str, str]
    values: dict[str, Value]
    seconds: float

    def text(self, column: Column) -> str:
        """What stands in the column, unescaped."""
        if column.metric is None:
            return self.texts[column.name]
        value = self.values.get(column.name)
        return _UNKNOWN if value is None else quantity(value.mean, column.metric.unit, value.low, value.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns in the fixed order method, model, dataset, mode, status, metrics, n, time; rows; notes."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """Give the table as numbers: a metric is four columns: itself, `_low`, `_high` and `_n`."""
        frame = pd.DataFrame([self._flat(row) for row in self.rows], columns=self._names())
        return frame.astype({name: "Int64" for name in frame.columns if name.endswith("_n")})

    def _names(self) -> list[str]:
        names: list[str] = []
        for column in self.columns:
            ends = ("", "_low", "_high", "_n") if column.metric is not None else ("",)
            names += [f"{column.name}{end}" for end in ends]
        return [name for name in names if name not in ("n", "time")] + ["seconds"]

    def _flat(self, row: Row) -> dict[str, object]:
        flat: dict[str, object] = {**row.texts, "seconds": row.seconds}
        for name, value in row.values.items():
            flat |= {
                name: value.mean,
                f"{name}_low": value.low,
                f"{name}_high": value.high,
                f"{name}_n": value.n,
            }
        return flat


def build(run: RunData, metrics: Sequence[str] = ()) -> Table:
    """Make the wide table of a run.

    Args:
        run: what `bench.load` gives.
        metrics: names of the metric columns, in order; none: the default ones, and what is of use for sequences if
            there are any.

    Raises:
        UnknownPlugin: there is no metric of one of these names.
    """
    cells = run.cells
    chosen = choose(metrics or _default_metrics(cells["mode"]))
    values = _values(run.summary, {metric.name for metric in chosen})
    members: dict[str, list[Mapping[Hashable, Any]]] = {}
    for cell in cells[[*IDENTITY, "group", "label", "seed", "status", "seconds"]].to_dict("records"):
        members.setdefault(cell["group"], []).append(cell)
    rows = [_row(group, values) for group in members.values()]
    varied = [name for name in _WHERE_VARIED if len({row.texts[name] for row in rows}) > 1]
    names = ["method", "model", "dataset", "mode", *varied, "status"]
    columns = (
        *(Column(name=name) for name in names),
        *(Column(name=metric.name, metric=metric) for metric in chosen),
        Column(name="n"),
        Column(name="time"),
    )
    return Table(columns=columns, rows=tuple(rows), notes=tuple(_notes(cells, run.problems)))


def _default_metrics(modes: pd.Series) -> tuple[str, ...]:
    are_sequential = [parse_mode(mode).is_sequential for mode in modes.unique()]
    if not any(are_sequential):
        return DEFAULT_METRICS
    place = DEFAULT_METRICS.index("drawdown") + 1
    before, after = DEFAULT_METRICS[:place], DEFAULT_METRICS[place:]
    if all(are_sequential):  # there is no room for more
        after = ("edit_seconds",)
    return ("success_request_immediate", *before, *_OF_SEQUENCES, *after)


def _values(summary: pd.DataFrame, names: set[str]) -> dict[tuple[object, ...], dict[str, Value]]:
    found: dict[tuple[object, ...], dict[str, Value]] = {}
    wanted = summary[summary["metric"].isin(names)]
    for row in wanted[SUMMARY.names].to_dict("records"):
        value = Value(_number(row["mean"]), _number(row["ci_low"]), _number(row["ci_high"]), int(row["n"]))
        found.setdefault(_identity(row), {})[str(row["metric"])] = value
    return found


def _row(members: Sequence[Mapping[Hashable, Any]], values: dict[tuple[object, ...], dict[str, Value]]) -> Row:
    first = members[0]
    mine = values.get(_identity(first), {})
    counts = sorted({value.n for name, value in mine.items() if choose([name])[0].unit not in ("seconds", "bytes")})
    seconds = sum(cell["seconds"] for cell in members if math.isfinite(cell["seconds"]))
    texts = {name: str(first[name]) for name in ("model", "dataset", "mode", "split", "dtype", "device")}
    texts |= {
        "method": str(first["label"]),
        "application": str(first["application"]),
        "seeds": str(len({cell["seed"] for cell in members})),
        "status": _status([cell["status"] for cell in members]),
        "n": "–".join(str(number) for number in sorted({counts[0], counts[-1]})) if counts else _UNKNOWN,
        "time": duration(seconds),
    }
    return Row(texts=texts, values=mine, seconds=seconds)


def _status(statuses: list[str]) -> str:
    kinds = sorted(set(statuses))
    if len(kinds) == 1:
        return kinds[0]
    done = statuses.count(Status.DONE)
    return f"{done}/{len(statuses)} done" if done else ", ".join(kinds)


def _notes(cells: pd.DataFrame, problems: Sequence[str]) -> list[str]:
    notes = []
    if cells.empty:
        notes.append("no cell of this run is finished yet; `bench run` computes them.")
    elif not (cells["status"] == Status.DONE).any():
        found = cells["status"].value_counts(sort=False)
        counts = ", ".join(f"{number} {status}" for status, number in found.items())
        notes.append(f"no cell of this run is done: {counts}.")
    for cell in cells[cells["status"] != Status.DONE].to_dict("records"):
        place = f"{cell['label']} {cell['model']} {cell['dataset']} {cell['mode']} seed {cell['seed']}"
        notes.append(f"{cell['status']}: {place}: {cell['explanation'] or 'no reason was recorded'}")
    if "notes" in cells:
        noted = cells[cells["notes"].astype("str").str.len() > 0]
        # What is noted of a dataset or a model is so for all methods, and is said once.
        labels: dict[tuple[str, str], dict[str, None]] = {}
        for cell in noted.to_dict("records"):
            place = f"{cell['model']} {cell['dataset']} {cell['mode']}"
            labels.setdefault((place, str(cell["notes"])), {})[str(cell["label"])] = None
        notes += [f"note: {', '.join(same)} {place}: {text}" for (place, text), same in labels.items()]
    return [*notes, *problems]


def _identity(row: Mapping[Hashable, Any]) -> tuple[object, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in IDENTITY)


def _number(value: Any) -> float:
    return math.nan if pd.isna(value) else float(value)

"""From scores and costs to one row a group of cells and metric, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.metrics import METRICS
from bench.records.parts import cost_parts
from bench.records.schema import SUMMARY, empty
from bench.records.statistics import estimate
from bench.records.status import Status

__all__ = ["IDENTITY", "cells_frame", "summarise", "summarise_cell"]

# The columns that tell one group of cells from another in every table.
IDENTITY = (
    "method",
    "config",
    "model",
    "parameters",
    "dataset",
    "split",
    "mode",
    "dtype",
    "device",
    "application",
)

_KINDS = {"single": 0, "batch": 1, "sequential": 2}  # of modes, as tables have them
_SEED = 0  # of the resampling, not of a cell: seeds of cells must not change an interval


def summarise(cells: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame, *, seed: int = _SEED) -> pd.DataFrame:
    """Give the summary: a row a group of cells and metric. Cells that differ only in seed are one group.

    Args:
        cells: what `cells_frame` gives; only cells that are done count.
        scores: columns of schema.SCORES, of these cells.
        costs: columns of schema.COSTS, of these cells.
        seed: of the resampling.

    Returns:
        Columns of schema.SUMMARY, in the order of `cells`, then of METRICS.
    """
    done = cells[cells["status"] == Status.DONE]
    parts = pd.concat([scores, cost_parts(costs)], ignore_index=True)
    parts = parts[parts["cell"].isin(done["key"])]
    group_of = parts["cell"].map(done.set_index("key")["group"])
    parts_of = {str(name): rows for name, rows in parts.groupby(group_of, sort=False)}
    rows: list[dict[str, object]] = []
    for group, members in done.groupby("group", sort=False):
        if str(group) in parts_of:
            identity = {name: members[name].iloc[0] for name in IDENTITY}
            identity["seeds"] = members["seed"].nunique()
            rows += [identity | row for row in _metric_rows(parts_of[str(group)], seed)]
    return _frame(rows)


def summarise_cell(cell: Cell, parameters: int | None, scores: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Give the summary of one finished cell, as it is stored beside it."""
    cells = _cells([_cell_row(cell) | {"parameters": parameters, "status": Status.DONE}])
    return summarise(cells, scores, costs)


def cells_frame(cards: Iterable[Card]) -> pd.DataFrame:
    """Give a row a cell: its identity, how it ended and how long it took.

    Rows are sorted by dataset, mode (the smallest groups first), size of the model, method and seed.
    Where two groups would have the same identity, `config` says in what else they differ.
    """
    rows = [
        _cell_row(card.cell)
        | {
            "parameters": card.parameters,
            "status": str(card.status),
            "explanation": card.explanation,
            "seconds": card.seconds,
            "started": card.started,
            "ended": card.ended,
            "notes": "; ".join(card.notes),
            "copied_from": card.copied_from or "",
        }
        for card in cards
    ]
    return _cells(_told_apart(rows))


def _cell_row(cell: Cell) -> dict[str, object]:
    values = cell.to_json()
    dataset_config = cell.dataset_config
    return values | {
        **cell.later,
        "config": cell.config_label,
        "dataset_config": ",".join(f"{name}={value}" for name, value in dataset_config.items()),
        "overrides": ",".join(cell.overrides),
        "label": cell.label,
        "key": cell.key,
        "group": cell.group,
        "folder": cell.folder,
    }


def _cells(rows: list[dict[str, object]]) -> pd.DataFrame:
    columns = ["key", "group", "label", *IDENTITY, "seed", "edits", "status", "explanation", "seconds"]
    frame = pd.DataFrame(rows)
    for name in columns:
        if name not in frame:
            frame[name] = pd.Series(dtype="str")
    frame["parameters"] = frame["parameters"].astype("Int64")
    frame = frame[[*columns, *(name for name in frame.columns if name not in columns)]]
    order = ["dataset", "mode", "parameters", "model", "method", "config", "seed"]
    return frame.sort_values(order, kind="stable", key=_sortable).reset_index(drop=True)


def _sortable(column: pd.Series) -> pd.Series:
    """Sort modes by kind, then by the size of their groups; leave other columns as they are."""
    if column.name != "mode":
        return column
    parts = column.astype("str").str.extract(r"^(\w+)(?::(\d+))?")
    kinds = parts[0].map(_KINDS).astype("float64").fillna(0.0)
    return kinds * 1e12 + parts[1].fillna("0").astype("float64")  # no group has so many requests


def _told_apart(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Add to `config` what else differs between groups that would look the same."""
    alike: dict[tuple[object, ...], dict[object, dict[str, object]]] = {}
    for row in rows:
        alike.setdefault(tuple(row[name] for name in IDENTITY), {}).setdefault(row["group"], row)
    for groups in alike.values():
        if len(groups) > 1:
            suffixes = _differences(groups)
            for row in rows:
                if row["group"] in groups:
                    row["config"] = f"{row['config']}{suffixes[row['group']]}"
                    row["label"] = f"{row['label']}{suffixes[row['group']]}"
    return rows


def _differences(groups: Mapping[object, Mapping[str, object]]) -> dict[object, str]:
    names = (
        *("method_version", "edits", "threads", "protocol_version", "dataset_config"),
        *("known_only", "chat", "gpus", "model_revision", "remote_code", "pickle"),
    )
    digests = ("plugin_digest", "model_digest", "dataset_digest", "model_kind")
    examples = list(groups.values())
    differing = [name for name in (*names, *digests) if len({str(row[name]) for row in examples}) > 1]
    return {
        group: "".join(f" {name}={str(row[name])[:12]}" for name in differing) or f" group={str(group)[:8]}"
        for group, row in groups.items()
    }


def _metric_rows(parts: pd.DataFrame, seed: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for metric in METRICS.values():
        found = estimate(parts, metric, seed=seed)
        if found is not None:
            ends = {"ci_low": found.low, "ci_high": found.high}
            rows.append({"metric": metric.name, "mean": found.mean, **ends, "n": found.n})
    return rows


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        return empty("summary").astype({"parameters": "Int64"})
    frame = pd.DataFrame(rows, columns=SUMMARY.names)
    return frame.astype({"parameters": "Int64", "seeds": "int32", "n": "int64", "mean": "float64"})

"""What becomes of edits that are kept one after the other: success at once and at the end, and what broke by then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.records.metrics import Metric
from bench.records.mode import parse_mode
from bench.records.statistics import estimate
from bench.records.status import Status
from bench.records.summary import IDENTITY
from bench.reporting.plots.figure import empty_drawing, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import Part, Places, Series, line_figure, series_of
from bench.reporting.plots.rows import undone
from bench.reporting.plots.wording import counts

__all__ = ["KIND"]

_GROUP = ("model", "dataset", "split", "mode", "dtype", "device", "application")
_BINS = 5  # stretches of a sequence, at most
_SEED = 0  # of the resampling
_LOG_FROM = 50  # edits, from which on the axis is logarithmic
_NOW, _FINAL, _LOOK = "now", "at the end", ""
_COLUMNS = (*IDENTITY, "metric", "when", "x", "mean", "ci_low", "ci_high", "n")


def draw(material: Material) -> Drawing:
    """Draw a panel a metric, edits of the sequence to the right.

    A metric of single edits has two lines: each edit when it had just been made, and at the end of its sequence. A
    metric of the fixed questions has one: after so many edits.
    """
    rows = pd.DataFrame(_rows(material), columns=list(_COLUMNS))
    if not len(rows):
        names = " or ".join(metric.name for metric in material.metrics)
        return empty_drawing(f"no finished cell of sequential mode has {names}.", rows)
    parts = [
        Part(group.title, metric, lines)
        for group in panels(rows, _GROUP)
        for metric in material.metrics
        if (lines := list(_lines(group.rows[group.rows["metric"] == metric.name], material)))
    ]
    values = sorted(set(rows["x"]))
    places = Places(
        values=values, shown="{:,.0f}".format, label="edits made so far", is_log=values[-1] / values[0] >= _LOG_FROM
    )
    sentences = [
        "thin: each edit when it has just been made; thick: at the end of its sequence",
        f"means over stretches of a sequence, 95 % intervals over sequences, {counts(rows)}",
        material.settings,
        undone(material),
    ]
    columns = min(3, len(material.metrics))
    return Drawing(line_figure(parts, places, columns=columns, sentences=sentences), rows)


KIND = Kind(
    name="sequence",
    says="success at once and at the end, and drawdown, against the edits of a sequence",
    draw=draw,
    metrics=("success", "drawdown_fixed"),
    options=("metrics",),
)


def _rows(material: Material) -> Iterator[dict[str, Any]]:
    """A row a method, metric, place and moment, with its interval."""
    cells = material.tables.cells
    done = cells[cells["status"] == Status.DONE] if "status" in cells else cells.iloc[:0]
    modes = {mode: parse_mode(mode) for mode in done["mode"].astype("str").unique()}
    done = done[done["mode"].isin([mode for mode, parsed in modes.items() if parsed.is_sequential])]
    for _, members in done.groupby("group", sort=False):
        length = modes[str(members["mode"].iloc[0])].sequence
        scores = material.tables.scores
        scores = scores[scores["cell"].isin(members["key"])]
        identity = {name: members[name].iloc[0] for name in IDENTITY}
        for metric in material.metrics:
            own = scores[scores["metric"].isin(metric.parts)]
            is_look = own["edit_id"] == own["edit_group"]  # of the fixed questions, not of an edit
            found = [*_of_edits(own[~is_look], metric, length), *_of_looks(own[is_look], metric)]
            yield from ({**identity, "metric": metric.name, **row} for row in found)


def _of_looks(rows: pd.DataFrame, metric: Metric) -> Iterator[dict[str, Any]]:
    """By the edits made when the fixed questions were asked."""
    for step in np.unique(rows["step"].to_numpy(np.int64)):
        yield from _estimated(rows[rows["step"] == step].assign(step=0), metric, _LOOK, float(step))


def _of_edits(rows: pd.DataFrame, metric: Metric, length: int) -> Iterator[dict[str, Any]]:
    """By the place of an edit in its sequence: its length less the edits that were made since."""
    if not len(rows):
        return
    age = rows.groupby(["cell", "edit_group", "edit_id"], sort=False)["step"].transform("max")
    place = length - age.to_numpy(np.int64)
    bins = np.unique(np.ceil(np.linspace(0, length, min(_BINS, length) + 1))).astype(np.int64)
    which = np.digitize(place, bins, right=True)
    # The last edit of a sequence has just been made at its end: its only row counts for both.
    for when, chosen in ((_NOW, rows["step"] == 0), (_FINAL, rows["step"] == age)):
        for number in np.unique(which):
            own = rows[chosen.to_numpy() & (which == number)]
            yield from _estimated(own.assign(step=0), metric, when, float(bins[number]))


def _estimated(rows: pd.DataFrame, metric: Metric, when: str, x: float) -> Iterator[dict[str, Any]]:
    # All rows are of one moment here, whichever the metric is about otherwise.
    found = estimate(rows, replace(metric, when="end"), seed=_SEED) if len(rows) else None
    if found is not None and math.isfinite(found.mean):
        numbers = {"mean": found.mean, "ci_low": found.low, "ci_high": found.high, "n": found.n}
        yield {"when": when, "x": x, **numbers}


def _lines(rows: pd.DataFrame, material: Material) -> Iterator[Series]:
    for when, own in rows.groupby("when", sort=False):
        for one in series_of(own, material):
            yield replace(one, label=f"{one.label} {when}".strip(), is_thin=when == _NOW)

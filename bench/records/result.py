"""What a worker hands back for a cell: its tables, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pandas as pd

from bench.records.card import Failure
from bench.records.cell import Cell
from bench.records.metrics import COLLAPSE
from bench.records.parts import score
from bench.records.schema import Phase, check_answers, empty
from bench.records.status import Status
from bench.records.summary import summarise_cell

__all__ = ["CellResult", "broken_off", "completed", "uncompleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """Everything that the store writes for a cell; plain data, so that it can be sent.

    Args:
        status: how it ended.
        started: ISO 8601, UTC (card.timestamp).
        ended: ISO 8601, UTC.
        environment: JSON values that do not belong to the key.
        tables: answers, scores, costs and summary, by these names.
        parameters: how many the model has.
        failure: why it failed.
        reason: why it was skipped.
        notes: what the reader must know.
    """

    status: Status
    started: str
    ended: str
    environment: Mapping[str, object]
    tables: Mapping[str, pd.DataFrame]
    parameters: int | None = None
    failure: Failure | None = None
    reason: str | None = None
    notes: tuple[str, ...] = field(default=())


def completed(
    cell: Cell,
    *,
    answers: pd.DataFrame,
    costs: pd.DataFrame,
    started: str,
    ended: str,
    environment: Mapping[str, object],
    parameters: int | None = None,
    notes: tuple[str, ...] = (),
) -> CellResult:
    """Score a finished cell and summarise it; call it where there is time: in the worker.

    Where the weights are random, the answers are dropped, and only costs are left.

    Raises:
        NotFinite: an answer's log-probability is NaN.
        StoreError: the answers break the table's rules.
    """
    if not cell.has_quality:  # what random weights say is no observation of anything
        answers, notes = empty("answers"), (*notes, "the weights are random: costs only, no quality")
    check_answers(answers)
    scores = score(cell.key, answers)
    summary = summarise_cell(cell, parameters, scores, costs)
    return CellResult(
        status=Status.DONE,
        started=started,
        ended=ended,
        environment=environment,
        tables={"answers": answers, "scores": scores, "costs": costs, "summary": summary},
        parameters=parameters,
        notes=notes,
    )


def uncompleted(
    status: Status,
    *,
    started: str,
    ended: str,
    failure: Failure | None = None,
    reason: str | None = None,
    costs: pd.DataFrame | None = None,
    environment: Mapping[str, object] = MappingProxyType({}),
    parameters: int | None = None,
) -> CellResult:
    """Record a cell that has no scores; what it cost until then may be given."""
    tables = {name: empty(name) for name in ("answers", "scores", "costs", "summary")}
    if costs is not None:
        tables["costs"] = costs
    return CellResult(
        status=status,
        started=started,
        ended=ended,
        environment=dict(environment),
        tables=tables,
        parameters=parameters,
        failure=failure,
        reason=reason,
    )


def broken_off(result: CellResult, cell: Cell, answers: pd.DataFrame) -> CellResult:
    """Add to a cell whose sequence could not go on what was observed until then, and whether its model had collapsed.

    Args:
        result: as `uncompleted` gives it.
        cell: its cell.
        answers: columns of schema.ANSWERS.
    """
    scores = score(cell.key, answers)
    is_own = answers["edit_id"] != answers["edit_group"]
    edits = answers.loc[is_own & (answers["phase"] == Phase.EDITED), "edit_id"].nunique()
    notes = [f"edits whose answers are kept: {edits}"]
    for row in scores[scores["metric"] == "edits_until_collapse"].to_dict("records"):
        notes.append(
            f"{row['edit_id']!r}: perplexity was first above {COLLAPSE:g} times the original's at edit {row['value']:g}"
        )
    tables = {**result.tables, "answers": answers, "scores": scores}
    return replace(result, tables=tables, notes=(*result.notes, *notes))

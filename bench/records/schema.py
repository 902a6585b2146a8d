"""The columns of the four tables of a cell, and rows of them.

Numbers are never NaN in a stored table: a value that does not apply is null, and an answer that
is not a number ends its cell with status `nan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType

import pandas as pd
import pyarrow as pa

from bench.errors import NotFinite, StoreError

__all__ = [
    "ANSWERS",
    "COSTS",
    "SCHEMAS",
    "SCORES",
    "SUMMARY",
    "AnswerRow",
    "CostPhase",
    "CostRow",
    "Phase",
    "answers_frame",
    "check_answers",
    "costs_frame",
    "empty",
    "to_arrow",
]


class Phase(StrEnum):
    """Which model answered."""

    ORIGINAL = "original"  # the model as loaded
    BASE = "base"  # after what fitting did to the model itself; absent where that is nothing
    EDITED = "edited"


class CostPhase(StrEnum):
    """What the time or memory was spent on."""

    LOAD = "load"
    BASE = "base"  # the unedited model's answers
    FIT = "fit"
    EDIT = "edit"
    EVALUATE = "evaluate"


def _column(name: str, kind: pa.DataType, *, null: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=null)


ANSWERS = pa.schema(
    [
        _column("edit_id", pa.string()),  # equal to edit_group: a look at the model in the middle of a sequence
        _column("edit_group", pa.string(), null=True),  # what one edit installed, or one sequence; null in single mode
        _column("step", pa.int32()),  # edits since this one, or since the sequence began; 0 in other modes
        _column("probe_id", pa.string()),
        _column("kind", pa.string()),  # a value of bench.editing.request.ProbeKind
        _column("scope", pa.string(), null=True),
        _column("phase", pa.string()),
        _column("tokens", pa.int32()),  # answer tokens scored
        _column("tokens_correct", pa.int32()),
        _column("log_prob", pa.float64()),  # of the answer, summed over its tokens, nats
        _column("alternative_log_prob", pa.float64(), null=True),  # of the old target, summed, nats
        _column("alternative_tokens", pa.int32(), null=True),
        _column("kl", pa.float64(), null=True),  # mean KL(base || edited) over answer positions, nats
        _column("prompt", pa.string()),
        _column("answer", pa.string()),
        _column("output", pa.string(), null=True),  # text that the model generated freely
        _column("weight_change", pa.float64(), null=True),  # ‖ΔW‖ / ‖W‖ of the model that answered, see edit_id
    ]
)

SCORES = pa.schema(
    [
        _column("cell", pa.string()),
        _column("edit_id", pa.string()),
        _column("edit_group", pa.string(), null=True),  # as in ANSWERS
        _column("step", pa.int32()),
        _column("metric", pa.string()),  # a part: bench.records.parts
        _column("value", pa.float64()),  # the edit's own result is value / weight
        _column("weight", pa.float64()),
        _column("probes", pa.int32()),
    ]
)

COSTS = pa.schema(
    [
        _column("cell", pa.string()),
        _column("phase", pa.string()),
        _column("edit_id", pa.string(), null=True),  # of one edit: its request, or its group in batch mode
        _column("measure", pa.string()),  # seconds, cpu_seconds, peak_memory_bytes, edit_bytes …
        _column("value", pa.float64()),
        _column("cached", pa.bool_()),  # spent by an earlier run whose result was used again
    ]
)

SUMMARY = pa.schema(
    [
        _column("method", pa.string()),
        _column("config", pa.string()),
        _column("model", pa.string()),
        _column("parameters", pa.int64(), null=True),
        _column("dataset", pa.string()),
        _column("split", pa.string()),
        _column("mode", pa.string()),
        _column("dtype", pa.string()),
        _column("device", pa.string()),
        _column("application", pa.string()),
        _column("seeds", pa.int32()),  # how many were pooled
        _column("metric", pa.string()),
        _column("mean", pa.float64(), null=True),  # null: inf - inf, two collapsed perplexities
        _column("ci_low", pa.float64(), null=True),  # null: no interval can be given
        _column("ci_high", pa.float64(), null=True),
        _column("n", pa.int64()),  # resampled units
    ]
)

SCHEMAS: Mapping[str, pa.Schema] = MappingProxyType(
    {"answers": ANSWERS, "scores": SCORES, "costs": COSTS, "summary": SUMMARY}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One probe put to one model; the columns of ANSWERS."""

    edit_id: str
    probe_id: str
    kind: str
    phase: str
    tokens: int
    tokens_correct: int
    log_prob: float
    prompt: str
    answer: str
    edit_group: str | None = None
    step: int = 0
    scope: str | None = None
    alternative_log_prob: float | None = None
    alternative_tokens: int | None = None
    kl: float | None = None
    output: str | None = None
    weight_change: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One measured cost; the columns of COSTS but for the cell's key."""

    phase: str
    measure: str
    value: float
    edit_id: str | None = None
    cached: bool = False


def answers_frame(rows: Iterable[AnswerRow]) -> pd.DataFrame:
    """Give answer rows as a table with the columns of ANSWERS."""
    rows = list(rows)
    names = [field.name for field in fields(AnswerRow)]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return pd.DataFrame(columns, columns=ANSWERS.names)


def costs_frame(cell: str, rows: Iterable[CostRow]) -> pd.DataFrame:
    """Give cost rows of the cell with this key as a table with the columns of COSTS."""
    rows = list(rows)
    names = [field.name for field in fields(CostRow)]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return pd.DataFrame({"cell": [cell] * len(rows), **columns}, columns=COSTS.names)


def empty(name: str) -> pd.DataFrame:
    """Give a table of SCHEMAS without rows, with the right column types."""
    frame: pd.DataFrame = SCHEMAS[name].empty_table().to_pandas()
    return frame


def check_answers(answers: pd.DataFrame) -> None:
    """Check what a schema can not: finite numbers and no doubled row.

    Raises:
        NotFinite: a log-probability is NaN.
        StoreError: a probe is there twice in a phase, or half an alternative is given.
    """
    where = ["edit_id", "step", "probe_id", "phase"]
    for wrong in answers.loc[answers["log_prob"].isna(), where].itertuples(index=False):
        raise NotFinite(f"edit {wrong.edit_id!r}, probe {wrong.probe_id!r}: the log-probability is NaN.")
    half = answers["alternative_log_prob"].isna() != answers["alternative_tokens"].isna()
    for wrong in answers.loc[half, where].itertuples(index=False):
        raise StoreError(
            f"edit {wrong.edit_id!r}, probe {wrong.probe_id!r}: the old target's log-probability and its "
            "number of tokens must both be given, or neither."
        )
    for wrong in answers.loc[answers.duplicated(where), where].itertuples(index=False):
        raise StoreError(
            f"edit {wrong.edit_id!r}, probe {wrong.probe_id!r}: two answers in phase {wrong.phase!r}; "
            "the ids of an edit's probes must differ."
        )


def to_arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    """Turn a table into Arrow with exactly the columns of SCHEMAS[name].

    Raises:
        StoreError: a column is missing, unknown, null where it may not be, or of another type.
    """
    schema = SCHEMAS[name]
    odd = sorted(set(frame.columns) ^ set(schema.names))
    if odd:
        raise StoreError(f"table {name!r}: the column {odd[0]!r} is missing or unknown.")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise StoreError(f"table {name!r} does not fit its columns: {error}") from error
    return table.replace_schema_metadata(None)

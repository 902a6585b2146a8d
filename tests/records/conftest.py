"""One cell and its tables, small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from bench.records.cell import Cell
from bench.records.result import CellResult, completed
from bench.records.schema import AnswerRow, CostRow, answers_frame, costs_frame

MakeCell = Callable[..., Cell]
MakeRow = Callable[..., AnswerRow]
MakeResult = Callable[..., CellResult]


@pytest.fixture
def make_cell() -> MakeCell:
    """Make a cell; any field may be given."""

    def make(**fields: Any) -> Cell:
        values: dict[str, Any] = {
            "method": "mend",
            "method_version": 1,
            "config": {"edit_lr": 1e-4, "layers": "last:3", "shared": True, "rank": None},
            "plugin_digest": "aa11",
            "model": "gpt2-3m",
            "model_digest": "bb22",
            "model_kind": "causal",
            "dataset": "facts",
            "dataset_digest": "cc33",
            "dataset_config": {},
            "split": "test",
            "edits": 2,
            "mode": "single",
            "dtype": "float32",
            "application": "factored",
            "device": "cpu",
            "threads": 2,
            "seed": 0,
            "protocol_version": 1,
        }
        return Cell(**(values | fields))

    return make


@pytest.fixture
def make_row() -> MakeRow:
    """Make an answer; `hit` says whether all of its tokens are right."""

    def make(edit: str, probe: str, kind: str, phase: str, *, hit: bool = False, **fields: Any) -> AnswerRow:
        tokens = fields.pop("tokens", 2)
        values: dict[str, Any] = {
            "edit_id": edit,
            "probe_id": probe,
            "kind": kind,
            "phase": phase,
            "tokens": tokens,
            "tokens_correct": tokens if hit else tokens - 1,
            "log_prob": -1.0,
            "prompt": "The capital of France is",
            "answer": "Rome",
        }
        return AnswerRow(**(values | fields))

    return make


@pytest.fixture
def answers(make_row: MakeRow) -> pd.DataFrame:
    """Two edits: each a request, a rephrase and two locality probes, original and edited."""
    rows = []
    for edit, rephrase_hit in (("e1", True), ("e2", False)):
        for phase in ("original", "edited"):
            is_edited = phase == "edited"
            rows += [
                make_row(edit, "request", "request", phase, hit=is_edited),
                make_row(edit, "rephrase", "rephrase", phase, hit=is_edited and rephrase_hit),
                make_row(edit, "near", "locality", phase, hit=not is_edited, scope="relation"),
                make_row(edit, "far", "locality", phase, hit=True, scope="distant"),
            ]
    return answers_frame(rows)


@pytest.fixture
def make_result(answers: pd.DataFrame) -> MakeResult:
    """Make a finished cell's result."""

    def make(cell: Cell, **fields: Any) -> CellResult:
        costs = costs_frame(
            cell.key,
            [
                CostRow(phase="fit", measure="seconds", value=60.0),
                CostRow(phase="edit", measure="seconds", value=0.25, edit_id="e1"),
                CostRow(phase="edit", measure="seconds", value=0.75, edit_id="e2"),
            ],
        )
        values: dict[str, Any] = {
            "answers": answers,
            "costs": costs,
            "started": "2026-11-22T10:00:00+00:00",
            "ended": "2026-11-22T10:01:30+00:00",
            "environment": {"torch": "2.11", "gpus": ["H200"]},
            "parameters": 3_100_000,
        }
        return completed(cell, **(values | fields))

    return make

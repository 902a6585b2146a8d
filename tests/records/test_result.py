"""What is kept of a finished cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.records.store import Store
from bench.reporting.tables import build


def test_of_random_weights_only_costs_are_kept_and_the_reason(make_cell: Any, make_result: Any) -> None:
    result = make_result(make_cell(weights="random"), notes=("a note",))

    assert len(result.tables["answers"]) == len(result.tables["scores"]) == 0
    assert set(result.tables["summary"]["metric"]) == {"edit_seconds", "edit_seconds_p95", "fit_seconds"}
    assert result.notes == ("a note", "the weights are random: costs only, no quality")


def test_an_answer_that_is_no_number_does_not_end_a_cell_of_random_weights(
    make_cell: Any, make_result: Any, answers: pd.DataFrame
) -> None:
    result = make_result(make_cell(weights="random"), answers=answers.assign(log_prob=float("nan")))

    assert result.status == "done"


def test_a_table_of_random_weights_has_empty_quality_columns_and_says_why(
    make_cell: Any, make_result: Any, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for weights in ("random", "trained"):
        cell = make_cell(weights=weights, model=weights)
        store.start("r", {})
        store.write("r", cell, make_result(cell))

    table = build(store.load("r"), ["success", "edit_seconds"])

    (row,) = [row for row in table.rows if row.texts["model"] == "random"]
    assert [row.text(column) for column in table.columns if column.name == "success"] == ["–"]
    assert set(row.values) == {"edit_seconds"}
    (note,) = table.notes
    assert "random" in note
    assert "costs only, no quality" in note

"""From stored cells to the summary, and a run read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import StoreError
from bench.records import run_data
from bench.records import schema as schema_module
from bench.records import store as store_module
from bench.records.schema import SCHEMAS, empty
from bench.records.status import Status
from bench.records.store import Store
from bench.records.summary import summarise

COLUMNS = ["method", "config", "model", "parameters", "dataset", "split", "mode", "dtype", "device", "application"]
COLUMNS += ["seeds", "metric", "mean", "ci_low", "ci_high", "n"]
TIMES = {"started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:00:01+00:00"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def means(summary: pd.DataFrame) -> dict[str, float]:
    return dict(zip(summary["metric"], summary["mean"], strict=True))


def test_the_columns_are_those_that_scripts_rely_on(store: Store, make_cell: Any, make_result: Any) -> None:
    store.write("run", make_cell(), make_result(make_cell()))

    assert list(store.load("run").summary.columns) == COLUMNS
    assert list(empty("summary").columns) == COLUMNS


def test_a_summary_has_a_row_a_metric_with_hand_worked_means(store: Store, make_cell: Any, make_result: Any) -> None:
    store.write("run", make_cell(), make_result(make_cell()))

    summary = store.load("run").summary

    assert means(summary)["success"] == pytest.approx(0.75)
    assert means(summary)["drawdown"] == pytest.approx(0.5)
    assert means(summary)["edit_seconds"] == pytest.approx(0.5)
    assert means(summary)["fit_seconds"] == 60.0
    assert set(summary["n"]) == {2, 1}
    assert "portability" not in means(summary)


def test_seeds_are_pooled_into_one_group(store: Store, make_cell: Any, make_result: Any, answers: pd.DataFrame) -> None:
    worse = answers.assign(tokens_correct=answers["tokens_correct"].where(answers["kind"] != "request", 0))
    store.write("run", make_cell(seed=0), make_result(make_cell(seed=0)))
    store.write("run", make_cell(seed=1), make_result(make_cell(seed=1), answers=worse))

    summary = store.load("run").summary

    assert set(summary["seeds"]) == {2}
    assert means(summary)["success_request"] == 0.5
    assert dict(zip(summary["metric"], summary["n"], strict=True))["success_request"] == 2
    assert dict(zip(summary["metric"], summary["n"], strict=True))["fit_seconds"] == 2


def test_the_stored_summary_equals_one_made_from_scores(store: Store, make_cell: Any, make_result: Any) -> None:
    store.write("run", make_cell(), make_result(make_cell()))
    run = store.load("run")

    made = summarise(run.cells, run.scores, run.costs)

    pd.testing.assert_frame_equal(run.summary, made, check_exact=True, check_dtype=False)


def test_scores_of_an_older_version_of_the_metrics_are_made_anew(
    store: Store, make_cell: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()
    result = make_result(cell)
    result.tables["scores"]["value"] = 0.0
    result.tables["summary"]["mean"] = 0.0
    store.write("run", cell, result)
    monkeypatch.setattr(run_data, "METRICS_VERSION", 999)

    assert means(store.load("run").summary)["success"] == pytest.approx(0.75)


def test_only_done_cells_are_summarised(store: Store, make_cell: Any, make_result: Any) -> None:
    from bench.records.result import uncompleted

    store.write("run", make_cell(), make_result(make_cell()))
    store.write("run", make_cell(method="ke"), uncompleted(Status.OOM, **TIMES, reason="8 GiB wanted"))

    run = store.load("run")

    assert set(run.summary["method"]) == {"mend"}
    assert run.cells.set_index("method")["status"].to_dict() == {"ke": "oom", "mend": "done"}
    assert run.cells.set_index("method")["explanation"].to_dict() == {"ke": "8 GiB wanted", "mend": ""}


def test_groups_that_look_the_same_are_told_apart_in_config(store: Store, make_cell: Any, make_result: Any) -> None:
    for threads in (1, 2):
        store.write("run", make_cell(threads=threads), make_result(make_cell(threads=threads)))

    assert sorted(store.load("run").summary["config"].unique()) == ["default threads=1", "default threads=2"]


def test_cells_are_sorted_by_size_of_the_model(store: Store, make_cell: Any, make_result: Any) -> None:
    for model, parameters in (("b-large", 10), ("a-huge", 1000), ("c-small", 1)):
        cell = make_cell(model=model)
        store.write("run", cell, make_result(cell, parameters=parameters))

    assert store.load("run").cells["model"].tolist() == ["c-small", "b-large", "a-huge"]


def test_cells_are_sorted_by_the_size_of_their_groups(store: Store, make_cell: Any, make_result: Any) -> None:
    modes = ["single", "batch:5", "batch:25", "batch:125", "sequential:10:every 2", "sequential:100"]
    for place in (3, 1, 5, 0, 4, 2):
        store.write("run", make_cell(mode=modes[place]), make_result(make_cell(mode=modes[place])))

    assert store.load("run").cells["mode"].tolist() == modes


def test_in_batch_mode_n_counts_groups(store: Store, make_cell: Any, make_result: Any, answers: pd.DataFrame) -> None:
    cell = make_cell(mode="batch:2")
    store.write("run", cell, make_result(cell, answers=answers.assign(edit_group="group/0000")))

    summary = store.load("run").summary.set_index("metric")

    assert summary.loc["success", "mean"] == pytest.approx(0.75)
    assert summary.loc["success", "n"] == 1


def test_tables_from_before_groups_can_be_read(
    store: Store, make_cell: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()
    with monkeypatch.context() as older:
        schemas = {
            name: pa.schema([field for field in schema if field.name != "edit_group"])
            for name, schema in SCHEMAS.items()
        }
        older.setattr(schema_module, "SCHEMAS", schemas)
        older.setattr(store_module, "_counts", lambda answers: {})
        result = make_result(cell)
        for name in ("answers", "scores"):
            del result.tables[name]["edit_group"]
        store.write("run", cell, result)

    run = store.load("run")

    assert pq.read_schema(store.cell_folder("run", cell) / "scores.parquet").names == schemas["scores"].names
    assert run.scores.columns.tolist() == SCHEMAS["scores"].names
    assert run.answers(cell.key)["edit_group"].isna().all()
    assert means(summarise(run.cells, run.scores, run.costs))["success"] == pytest.approx(0.75)


def test_answers_come_back_with_their_cell(
    store: Store, make_cell: Any, make_result: Any, answers: pd.DataFrame
) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))

    found = store.load("run").answers(cell.key)

    assert set(found.pop("cell")) == {cell.key}
    assert found["probe_id"].tolist() == answers["probe_id"].tolist()
    assert found["alternative_log_prob"].isna().all()
    with pytest.raises(StoreError, match="'nonsense'"):
        store.load("run").answers("nonsense")


def test_an_empty_run_gives_empty_tables(store: Store) -> None:
    store.start("run", {})
    run = store.load("run")

    assert (len(run.cells), len(run.scores), len(run.costs), len(run.answers())) == (0, 0, 0, 0)
    assert list(run.summary.columns) == COLUMNS


def test_reading_a_run_writes_nothing(store: Store, make_cell: Any, make_result: Any) -> None:
    store.write("run", make_cell(), make_result(make_cell()))
    (store.cell_folder("run", make_cell()) / "costs.parquet").write_bytes(b"")
    before = sorted(os.walk(store.root))

    run = store.load("run")
    _ = (run.cells, run.summary, run.answers())

    assert sorted(os.walk(store.root)) == before
    assert len(run.problems) == 1

"""The index of a run is derived: right, or computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.records import run_data
from bench.records.cell import Cell
from bench.records.index import FILE
from bench.records.run_data import RunData
from bench.records.store import Store

MakeCell = Callable[..., Cell]
MakeResult = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def run(store: Store, make_cell: MakeCell, make_result: MakeResult) -> Path:
    """A run of three groups: two seeds, one alone, and another method alone."""
    store.start("r", {})
    for cell in (make_cell(), make_cell(seed=1), make_cell(model="large"), make_cell(method="ft")):
        store.write("r", cell, make_result(cell))
    return store.run_folder("r")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each table that is read from a cell's folder."""
    noted: list[str] = []
    read = run_data._read

    def note(path: Path, name: str) -> Any:
        noted.append(name)
        return read(path, name)

    monkeypatch.setattr(run_data, "_read", note)
    return noted


def test_with_an_index_the_same_summary_is_given_and_no_other_file_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = RunData(run).summary
    RunData(run).refresh_index()
    noted = counted(monkeypatch)

    found = RunData(run).summary

    pd.testing.assert_frame_equal(found, before)
    assert noted == []
    assert len(found["model"].unique()) == 2


def test_only_what_is_new_is_computed(
    run: Path, store: Store, make_cell: MakeCell, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunData(run).refresh_index()
    new = make_cell(method="ft", seed=1)
    store.write("r", new, make_result(new))
    noted = counted(monkeypatch)

    found = RunData(run).summary
    (run / FILE).unlink()

    assert noted == ["scores", "scores", "costs", "costs"]
    pd.testing.assert_frame_equal(found, RunData(run).summary)


def test_a_cell_with_other_scores_is_another_summary(
    run: Path, store: Store, make_cell: MakeCell, make_result: MakeResult, answers: pd.DataFrame
) -> None:
    RunData(run).refresh_index()
    cell = make_cell(method="ft")
    store.write("r", cell, make_result(cell, answers=answers[answers["edit_id"] == "e1"]))

    summary = RunData(run).summary

    success = summary[(summary["method"] == "ft") & (summary["metric"] == "success")]
    assert success[["mean", "n"]].to_numpy().tolist() == [[1.0, 1]]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_torn_index_is_as_good_as_none(run: Path, content: bytes) -> None:
    before = RunData(run).summary
    (run / FILE).write_bytes(content)

    pd.testing.assert_frame_equal(RunData(run).summary, before)
    assert RunData(run).refresh_index()
    assert not RunData(run).refresh_index()


def test_a_run_that_can_only_be_read_is_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bench.records.index.os.replace", refuse)

    assert not RunData(run).refresh_index()
    assert not list(run.glob(".tmp-*"))


def test_an_empty_run_has_an_empty_index(store: Store) -> None:
    store.start("r", {})

    data = RunData(store.run_folder("r"))

    assert len(data.summary) == 0
    data.refresh_index()
    assert len(RunData(store.run_folder("r")).summary) == 0

"""Cells are whole or not there; what is broken is moved aside; what is finished is found again."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import StoreError
from bench.records import folder as folders
from bench.records.canonical import canonical_json
from bench.records.card import Failure
from bench.records.result import CellResult, uncompleted
from bench.records.status import Status
from bench.records.store import Store

FILES = ["answers.parquet", "card.json", "costs.parquet", "scores.parquet", "summary.parquet"]
TIMES = {"started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:00:01+00:00"}


class Reports(list[str]):
    """Collects what a store reports."""

    def __call__(self, sentence: str) -> None:
        self.append(sentence)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def store(tmp_path: Path, reports: Reports) -> Store:
    return Store(tmp_path / "results", reports)


def failed(status: Status = Status.FAILED) -> CellResult:
    failure = Failure(phase="edit", message="ValueError: no\nmore", traceback="Traceback …")
    return uncompleted(status, **TIMES, failure=failure)


def test_a_written_cell_is_found_with_all_it_was_given(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell(overrides=("edit_lr",))
    written = store.write("run", cell, make_result(cell, notes=("a batch was halved",)))

    found = store.finished("run", cell, verify=True)

    assert found == written
    assert found is not None
    assert (found.cell, found.status, found.parameters) == (cell, Status.DONE, 3_100_000)
    assert found.environment == {"torch": "2.11", "gpus": ["H200"]}
    assert found.counts == {"edits": 2, "probes": 8, "answers": 16, "left_out_probes": 0}
    assert found.notes == ("a batch was halved",)
    assert found.seconds == 90.0
    assert sorted(os.listdir(store.cell_folder("run", cell))) == FILES


def test_a_card_counts_the_probes_that_were_not_put_to_the_edited_model(
    store: Store, make_cell: Any, make_result: Any, answers: pd.DataFrame
) -> None:
    cell = make_cell(mode="batch:2")
    is_left_out = (answers["probe_id"] == "near") & (answers["phase"] == "edited") & (answers["edit_id"] == "e1")

    card = store.write("run", cell, make_result(cell, answers=answers[~is_left_out]))

    assert card.counts == {"edits": 2, "probes": 8, "answers": 15, "left_out_probes": 1}


def test_a_cell_that_is_not_there_is_not_found(store: Store, make_cell: Any) -> None:
    assert store.find("run", make_cell()) is None


def test_writing_the_same_result_twice_gives_the_same_bytes(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    first = store.write("one", cell, make_result(cell))
    second = store.write("two", cell, make_result(cell))

    assert first.files == second.files


@pytest.mark.parametrize("kills", range(1, 9))
def test_a_kill_at_any_moment_leaves_a_whole_cell_or_none(
    store: Store, make_cell: Any, make_result: Any, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()
    result = make_result(cell)
    store.start("run", {})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        _kill_at(kills, patch)
        store.write("run", cell, result)

    card = store.finished("run", cell, verify=True)

    is_last = kills >= 8  # 4 tables, the card, the folder, the rename; then all is there
    assert (card is not None) == is_last
    assert store.load("run").problems == ()
    assert store.write("run", cell, result).status == Status.DONE
    store.start("run", {})
    assert os.listdir(store.run_folder("run") / "cells") == [cell.folder]


class Killed(BaseException):
    """Ends a write as kill -9 would: nothing is cleaned up after it."""


def _kill_at(count: int, patch: pytest.MonkeyPatch) -> None:
    """Be killed at the count-th sync or rename."""
    calls = itertools.count(1)

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            if next(calls) == count:
                raise Killed
            return function(*args)

        return call

    patch.setattr(os, "fsync", counted(os.fsync))
    patch.setattr(Path, "rename", counted(Path.rename))
    patch.setattr(shutil, "rmtree", lambda *_, **__: None)


def test_a_kill_before_the_card_leaves_no_finished_cell(
    store: Store, make_cell: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "_pretty", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write("run", cell, make_result(cell))

    assert store.finished("run", cell) is None


@pytest.mark.parametrize("name", [*FILES, "torn card", "other key", "longer", "link"])
def test_a_broken_cell_is_moved_aside_and_reported(
    store: Store, reports: Reports, make_cell: Any, make_result: Any, name: str
) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))
    folder = store.cell_folder("run", cell)
    _damage(folder, name)

    assert len(store.load("run").problems) == 1
    assert store.finished("run", cell) is None
    assert os.listdir(folder.parent) == [f"{cell.folder}.broken-1"]
    assert len(reports) == 1
    assert cell.folder in reports[0]
    assert store.load("run").problems == ()


def _damage(folder: Path, name: str) -> None:
    if name == "torn card":
        text = (folder / "card.json").read_text()
        (folder / "card.json").write_text(text[: len(text) // 2])
    elif name == "other key":
        card = json.loads((folder / "card.json").read_text())
        card["cell"]["seed"] = 99
        (folder / "card.json").write_text(json.dumps(card))
    elif name == "longer":
        with (folder / "scores.parquet").open("ab") as file:
            file.write(b"x")
    elif name == "link":
        (folder / "scores.parquet").rename(folder.parent.parent / "elsewhere")
        (folder / "scores.parquet").symlink_to(folder.parent.parent / "elsewhere")
    else:
        (folder / name).unlink()


def test_a_changed_byte_is_found_by_its_digest(
    store: Store, reports: Reports, make_cell: Any, make_result: Any
) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))
    path = store.cell_folder("run", cell) / "answers.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))

    assert store.finished("run", cell) is not None
    assert store.find("run", cell) is None
    assert "checksum" in reports[0]


def test_a_second_broken_folder_gets_the_next_number(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    for _ in range(2):
        store.write("run", cell, make_result(cell))
        (store.cell_folder("run", cell) / "card.json").unlink()
        store.finished("run", cell)

    assert sorted(os.listdir(store.run_folder("run") / "cells")) == [
        f"{cell.folder}.broken-1",
        f"{cell.folder}.broken-2",
    ]


@pytest.mark.parametrize("status", [status for status in Status if status != Status.DONE])
def test_a_cell_that_is_not_done_counts_as_finished_unless_retried(
    store: Store, make_cell: Any, status: Status
) -> None:
    cell = make_cell()
    store.write("run", cell, failed(status))

    found = store.finished("run", cell)

    assert (found is None) == (status == Status.INTERRUPTED)
    assert store.finished("run", cell, retry=True) is None


def test_a_retried_cell_replaces_the_failed_one(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    store.write("run", cell, failed())
    store.write("run", cell, make_result(cell))

    found = store.finished("run", cell)

    assert found is not None
    assert found.status == Status.DONE
    assert os.listdir(store.run_folder("run") / "cells") == [cell.folder]


def test_a_done_cell_of_another_run_is_copied(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    original = store.write("first", cell, make_result(cell))

    found = store.find("second", cell)

    assert found is not None
    assert found.copied_from == "first"
    assert found.files == original.files
    assert store.finished("second", cell, verify=True) == found
    pd.testing.assert_frame_equal(store.load("second").summary, store.load("first").summary)


def test_a_failed_or_broken_cell_of_another_run_is_not_copied_nor_touched(
    store: Store, reports: Reports, make_cell: Any, make_result: Any
) -> None:
    bad, broken = make_cell(seed=1), make_cell(seed=2)
    store.write("first", bad, failed())
    store.write("first", broken, make_result(broken))
    (store.cell_folder("first", broken) / "costs.parquet").write_bytes(b"PAR1")

    assert store.find("second", bad) is None
    assert store.find("second", broken) is None
    assert store.cell_folder("first", broken).is_dir()
    assert len(reports) == 1


def test_a_cell_with_another_key_is_not_copied(store: Store, make_cell: Any, make_result: Any) -> None:
    store.write("first", make_cell(), make_result(make_cell()))

    assert store.find("second", make_cell(threads=4)) is None


@pytest.mark.parametrize(
    "run", ["../x", "a/b", "", "..", ".hidden", "editors", "bases", "a\\b", "x..y", "ü", "a" * 101]
)
def test_a_run_has_a_safe_name(store: Store, run: str) -> None:
    with pytest.raises(StoreError, match="no name for a run"):
        store.run_folder(run)


def test_a_card_that_names_files_elsewhere_is_refused(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))
    path = store.cell_folder("run", cell) / "card.json"
    card = json.loads(path.read_text())
    card["files"]["../../../secret"] = card["files"].pop("answers.parquet")
    path.write_text(json.dumps(card))

    assert store.finished("run", cell) is None


def test_a_folder_that_can_not_be_written_says_what_to_do(
    store: Store, make_cell: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*Make room"):
        store.write("run", cell, make_result(cell))

    assert os.listdir(store.run_folder("run") / "cells") == []


def test_a_results_folder_that_is_a_file_says_so(tmp_path: Path, make_cell: Any, make_result: Any) -> None:
    (tmp_path / "results").write_text("")

    with pytest.raises(StoreError, match="can not be written"):
        Store(tmp_path / "results").start("run", {})


def test_a_folder_that_can_not_be_read_is_not_taken_for_broken(
    store: Store, make_cell: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            store.finished("run", cell)

    assert store.finished("run", cell) is not None


def test_a_table_with_other_columns_is_refused(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    result = make_result(cell)
    result.tables["costs"] = result.tables["costs"].rename(columns={"value": "amount"})

    with pytest.raises(StoreError, match="'amount'"):
        store.write("run", cell, result)


def test_a_nan_in_a_table_is_refused(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    result = make_result(cell)
    result.tables["costs"].loc[0, "value"] = float("nan")

    with pytest.raises(StoreError, match="costs"):
        store.write("run", cell, result)


def test_an_environment_that_is_no_json_is_refused(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()

    with pytest.raises(StoreError, match="finite JSON"):
        store.write("run", cell, make_result(cell, environment={"device": object()}))

    assert store.finished("run", cell) is None


def test_the_sweep_is_stored_as_toml(store: Store) -> None:
    sweep = {"methods": ["mend"], "edits": 200, "set": {"mend": {"edit_lr": 1e-4}}}
    folder = store.start("run", sweep)

    assert tomllib.loads((folder / "sweep.toml").read_text()) == sweep


def test_start_deletes_what_a_killed_driver_left(store: Store, make_cell: Any, make_result: Any) -> None:
    cell = make_cell()
    store.write("run", cell, make_result(cell))
    leftover = store.run_folder("run") / "cells" / f".tmp-{cell.folder}-1234"
    shutil.copytree(store.cell_folder("run", cell), leftover)

    store.start("run", {})

    assert os.listdir(leftover.parent) == [cell.folder]


def test_runs_are_listed_without_the_other_folders(store: Store, make_cell: Any, make_result: Any) -> None:
    for run in ("b", "a"):
        store.start(run, {})
    (store.root / "editors" / "cells").mkdir(parents=True)

    assert store.runs() == ["a", "b"]


def test_an_unknown_run_gets_the_nearest_name(store: Store) -> None:
    store.start("2026-11-22-zsre", {})

    with pytest.raises(StoreError, match="Did you mean '2026-11-22-zsre'"):
        store.load("2026-11-23-zsre")


def test_a_card_is_json_that_says_why_a_cell_failed(store: Store, make_cell: Any) -> None:
    cell = make_cell()
    store.write("run", cell, failed())
    card = json.loads((store.cell_folder("run", cell) / "card.json").read_text())

    assert card["failure"] == {"phase": "edit", "message": "ValueError: no\nmore", "traceback": "Traceback …"}
    assert card["key"] == cell.key
    assert canonical_json(card["cell"]) == canonical_json(cell.to_json())

"""A results folder or an editor from a stranger executes nothing, and no name in it leads out of the folder."""

from __future__ import annotations

import ast
import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bench
from bench.errors import BenchError, StoreError
from bench.records.cell import Cell
from bench.records.run_data import RunData, read_table
from bench.records.schema import SCORES
from bench.records.store import Store

MakeCell = Callable[..., Cell]
MakeResult = Callable[..., Any]

_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
_CALLS = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load", "eval", "exec", "compile"}
_METHODS = {"to_pickle", "read_pickle"}


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self._path, "boom")


def sources() -> Iterator[Path]:
    for folder in bench.__path__:
        for part in ("", "methods", "datasets"):
            place = Path(folder) / part
            yield from place.rglob("*.py") if part or place.name == "bench" else []


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_no_source_reads_or_writes_a_pickle() -> None:
    found = []
    files = sorted(set(sources()))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.partition(".")[0] in _MODULES]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""] if (node.module or "").partition(".")[0] in _MODULES else []
            elif isinstance(node, ast.Call):
                name = called(node)
                is_wrong = name in _CALLS or name.rpartition(".")[2] in _METHODS
                is_wrong |= any(keyword.arg == "allow_pickle" for keyword in node.keywords) and "load" in name
                names = [name] if is_wrong else []
            found += [f"{path.name}:{getattr(node, 'lineno', 0)}: {name}" for name in names]

    assert found == []
    assert {"store.py", "mend.py", "facts.py", "loading.py"} <= {path.name for path in files}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", report=lambda sentence: None)


@pytest.fixture
def folder(store: Store, make_cell: MakeCell, make_result: MakeResult) -> Path:
    """Give the folder of the only cell of a run."""
    cell = make_cell()
    store.start("r", {})
    store.write("r", cell, make_result(cell))
    return store.cell_folder("r", cell)


@pytest.mark.parametrize("name", ["card.json", "scores.parquet", "summary.parquet"])
def test_a_pickle_in_the_place_of_a_file_is_not_unpickled(
    store: Store, folder: Path, make_cell: MakeCell, tmp_path: Path, name: str
) -> None:
    bomb = tmp_path / "boom"
    content = pickle.dumps(Bomb(bomb))
    (folder / name).write_bytes(content)
    if name != "card.json":  # and a card that vouches for it
        import hashlib

        card = json.loads((folder / "card.json").read_text())
        card["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "card.json").write_text(json.dumps(card))

    run = RunData(store.run_folder("r"))
    if name == "card.json":
        assert len(run.problems) == 1
    else:
        with pytest.raises(StoreError, match="can not be read"):
            read_table(folder / name, name.removesuffix(".parquet"))
    store.find("r", make_cell())

    assert not bomb.exists()
    pickle.loads(content)  # the bomb works
    assert bomb.exists()


def test_a_pickle_in_the_metadata_of_a_table_is_not_unpickled(tmp_path: Path) -> None:
    """Arrow once unpickled what a column of the type `arrow.py_extension_type` brought with it (CVE-2023-47248)."""
    bomb = tmp_path / "boom"
    fields = [
        field.with_metadata(
            {
                "ARROW:extension:name": "arrow.py_extension_type",
                "ARROW:extension:metadata": pickle.dumps(Bomb(bomb)),
            }
        )
        for field in SCORES
    ]
    schema = pa.schema(fields, metadata={"pandas": pickle.dumps(Bomb(bomb))})
    table = pa.table({name: [] for name in SCORES.names}, schema=pa.schema(list(SCORES)))
    pq.write_table(table.cast(schema), tmp_path / "scores.parquet")

    with pytest.raises((StoreError, ValueError)):
        read_table(tmp_path / "scores.parquet", "scores")

    assert not bomb.exists()


def test_an_editor_that_is_a_pickle_is_refused(tmp_path: Path) -> None:
    import torch

    from bench.running.editor_file import read_editor

    bomb, file = tmp_path / "boom", tmp_path / "mend.safetensors"
    buffer = io.BytesIO()
    torch.save({"state": Bomb(bomb)}, buffer)
    for content in (buffer.getvalue(), pickle.dumps(Bomb(bomb))):
        file.write_bytes(content)
        with pytest.raises(BenchError):
            read_editor(file)

    assert not bomb.exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", ".", "a/../../b", "C:\\evil", "~root", "", "\x00\n"])
@pytest.mark.parametrize("field", ["method", "model", "dataset", "mode"])
def test_no_name_of_a_cell_leads_out_of_the_cells(store: Store, make_cell: MakeCell, field: str, name: str) -> None:
    folder = store.cell_folder("r", make_cell(**{field: name}))

    assert folder.parent == store.root / "r" / "cells"
    assert folder.name.startswith(("_", "mend", "evil", "etc", "a-", "C-", "root", "~"))
    assert not folder.name.startswith((".", "-"))
    assert "/" not in folder.name
    assert ".." not in folder.name


@pytest.mark.parametrize("name", ["../outside.parquet", "/etc/passwd", "..", "sub/scores.parquet"])
def test_a_card_that_names_a_file_elsewhere_is_refused(store: Store, folder: Path, name: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["files"][name] = card["files"].pop("scores.parquet")
    (folder / "card.json").write_text(json.dumps(card))

    assert len(RunData(store.run_folder("r")).problems) == 1


@pytest.mark.parametrize("what", ["a table", "a card", "a cell", "the cells"])
def test_a_link_in_a_run_is_not_followed(
    store: Store, folder: Path, make_cell: MakeCell, tmp_path: Path, what: str
) -> None:
    inside = {
        "a table": folder / "scores.parquet",
        "a card": folder / "card.json",
        "a cell": folder,
        "the cells": folder.parent,
    }[what]
    outside = tmp_path / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside, target_is_directory=outside.is_dir())
    before = {path: path.lstat().st_mtime_ns for path in [outside, *outside.rglob("*")]}

    if what == "the cells":
        with pytest.raises(StoreError, match="is a link"):
            RunData(store.run_folder("r"))
        with pytest.raises(StoreError, match="is a link"):
            store.start("r", {})
    else:
        assert len(RunData(store.run_folder("r")).problems) == 1
        assert store.find("r", make_cell()) is None

    assert {path: path.lstat().st_mtime_ns for path in [outside, *outside.rglob("*")]} == before


def test_a_link_in_the_place_of_an_editor_is_not_followed(tmp_path: Path) -> None:
    from bench.records.artifacts import ArtifactStore

    store = ArtifactStore(tmp_path / "editors", report=lambda sentence: None)
    made = store.write({"a": 1}, lambda folder: (folder / "state").write_bytes(b"1") and None, {})
    shutil.move(made.folder, tmp_path / "outside")
    made.folder.symlink_to(tmp_path / "outside", target_is_directory=True)

    assert store.find({"a": 1}) is None
    assert (tmp_path / "outside" / "state").exists()

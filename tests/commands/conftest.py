"""The command line, called in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.cli import main


class Said(NamedTuple):
    """What a command came to.

    Args:
        code: its exit code.
        out, err: what it printed.
    """

    code: int
    out: str
    err: str


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Call `bench` with some words, in an empty folder, on a terminal of 100 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def options(model_folder: Callable[[str], Path], toy: Path) -> list[object]:
    """Give the options of a small run that needs no worker: four edits of a tiny model by the control."""
    where = ["--models", model_folder("causal"), "--datasets", "toy", "--plugin", toy, "--results", "out", "--run", "r"]
    return ["run", "--methods", "none", "--edits", 4, *where, "--in-process"]


@pytest.fixture(scope="session")
def finished_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give where the results of a finished run are kept, once there is one."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture
def finished(bench: Callable[..., Said], options: list[object], finished_results: Path) -> Said:
    """Finish the small run in the folder `out`, computed once for all tests; give what it said then."""
    said = finished_results.with_name("said.json")
    if not said.exists():
        said.write_text(json.dumps(bench(*options)))
        shutil.copytree("out", finished_results)
    else:
        shutil.copytree(finished_results, "out")
    return Said(*json.loads(said.read_text()))

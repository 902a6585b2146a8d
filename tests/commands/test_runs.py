"""`bench status`, `bench clean` and `bench merge`, and the estimates of a dry run."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.records.card import read_card
from bench.records.pulse import RunningCell, new_pulse, read_pulse, write_pulse
from bench.records.run_data import RunData
from bench.records.store import Store

Bench = Callable[..., Any]
Said = Any  # conftest.Said
_RUN = Path("out/r")


def gone() -> int:
    """Give the number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def only_cell() -> Path:
    (folder,) = (_RUN / "cells").iterdir()
    return folder


# --- status


def test_a_run_that_ended_says_what_it_came_to(bench: Bench, finished: Said) -> None:
    lines = bench("status", "r", "--results", "out").out.splitlines()

    assert lines[0] == "run r: 1 cells (1 done)"
    assert lines[1].startswith("ended at ")
    assert lines[1].endswith(": 1 of 1 cells computed")
    assert lines[-1] == "results: out/r"


def test_a_run_that_goes_on_says_what_is_computed_and_by_whom(bench: Bench, finished: Said) -> None:
    shutil.rmtree(only_cell())
    pulse = new_pulse(to_run=3)
    cell = RunningCell(key="k", title="ft  small", phase="edit", done=3, total=8, seconds_left=4.0)
    write_pulse(_RUN, replace(pulse, computed=2, running=(cell,)))

    said = bench("status", "out/r")

    assert said.out.splitlines()[0] == "run r: 1 cells (1 to come)"
    assert f"running: process {os.getpid()} of {pulse.host!r}, 2 of 3 cells computed" in said.out
    assert "  ft  small: edit 3/8 4.0 s left" in said.out
    assert json.loads(bench("status", "out/r", "--json").out)["driver"]["running"][0]["done"] == 3


def test_a_driver_that_was_killed_is_told_from_one_at_work(bench: Bench, finished: Said) -> None:
    shutil.rmtree(only_cell())
    write_pulse(_RUN, replace(new_pulse(to_run=3), pid=gone()))

    said = bench("status", "out/r")

    assert "stopped: process" in said.out
    assert "next: bench run out/r/sweep.toml" in said.out
    assert json.loads(bench("status", "out/r", "--json").out)["state"] == "stopped"


def test_cells_that_are_not_done_say_why(bench: Bench, options: list[object], editor_file: Any) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no subject.')")
    bench(*options, "--methods", "bad,none", "--plugin", path)
    (next(Path("out/r/cells").glob("none-*")) / "scores.parquet").write_bytes(b"")

    said = bench("status", "out/r")

    assert said.out.splitlines()[0] == "run r: 2 cells (1 failed, 1 to come)"
    assert "failed  in edit: no subject." in said.out
    assert "is left out: 'scores.parquet' has 0 bytes" in said.out


def test_an_unknown_run_gets_the_nearest_name(bench: Bench, finished: Said) -> None:
    said = bench("status", "rr", "--results", "out")

    assert said.code == 2
    assert "Did you mean 'r'?" in said.err


def test_a_second_driver_of_a_run_is_refused_while_the_first_one_lives(
    bench: Bench, options: list[object], finished: Said
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = Path(f"/proc/{child.pid}/stat")
    birth = stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""
    write_pulse(_RUN, replace(new_pulse(to_run=1), pid=child.pid, birth=birth))

    while_it_lives = bench(*options)
    child.communicate(b"\n")
    afterwards = bench(*options)

    assert while_it_lives.code == 2
    assert f"is being computed by process {child.pid}" in while_it_lives.err
    assert afterwards.code == 0


def test_a_finished_run_has_marked_its_end(finished: Said) -> None:
    pulse = read_pulse(_RUN)

    assert pulse is not None
    assert pulse.ended is not None
    assert (pulse.is_alive, pulse.computed, pulse.running) == (False, 1, ())


# --- clean


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def wasted(finished: Said) -> set[str]:
    """The finished run with one of each kind of waste; give what is no waste."""
    kept = files(Path("out"))
    for place in ("editors/0123456789abcdef", "bases/0123456789abcdef", "editors/0123456789abcdff.checkpoint"):
        (Path("out") / place).mkdir(parents=True)
        (Path("out") / place / "card.json").write_text("{}")
    (_RUN / "cells" / "none.broken-1").mkdir()
    (_RUN / "cells" / ".tmp-none-01234567").mkdir()
    (_RUN / ".tmp-sweep.toml-01234567").write_text("")
    return kept | {"editors"}


def test_what_no_cell_reaches_is_listed_and_deleted_when_confirmed(
    bench: Bench, wasted: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(Path("out"))

    listed = bench("clean", "--results", "out", "--json")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    refused = bench("clean", "--results", "out")
    kept_yet = files(Path("out"))
    said = bench("clean", "--results", "out", "--yes")

    assert len(json.loads(listed.out)) == 6
    assert refused.out.splitlines()[-1].endswith("nothing was deleted.")
    assert kept_yet == before
    assert said.out.splitlines()[-1].startswith("deleted 6")
    assert files(Path("out")) == wasted
    assert "nothing to clean" in bench("clean", "--results", "out").out


def test_what_a_cell_can_reach_is_never_listed(bench: Bench, options: list[object]) -> None:
    fit = "mend[steps=2,edits_per_step=2,validate_every=2,validation_edits=2]"
    bench(*options, "--methods", fit)
    assert len(list(Path("out/editors").iterdir())) == len(list(Path("out/bases").iterdir())) == 1

    assert json.loads(bench("clean", "--results", "out", "--json").out) == []
    for cell in list((_RUN / "cells").iterdir()):
        shutil.rmtree(cell)  # it was asked for, and the same command would use the fit

    assert json.loads(bench("clean", "--results", "out", "--json").out) == []


def test_of_a_run_that_did_not_note_what_it_was_asked_no_checkpoint_is_listed(bench: Bench, wasted: set[str]) -> None:
    (_RUN / "plan.json").unlink()

    found = [row["path"] for row in json.loads(bench("clean", "--results", "out", "--json").out)]

    assert not any(path.endswith(".checkpoint") for path in found)
    assert any(path.endswith("editors/0123456789abcdef") for path in found)


def test_a_folder_that_only_has_to_be_renamed_is_no_waste(bench: Bench, finished: Said) -> None:
    cell = only_cell()
    cell.rename(cell.with_name(f".tmp-{cell.name}-01234567"))

    assert json.loads(bench("clean", "--results", "out", "--json").out) == []


def test_new_leftovers_stay_while_a_driver_is_at_work(bench: Bench, wasted: set[str]) -> None:
    write_pulse(_RUN, new_pulse(to_run=1))

    found = [row["reason"] for row in json.loads(bench("clean", "--results", "out", "--json").out)]

    assert "left half-written" not in found


def test_nothing_behind_a_link_is_touched(bench: Bench, finished: Said, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "0123456789abcdef").mkdir(parents=True)
    (outside / ".tmp-x").mkdir()
    shutil.rmtree("out/bases")
    Path("out/bases").symlink_to(outside, target_is_directory=True)
    Path("out/editors").mkdir()
    Path("out/editors/0123456789abcdef").symlink_to(outside, target_is_directory=True)

    said = bench("clean", "--results", "out", "--yes")

    assert "nothing to clean" in said.out
    assert files(outside) == {"0123456789abcdef", ".tmp-x"}


# --- merge


def test_runs_of_two_results_folders_become_one(bench: Bench, options: list[object], finished: Said) -> None:
    bench(*options, "--seeds", 2, "--results", "far")

    said = bench("merge", "far/r", "r", "--run", "both", "--results", "out")

    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "run both: 2 cells of 2 runs, 1 of them in more than one"
    merged, far = RunData(Path("out/both")), RunData(Path("far/r"))
    assert set(merged.cards) == set(far.cards)
    quality = far.summary["mean"][far.summary["metric"] == "success"].tolist()
    assert merged.summary["mean"][merged.summary["metric"] == "success"].tolist() == quality
    again = bench("run", "out/both/sweep.toml", "--in-process")
    assert "run both: 2 cells (0 to run, 2 cached, 0 skipped)" in again.out


def test_merging_again_changes_nothing(bench: Bench, options: list[object], finished: Said) -> None:
    bench(*options, "--seeds", 2, "--results", "far")
    words = ("merge", "r", "far/r", "--run", "both", "--results", "out")
    bench(*words)
    before = {path: path.stat().st_mtime_ns for path in Path("out/both/cells").rglob("*")}

    said = bench(*words)

    assert said.code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out/both/cells").rglob("*")} == before


def other_scores(run: Path) -> None:
    """Change the scores of a run's only cell, as if it had been computed elsewhere."""
    (folder,) = (run / "cells").iterdir()
    card = read_card(folder)
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("answers", "scores", "costs", "summary")}
    scores = tables["scores"]
    tables["scores"] = scores.assign(value=scores["value"].where(scores["metric"] != "success", 0.125))
    from bench.records.result import CellResult

    result = CellResult(
        status=card.status, started=card.started, ended=card.ended, environment={}, tables=tables, parameters=1
    )
    Store(run.parent).write(run.name, card.cell, result)


def test_one_cell_with_two_scores_is_refused_with_both_runs(bench: Bench, finished: Said) -> None:
    shutil.copytree("out", "far")
    other_scores(Path("far/r"))

    said = bench("merge", "r", "far/r", "--run", "both", "--results", "out")

    assert said.code == 2
    words = ("'out/r'", "'far/r'", "with other scores: success of edit", "and 0.125", "Nothing was merged")
    assert [word for word in words if word not in said.err] == []
    assert not Path("out/both").exists()


def test_a_done_cell_is_taken_before_one_that_failed(bench: Bench, options: list[object], editor_file: Any) -> None:
    text = "def edit(self, requests, *, memory, generator):\n    if os.path.exists('fail'): raise EditError('no.')\n"
    path = editor_file("moody", text + "    return WeightEdit(changes={})")
    Path("fail").touch()
    bench(*options, "--methods", "moody", "--plugin", path)
    Path("fail").unlink()
    bench(*options, "--methods", "moody", "--plugin", path, "--results", "far")

    bench("merge", "r", "far/r", "--run", "both", "--results", "out")

    assert [str(card.status) for card in RunData(Path("out/both")).cards.values()] == ["done"]


def test_one_run_alone_can_not_be_merged(bench: Bench, finished: Said) -> None:
    said = bench("merge", "r", "out/r", "--run", "both", "--results", "out")

    assert (said.code, said.out) == (2, "")
    assert "two runs" in said.err


# --- dry runs


def test_a_dry_run_says_what_cells_will_take_or_that_nothing_is_known(
    bench: Bench, options: list[object], finished: Said
) -> None:
    known = bench(*options, "--seeds", 2, "--dry-run")
    unknown = bench(*options, "--methods", "ft", "--dry-run")

    assert "seed 1  to run  about " in known.out.splitlines()[2]
    assert known.out.splitlines()[-1].startswith("about ")
    assert "time and memory unknown" in unknown.out
    assert unknown.out.splitlines()[-1] == "time unknown: no earlier cell of these methods to judge by"


def test_a_dry_run_as_json_has_the_estimate(bench: Bench, options: list[object], finished: Said) -> None:
    plan = json.loads(bench(*options, "--seeds", 2, "--dry-run", "--json").out)

    cached, new = plan["cells"]
    assert "seconds" not in cached
    assert new["seconds"] == plan["estimate"]["seconds"] > 0
    assert new["memory_bytes"] is not None

"""`bench run`, `bench table` and `bench plot` over a tiny model, as a user sees them."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image

Bench = Callable[..., Any]
Said = Any  # conftest.Said; what a command came to
EditorFile = Callable[[str, str], Path]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_ends_with_its_table_folder_plot_and_next_command(finished: Said) -> None:
    lines = finished.out.splitlines()
    assert (finished.code, finished.err) == (0, "")
    assert lines[0] == "run r: 1 cells (1 to run, 0 cached, 0 skipped), 4 edits each, on cpu in fp32"
    assert lines[1].split()[0] == "none"
    assert "  single  seed 0  done  " in lines[1]
    assert "drawdown ↓" in finished.out
    assert lines[-3:-1] == ["results: out/r", "plot: out/r/plots/tradeoff.png"]
    assert lines[-1].startswith("next: bench run --methods none ")


def test_the_next_command_asks_for_the_same_with_more_seeds(bench: Bench, finished: Said) -> None:
    words = shlex.split(finished.out.splitlines()[-1].removeprefix("next: bench "), comments=True)

    said = bench(*words, "--in-process", "--dry-run")

    assert said.out.splitlines()[0] == "run r: 3 cells (1 cached, 2 to run); nothing is done, this is a dry run"


def test_the_next_command_quotes_brackets_for_the_shell(
    bench: Bench, options: list[object], editor_file: EditorFile
) -> None:
    path = editor_file("sized", "def edit(self, requests, *, memory, generator): return WeightEdit(changes={})")
    methods = "sized[size=0.5],sized"

    said = bench(*options, "--methods", methods, "--plugin", path)

    last = said.out.splitlines()[-1]
    assert f"--methods '{methods}' " in last
    words = shlex.split(last.removeprefix("next: bench "), comments=True)
    again = bench(*words, "--dry-run").out.splitlines()
    assert again[0] == "run r: 6 cells (2 cached, 4 to run); nothing is done, this is a dry run"
    assert [line.split()[0] for line in again[1:-1]] == ["sized[size=0.5]"] * 3 + ["sized"] * 3
    assert again[-1].startswith("about ")


def test_modes_are_rows_of_one_table_and_the_next_command_keeps_them(bench: Bench, options: list[object]) -> None:
    said = bench(*options, "--mode", "single,batch:2")

    assert said.code == 0
    assert [line.split()[3] for line in said.out.splitlines()[1:3]] == ["single", "batch:2"]
    long = list(csv.DictReader(io.StringIO(bench("table", "out/r", "--format", "csv").out)))
    assert {row["mode"]: row["n"] for row in long if row["metric"] == "success"} == {"single": "4", "batch:2": "2"}
    assert " --mode single,batch:2 " in said.out.splitlines()[-1]


def test_the_same_command_again_computes_nothing_and_says_so(
    bench: Bench, options: list[object], finished: Said
) -> None:
    cells = files(Path("out/r/cells"))

    second = bench(*options)

    assert second.code == 0
    assert "1 cells (0 to run, 1 cached, 0 skipped)" in second.out
    assert "nothing to compute: every cell is there already." in second.out
    assert files(Path("out/r/cells")) == cells
    assert second.out.splitlines()[4:-1] == finished.out.splitlines()[4:-1]  # the table and where it is


def test_the_same_run_from_nothing_has_identical_answers_and_scores(
    bench: Bench, options: list[object], finished: Said
) -> None:
    first = files(Path("out/r/cells"))
    shutil.rmtree("out")

    bench(*options)

    second = files(Path("out/r/cells"))
    assert set(first) == set(second)
    for name in first:
        if name.endswith(("answers.parquet", "scores.parquet")):
            assert first[name] == second[name], name


def test_a_dry_run_knows_the_cells_of_other_runs_and_copies_none(
    bench: Bench, options: list[object], finished: Said
) -> None:
    said = bench(*options, "--run", "other", "--dry-run")

    assert said.out.splitlines()[0] == "run other: 1 cells (1 cached); nothing is done, this is a dry run"
    assert not Path("out", "other").exists()


def test_a_dry_run_writes_nothing(bench: Bench, options: list[object]) -> None:
    said = bench(*options, "--dry-run")

    assert said.code == 0
    assert said.out.splitlines()[0] == "run r: 1 cells (1 to run); nothing is done, this is a dry run"
    assert not Path("out").exists()


def test_a_dry_run_tells_the_cells_as_json(bench: Bench, options: list[object]) -> None:
    plan = json.loads(bench(*options, "--dry-run", "--json").out)

    assert plan["run"] == "r"
    assert [(cell["method"], cell["seed"], cell["state"]) for cell in plan["cells"]] == [("none", 0, "to run")]


def test_json_is_all_that_is_printed_to_stdout(bench: Bench, options: list[object], finished: Said) -> None:
    said = bench(*options, "--json")

    answer = json.loads(said.out)
    assert answer["folder"] == "out/r"
    assert [cell["status"] for cell in answer["cells"]] == ["done"]
    assert {row["metric"]: row["mean"] for row in answer["summary"]}["drawdown"] == 0.0
    assert "1 cached" in said.err


def test_a_table_is_printed_in_every_format(bench: Bench, finished: Said) -> None:
    text, comma, records, markdown, latex = (
        bench("table", "r", "--results", "out", "--format", name).out for name in ("text", "csv", "json", "md", "latex")
    )

    long = list(csv.DictReader(io.StringIO(comma)))
    assert {"drawdown", "success_generated", "edit_seconds"} <= {row["metric"] for row in long}
    assert len(json.loads(records)) == len(long)
    assert float(next(row["mean"] for row in long if row["metric"] == "drawdown")) == 0.0
    assert markdown.startswith("| method | model | dataset | mode | status |")
    assert latex.startswith(r"\begin{tabular}")
    assert "drawdown" in text


def test_a_table_shows_the_metrics_that_are_asked_for(bench: Bench, finished: Said) -> None:
    said = bench("table", "out/r", "--format", "md", "--metrics", "perplexity,token_accuracy")

    assert said.out.splitlines()[0].count("|") == 10
    assert "token\\_accuracy ↑" in said.out
    assert "drawdown" not in said.out


def test_a_plot_is_drawn_with_its_numbers(bench: Bench, finished: Said) -> None:
    said = bench("plot", "r", "--results", "out", "--x", "locality_kl", "--y", "token_accuracy")

    paths = [Path(line) for line in said.out.splitlines()]
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"]
    for png in (paths[0], Path("out/r/plots/tradeoff.png")):
        pixels = matplotlib.image.imread(png)
        assert min(pixels.shape[:2]) > 200
        assert len({tuple(pixel) for row in pixels[::4, ::4] for pixel in row.tolist()}) > 20
    assert "<svg" in paths[1].read_text()
    assert "none" in paths[2].read_text()


def test_a_failed_cell_gives_exit_code_1_and_the_others_are_done(
    bench: Bench, options: list[object], finished: Said, editor_file: EditorFile
) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no subject.')")
    both = [*options, "--methods", "bad,none", "--plugin", path]

    first, second, again = bench(*both), bench(*both), bench(*both, "--retry-failed")

    assert [said.code for said in (first, second, again)] == [1, 1, 1]
    assert "  failed  " in first.out
    assert "1 of 2 cells did not finish:" in first.out
    assert "failed in edit: no subject." in first.out
    assert "(0 to run, 2 cached, 0 skipped)" in second.out
    assert "(1 to run, 1 cached, 0 skipped)" in again.out
    card = json.loads(next(Path("out/r/cells").glob("bad-*/card.json")).read_text())
    assert "Traceback" in card["failure"]["traceback"]


def test_a_run_of_failures_only_draws_no_plot(bench: Bench, options: list[object], editor_file: EditorFile) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no.')")

    said = bench(*options, "--methods", "bad", "--plugin", path)

    assert said.code == 1
    assert "plot:" not in said.out
    assert "no cell of this run is done: 1 failed." in said.out


def test_a_cell_that_is_skipped_says_why_and_is_no_failure(bench: Bench, options: list[object], toy: Path) -> None:
    toy.write_text(toy.read_text().replace('("causal", "seq2seq", "classifier")', '("seq2seq",)'))

    said = bench(*options)

    assert said.code == 0
    assert "(0 to run, 0 cached, 1 skipped)" in said.out
    assert "skipped" in said.out.splitlines()[1]
    assert "toy has no cases for causal models" in said.out.splitlines()[1]


def test_the_first_failure_ends_a_run_that_is_to_fail_fast(
    bench: Bench, options: list[object], editor_file: EditorFile
) -> None:
    path = editor_file("bad", "def edit(self, requests, *, memory, generator): raise EditError('no.')")
    words = [*options, "--methods", "bad,none", "--plugin", path]

    stopped = bench(*words, "--fail-fast")
    rest = bench(*words)

    assert (stopped.code, rest.code) == (1, 1)
    assert "stopped at the first cell that failed; cells left: 1. The same command goes on with them.\n" in stopped.out
    assert "2 cells (1 to run, 1 cached, 0 skipped)" in rest.out
    assert "stopped" not in rest.out

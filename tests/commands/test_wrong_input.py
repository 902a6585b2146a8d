"""What a user got wrong is told in one sentence, with exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bench = Callable[..., Any]
Said = Any  # conftest.Said; what a command came to


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "mned"], "no method called 'mned'; there are .* Did you mean 'mend'"),
        (["--datasets", "tooy"], "no dataset called 'tooy'; there are .*facts.* Did you mean 'toy'"),
        (["--models", "./nowhere"], "model './nowhere': there is no such folder"),
        (["--set", "none.lr=1"], "none has no field 'lr'"),
        (["--set", "nonne.lr=1"], "no method or dataset 'nonne'.* Did you mean 'none'"),
        (["--set", "lr=1"], "not of the form NAME.FIELD=VALUE"),
        (["--methods", "ft", "--set", "ft.lrr=1"], "ft has no field 'lrr'; it has .* Did you mean 'lr'"),
        (["--methods", "ft", "--set", "ft.steps=x"], "ft.steps='x'"),
        (["--methods", ","], "--methods names nothing"),
        (["--methods", "ft[lr=1"], r"--methods 'ft\[lr=1' opens a bracket and never closes it. Write NAME"),
        (["--methods", "ft[lrr=1]"], "ft has no field 'lrr'; it has .* Did you mean 'lr'"),
        (["--methods", "ft[lr=1],ft[lr=1]"], r"--methods names 'ft\[lr=1\]' twice"),
        (["--mode", "batch"], "--mode is 'batch'; it can be single, batch:n .*, or sequential:n"),
        (["--mode", "batch:3"], "--edits 4 can not be put into whole groups of 3.* Ask for 3 or 6 with --edits"),
        (
            ["--mode", "sequential:3"],
            "--edits 4 can not be put into whole sequences of 3.* Ask for 3 or 6 with --edits",
        ),
        (
            ["--mode", "sequential:2", "--application", "factored"],
            "--application factored can not be had in --mode sequential:2: .* written into the weights",
        ),
        (["--edits", "0"], "--edits is 0; it must be at least 1"),
        (["--seeds", "0"], "--seeds is 0; it must be at least 1"),
        (["--workers", "-1"], "--workers is -1; it must be at least 1, or 0"),
        (["--timeout", "0"], "--timeout is 0; it must be above 0 seconds."),
        (["--timeout", "nan"], "--timeout is nan; it must be above 0 seconds."),
        (["--timeout", "9", "--in-process"], "--timeout ends a worker process, and with --in-process there is none."),
        (["--devices", "0"], "--devices names GPUs, and cells are computed on cpu."),
        (["--engine", "rya"], "--engine is 'rya'; it can be local, ray. Did you mean 'ray'"),
        (["--engine", "ray"], "--in-process needs no engine, and --engine is 'ray'"),
        (["--address", "auto"], "--address is of a Ray cluster, and --engine is 'local'. Give --engine ray"),
        (["--gpus-per-cell", "0"], "--gpus-per-cell is 0; it must be a whole number of at least 1, or .* a fraction"),
        (["--gpus-per-cell", "1.5"], "--gpus-per-cell is 1.5; it must be a whole number"),
        (["--gpus-per-cell", "nan"], "--gpus-per-cell is nan; it must be a whole number"),
        (["--checkpoint-minutes", "-1"], "--checkpoint-minutes is -1; it must be at least 0"),
        (["--checkpoint-minutes", "nan"], "--checkpoint-minutes is nan; it must be at least 0"),
        (["--methods", "mend", "--set", "mend.micro_batch=-1"], "mend.micro_batch='-1': input should be greater"),
        (
            ["--methods", "mend", "--set", "mend.precision=fp8"],
            "mend.precision='fp8': input should be 'fp32' or 'bf16'",
        ),
        (["--dtype", "bf61"], "--dtype is 'bf61'; it can be fp32, bf16, fp16.* Did you mean 'bf16'"),
        (["--device", "gpu"], "--device is 'gpu'; it can be auto, cpu, cuda, mps"),
        (["--application", "factor"], "it can be auto, factored, written. Did you mean 'factored'"),
        (["--plugin", "nofile.py"], "nofile.py': there is no such file"),
        (["--run", "../up"], "'../up' is no name for a run"),
    ],
)
def test_a_wrong_option_of_run(bench: Bench, options: list[object], words: list[str], message: str) -> None:
    said = bench(*options, *words)

    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(rf"bench: .*{message}.*\n", said.err), said.err
    assert not Path("out").exists()


def test_without_ray_its_engine_says_what_to_install(
    bench: Bench, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were missing
    monkeypatch.delitem(sys.modules, "bench.running.ray_engine", raising=False)

    said = bench(*[word for word in options if word != "--in-process"], "--engine", "ray")

    assert said.code == 2
    assert said.err == "bench: --engine ray needs Ray, which is missing. Run `pip install 'editbench[ray]'`.\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "metods"], "it can be methods, models, datasets, metrics. Did you mean 'methods'?"),
        (["lst", "methods"], "No such command 'lst'. Did you mean 'list'?"),
        (["run", "--method", "none"], "No such option: --method"),
        (["run"], "--methods names nothing"),
        (["run", "--methods", "none", "--edits", "many"], "Invalid value for '--edits'"),
        (["table", "nope"], "there is no run at 'results/nope'"),
        (["plot", "nope"], "there is no run at 'results/nope'"),
        (["table", "nope", "--format", "cvs"], "it can be text, csv, json, md, latex. Did you mean 'csv'?"),
        (["models", "build", "facts-gpt2-4m"], "Did you mean 'facts-gpt2"),
    ],
)
def test_a_wrong_command(bench: Bench, words: list[str], message: str) -> None:
    said = bench(*words)

    assert said.code == 2
    assert said.out == ""
    assert message in said.err
    assert "Traceback" not in said.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("verb", [["table", "--metrics"], ["plot", "--x"], ["plot", "--y"]])
def test_an_unknown_metric_gets_the_nearest_one(bench: Bench, finished: Said, verb: list[str]) -> None:
    said = bench(verb[0], "out/r", verb[1], "drawdwon")

    assert said.code == 2
    assert said.err == (
        "bench: no metric called 'drawdwon'. Did you mean 'drawdown'? `bench list metrics` shows all.\n"
    )


def test_a_misspelt_run_gets_the_nearest_one(bench: Bench, finished: Said) -> None:
    Path("out/r").rename("out/november")

    said = bench("table", "novmber", "--results", "out")

    assert said.code == 2
    assert "Did you mean 'november'?" in said.err


def test_a_hub_name_without_a_network_says_what_needs_none(bench: Bench, options: list[object]) -> None:
    said = bench(*options, "--models", "someone/some-model")

    assert said.code == 2
    assert said.err.startswith("bench: model 'someone/some-model' is neither embedded nor a folder")
    assert "`bench list models` shows what needs neither." in said.err
    assert said.err.count("\n") == 1


def test_a_folder_without_a_model_is_told_apart(bench: Bench, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    said = bench(*options, "--models", "./empty")

    assert said.code == 2
    assert "model './empty'" in said.err
    assert "config.json" in said.err


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_corrupt_safetensors_file_fails_its_cells_with_its_name(
    bench: Bench, options: list[object], model_folder: Callable[[str], Path], tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "corrupt"
    folder.mkdir()
    for path in model_folder("causal").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if damage == "cut" else b"\xff" * 1000)

    said = bench(*options, "--models", folder)

    assert said.code == 1
    assert f"failed in load: model '{folder}' can not be read from" in said.out
    assert "Traceback" not in said.out + said.err


def test_a_model_that_is_no_transformer_with_blocks_is_refused(
    bench: Bench, options: list[object], tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    for path in model_folder("causal").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "no-such-type"}
    (folder / "config.json").write_text(json.dumps(config))

    said = bench(*options, "--models", folder)

    assert said.code == 2
    assert "no-such-type" in said.err


def test_results_below_a_regular_file_can_not_be_written(bench: Bench, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    said = bench(*options, "--results", "file/results")

    assert said.code == 2
    assert "can not be written" in said.err
    assert "Traceback" not in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_results_folder_can_not_be_written(bench: Bench, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)

    said = bench(*options)

    assert said.code == 2
    assert "'out/r" in said.err
    assert "can not be written" in said.err


def test_a_dataset_whose_splits_share_a_subject_is_refused_and_nothing_is_written(
    bench: Bench, options: list[object], toy: Path
) -> None:
    toy.write_text(toy.read_text().replace("Split.TEST: 400", "Split.TEST: 211"))

    said = bench(*options)

    assert said.code == 2
    assert said.err == "bench: dataset 'toy': case 'tiny/0211' is in tune and in test.\n"
    assert not Path("out").exists()

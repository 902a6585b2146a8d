"""`bench run sweep.toml`: flags win, what is wrong is named, and what a run writes can be run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.commands.run import RunOptions
from bench.commands.sweep_file import read_sweep_file
from bench.errors import ConfigError

Bench = Callable[..., Any]
Said = Any  # conftest.Said


def sweep_file(text: str, name: str = "sweep.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def text(model_folder: Callable[[str], Path], toy: Path) -> str:
    """A sweep of the control over four edits; its plug-in lies beside it."""
    return f"""
methods = ["none"]
models = "{model_folder("causal")}"
datasets = "toy"
plugin = "{toy.name}"
mode = ["single", "batch:2"]
edits = 4
set.toy.size = 9
"""


def test_a_sweep_file_says_what_the_options_say(bench: Bench, text: str) -> None:
    options = RunOptions(**read_sweep_file(sweep_file(text)))

    assert (options.methods, options.modes, options.edits) == (("none",), ("single", "batch:2"), 4)
    assert options.sets == ("toy.size=9",)
    assert options.plugins == (Path("toy.py"),)
    assert (options.seeds, options.name) == (1, "")


def test_flags_win_and_settings_are_added(bench: Bench, text: str) -> None:
    path = sweep_file(text)

    alone = bench("run", path, "--dry-run", "--run", "r")
    changed = bench("run", path, "--dry-run", "--run", "r", "--mode", "single", "--seeds", 2, "--set", "toy.size=8")

    assert alone.out.splitlines()[0].startswith("run r: 2 cells (2 to run)")
    assert changed.out.splitlines()[0].startswith("run r: 2 cells (2 to run)")
    assert [line.split()[4:6] for line in changed.out.splitlines()[1:3]] == [["seed", "0"], ["seed", "1"]]


def test_a_flag_wins_even_if_it_says_the_default(bench: Bench, text: str) -> None:
    said = bench("run", sweep_file(text + 'dtype = ["fp32", "bf16"]\n'), "--dry-run", "--dtype", "fp32")

    assert ": 2 cells" in said.out


def test_plugins_are_sought_beside_the_file(bench: Bench, text: str, toy: Path) -> None:
    path = sweep_file(text, "elsewhere/s.toml")
    shutil.copy(toy, path.parent)
    toy.unlink()

    said = bench("run", path, "--dry-run", "--run", "r")

    assert (said.code, said.err) == (0, "")
    assert "run r: 2 cells" in said.out


def test_the_file_that_a_run_wrote_goes_on_with_that_run(bench: Bench, finished: Said) -> None:
    path = "out/r/sweep.toml"

    again, more = bench("run", path, "--in-process"), bench("run", path, "--seeds", 2, "--dry-run")

    assert "run r: 1 cells (0 to run, 1 cached, 0 skipped)" in again.out
    assert more.out.startswith("run r: 2 cells (1 cached, 1 to run)")


def test_a_copy_of_it_elsewhere_is_a_new_run(bench: Bench, finished: Said) -> None:
    shutil.copy("out/r/sweep.toml", "mine.toml")

    options = RunOptions(**read_sweep_file(Path("mine.toml")))

    assert (options.name, options.results) == ("", Path("results"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("edit = 4", ("no key 'edit'", "Did you mean 'edits'?", "methods, models, datasets")),
        ("mod = 'single'", ("no key 'mod'", "Did you mean 'mode'?")),
        ("edits = '4'", ("edits is '4'", "a whole number")),
        ("edits = 4.5", ("edits is 4.5", "a whole number")),
        ("edits = true", ("edits is True", "a whole number")),
        ("methods = 3", ("methods is 3", "a text or a list of texts")),
        ("methods = ['ft', 3]", ("methods is ['ft', 3]",)),
        ("chat = 'yes'", ("chat is 'yes'", "true or false")),
        ("checkpoint_minutes = 'often'", ("checkpoint_minutes is 'often'", "a number")),
        ("set.lr = 3", ("set.lr is 3", "set.NAME.FIELD")),
        ("set.ft.lr = [1, 2]", ("set.ft.lr is [1, 2]", "a single value")),
        ("edits = ", ("is no TOML",)),
        ("trust_remote_code = true", ("asks for 'trust_remote_code'", "--trust-remote-code on the command line")),
        ("allow_pickle = true", ("asks for 'allow_pickle'", "--allow-pickle")),
        ("is_dry = true", ("no key 'is_dry'",)),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_it(bench: Bench, line: str, words: tuple[str, ...]) -> None:
    path = sweep_file(f"{line}\n", "wrong.toml")

    with pytest.raises(ConfigError) as caught:
        read_sweep_file(path)

    assert [word for word in (str(path), *words) if word not in str(caught.value)] == []


def test_a_missing_file_gets_the_nearest_and_exit_code_2(bench: Bench, text: str) -> None:
    sweep_file(text)

    said = bench("run", "sweep.tmol")

    assert said.code == 2
    assert "no sweep file 'sweep.tmol'. Did you mean 'sweep.toml'?" in said.err


def test_a_method_that_is_taken_for_a_file_is_told_of_the_option(bench: Bench) -> None:
    assert "asked for with --methods" in bench("run", "mend").err


def test_trust_is_taken_from_the_command_line(bench: Bench) -> None:
    path = sweep_file("allow_pickle = true\n")

    assert read_sweep_file(path, trusted=frozenset({"allow_pickle"})) == {"allow_pickle": True}

"""The command `bench`: its help, its lists, and what it imports."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import __version__, registry
from bench.cli import app
from bench.records.metrics import METRICS
from bench.running.specs import split_specs

_GROUPS = [["models"], ["editors"]]
_VERBS = [
    [],
    ["run"],
    ["list"],
    ["table"],
    ["plot"],
    ["models", "build"],
    ["models", "import"],
    ["models", "classifier"],
    ["models", "finetune"],
    ["editors", "list"],
    ["editors", "export"],
    ["editors", "import"],
    *_GROUPS,
]
_WITH_EXAMPLE = [words for words in _VERBS if words not in _GROUPS]


def call(*words: str, columns: int = 80) -> str:
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, list(words), prog_name="bench")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("words", _VERBS, ids=" ".join)
def test_help_names_the_command_and_ends(words: list[str]) -> None:
    assert call(*words, "--help").startswith("Usage: " + " ".join(["bench", *words]))


@pytest.mark.parametrize("words", _WITH_EXAMPLE, ids=" ".join)
def test_help_ends_with_an_example_that_can_be_parsed(words: list[str]) -> None:
    last = call(*words, "--help").strip().splitlines()[-1]

    label, _, example = last.partition("  bench ")
    assert label.strip() in ("Example:", "Start with:")
    assert "Usage: bench" in call(*example.split(), "--help")


def test_the_help_of_run_shows_how_brackets_are_quoted() -> None:
    (line,) = [line for line in call("run", "--help").splitlines() if line.strip().startswith("bench run")]

    words = shlex.split(line)

    assert split_specs(words[words.index("--methods") + 1]) == ("mend[rank=64,steps=300]", "mend", "ft[kl=true]")


def test_every_option_of_run_is_explained() -> None:
    text = call("run", "--help", columns=200)

    options = [line for line in text.splitlines() if line.strip().startswith("--")]
    assert len(options) > 10
    assert [line for line in options if len(line.split()) < 4] == []


def test_the_version_is_that_of_the_package() -> None:
    assert call("--version") == f"editbench {__version__}\n"


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_a_list_names_every_plugin(kind: registry.PluginKind) -> None:
    names = list(registry.plugins(kind))

    assert names
    assert [line.split()[0] for line in call("list", kind, columns=300).splitlines()[2:]] == names


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_a_list_as_json_has_the_fields_that_scripts_rely_on(kind: registry.PluginKind) -> None:
    rows = {row["name"]: row for row in json.loads(call("list", kind, "--check", "--json"))}

    for name, plugin in registry.plugins(kind).items():
        assert rows[name]["version"] == plugin.version
        assert rows[name]["source"] == plugin.source
        assert rows[name]["kinds"] == list(plugin.kinds)
        assert rows[name]["status"] == "ok"


def test_the_list_of_methods_fits_80_columns_without_breaking_a_word() -> None:
    lines = [line.rstrip() for line in call("list", "methods").splitlines()]

    assert max(map(len, lines)) <= 80
    for name, plugin in registry.plugins("methods").items():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert plugin.source in line
    assert "status" not in lines[0]


def test_the_list_of_metrics_says_which_way_is_better() -> None:
    rows = {line.split()[0]: line for line in call("list", "metrics", columns=300).splitlines()}

    assert set(METRICS) <= set(rows)
    assert " higher " in rows["success"]
    assert " lower " in rows["drawdown"]


def test_the_list_of_models_as_json_is_a_list() -> None:
    assert isinstance(json.loads(call("list", "models", "--json")), list)


def test_a_broken_plugin_is_listed_with_its_problem(editor_file: Callable[[str, str], Path]) -> None:
    path = editor_file("faulty", "def edit(self, requests, *, memory, generator): ...")
    path.write_text(path.read_text().replace("import torch\n", "import no_such_module\n"))

    rows = json.loads(call("list", "methods", "--check", "--json", "--plugin", str(path)))
    text = call("list", "methods", "--check", "--plugin", str(path), columns=200)

    (row,) = [row for row in rows if row["name"] == "faulty"]
    assert row["status"].startswith("broken: method 'faulty' fails to import: ModuleNotFoundError")
    assert "no_such_module" in text
    assert str(path) in text.replace("\n", "") or path.name in text


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], ("torch", "transformers", "pandas", "rich", "matplotlib")),
        (["list", "methods"], ("torch", "transformers", "matplotlib")),
        (["list", "models"], ("torch", "transformers", "matplotlib")),
    ],
    ids=["help", "methods", "models"],
)
def test_what_is_quick_imports_nothing_heavy(words: list[str], heavy: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.cli import main\nsys.argv = ['bench', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('modules', *sys.modules)"
    )

    child = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    loaded = set(child.stdout.splitlines()[-1].split())
    assert "bench.cli" in loaded
    assert loaded & set(heavy) == set()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = "from bench.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "list", "metrics", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()

    _, errors = child.communicate(timeout=60)

    assert errors == b""
